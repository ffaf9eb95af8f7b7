"""Has the connections of this process served as we want them."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypercorn.asyncio import run

from mlops_backend.config import Settings
from mlops_backend.connections.connection import Connection
from mlops_backend.connections.register import Others, Register, Rules
from mlops_backend.services.other.file_limit import raise_file_limit


def register_for(settings: Settings, others: Others | None = None) -> Register:
    """What knows all connections of this process; a `Listener` asks it whether there is room.

    Args:
        settings: their rules; `MAX_CONNECTIONS` is for this process and the others together.
        others: the other processes that serve the same address.
    """
    files = raise_file_limit(settings.max_connections, settings.upstream_max_connections)
    return Register(
        Rules(
            most=settings.max_connections if others else min(settings.max_connections, files),
            per_address=settings.max_connections_per_address,
            exempt=settings.trusted_proxies,
            idle=settings.keep_alive_timeout,
            send=settings.send_timeout,
        ),
        others,
        files,
    )


def install(settings: Settings) -> None:
    """Have Hypercorn's own server serve every connection as a `Connection`; it offers no other place to say it."""
    serving: Any = partial(Connection, register_for(settings))
    run.TCPServer = serving  # type: ignore[attr-defined]
