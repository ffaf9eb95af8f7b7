"""For `hypercorn -c file:hypercorn_conf.py wsgi:app` and `quart --app wsgi run`."""

from __future__ import annotations

import sys

from mlops_backend import connections
from mlops_backend.app import create_app
from mlops_backend.config import ConfigError

connections.install()
try:
    app = create_app()
except ConfigError as error:
    sys.exit(str(error))
