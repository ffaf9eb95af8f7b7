"""The process's limit on open files, raised to fit the connections it may hold."""

from __future__ import annotations

import resource
from typing import Final

import structlog

# The database, the log, files of the engine; and what was accepted before it could be counted.
_OTHER_FILES: Final = 256
_FEWEST: Final = 16


def raise_file_limit(clients: int, backends: int) -> int:
    """Raise the soft limit to hold so many connections to clients and to backends, as far as the hard one lets.

    Returns:
        For how many connections to clients there is room.
    """
    needed = clients + backends + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return clients
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed >= needed:
        return clients
    structlog.get_logger().warning("file_limit_too_low", allowed=allowed, needed=needed)
    # Half of what there is: a client that waits for a backend needs one descriptor more.
    return max(_FEWEST, min(clients, (allowed - min(_OTHER_FILES, allowed // 2)) // 2))
