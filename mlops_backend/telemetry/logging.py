"""Logs: structured, one line an event, on standard output."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog

from mlops_backend.config import Settings

_WARNINGS_ONLY = ("alembic", "httpx", "httpcore", "aiohttp", "asyncio", "hypercorn.error", "hypercorn.access")


def configure_logging(settings: Settings) -> None:
    """Send our events and those of the libraries to standard output in one format.

    `LOG_FORMAT=auto` is readable text on a terminal and JSON elsewhere.
    """
    level = logging.getLevelNamesMapping()[settings.log_level]
    shared = _shared_processors()
    renderer = _renderer(settings.log_format)
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _WARNINGS_ONLY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def silence() -> None:
    """Log nothing from here on: for commands, whose output is their result."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger().handlers = [logging.NullHandler()]


def _shared_processors() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderer(log_format: str) -> list[structlog.typing.Processor]:
    if log_format == "console" or (log_format == "auto" and sys.stdout.isatty()):
        return [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def mask_url(url: str) -> str:
    """The same address without user name and password: `http://user:pw@host/` becomes `http://***@host/`."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if "@" not in authority:
        return url
    return f"{scheme}{separator}***@{authority.rpartition('@')[2]}{slash}{path}"


def log_request(fields: Mapping[str, Any]) -> None:
    """Write the one line of a finished request."""
    logger = structlog.get_logger("mlops_backend.request")
    level = logger.warning if fields["status"] >= 500 else logger.info
    level("request", **fields)
