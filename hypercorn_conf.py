"""For `hypercorn -c file:hypercorn_conf.py wsgi:app`: the same settings as everywhere; one worker, or `-w` of them.

The drain belongs to `python -m mlops_backend`; here Hypercorn's own grace applies, which Python 3.12 and later ignore.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

# Hypercorn reads this file before it looks for modules in the working directory.
sys.path.insert(0, str(Path(__file__).parent))

from mlops_backend.config import ConfigError, load_settings
from mlops_backend.middleware.access import with_passthrough
from mlops_backend.server import BACKLOG, KEEP_ALIVE

try:
    settings = load_settings()
    with_passthrough(settings.passthrough_routes)  # in a worker it would be refused as well, but with status 0
except ConfigError as error:
    sys.exit(str(error))

_host = f"[{settings.host}]" if ":" in settings.host else settings.host
bind = [f"{_host}:{settings.port}"]
backlog = BACKLOG
keep_alive_timeout = KEEP_ALIVE
graceful_timeout = settings.drain_timeout
include_server_header = False
errorlog = logging.getLogger("hypercorn.error")
use_reloader = settings.debug
