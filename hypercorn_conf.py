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
from mlops_backend.event_loop import chosen
from mlops_backend.middleware.access import with_passthrough
from mlops_backend.server import BACKLOG, WAITING_PIECES
from mlops_backend.services.llm.model_names import allowed_default
from mlops_backend.services.other.database import check_database

try:
    settings = load_settings()
    # in a worker it would be refused as well, but with status 0
    with_passthrough(settings.passthrough_routes)
    allowed_default(settings.default_model, allow_cloud=settings.allow_cloud_models)
    check_database(settings)
except ConfigError as error:
    sys.exit(str(error))

_host = f"[{settings.host}]" if ":" in settings.host else settings.host
bind = [f"{_host}:{settings.port}"]
backlog = BACKLOG
worker_class = chosen(settings.event_loop)
graceful_timeout = settings.drain_timeout
include_server_header = False
alpn_protocols = ["http/1.1"]
max_app_queue_size = WAITING_PIECES
errorlog = logging.getLogger("hypercorn.error")
use_reloader = settings.debug
