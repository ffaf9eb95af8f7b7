"""For `hypercorn -c file:hypercorn_conf.py wsgi:app` and `quart --app wsgi run`."""

from __future__ import annotations

import sys

from mlops_backend.app import create_app
from mlops_backend.config import ConfigError, load_settings
from mlops_backend.connections import install
from mlops_backend.memory import be_considerate

try:
    settings = load_settings()
    app = create_app(settings)
except ConfigError as error:
    sys.exit(str(error))
install(settings)
be_considerate()
