"""The process's limit on open files, raised to fit the connections it may hold."""

from __future__ import annotations

import resource
from typing import Final

import structlog

_OTHER_FILES: Final = 256


def raise_file_limit(connections: int) -> None:
    """Raise the soft limit to hold `connections` to clients and as many to backends, as far as the hard one lets."""
    needed = 2 * connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        structlog.get_logger().warning("file_limit_too_low", allowed=allowed, needed=needed)
