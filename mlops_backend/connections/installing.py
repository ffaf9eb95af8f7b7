"""Lets Hypercorn serve the connections of this process as we want them."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypercorn.asyncio import run

from mlops_backend.config import Settings
from mlops_backend.connections.connection import Connection
from mlops_backend.connections.register import Register, Rules
from mlops_backend.services.other.file_limit import raise_file_limit


def install(settings: Settings) -> Register:
    """Have every connection of this process served as a `Connection`; Hypercorn offers no other place to say it.

    Returns:
        What knows them all; a `Listener` asks it whether there is room.
    """
    files = raise_file_limit(settings.max_connections, settings.upstream_max_connections)
    register = Register(
        Rules(
            most=min(settings.max_connections, files),
            per_address=settings.max_connections_per_address,
            exempt=settings.trusted_proxies,
            idle=settings.keep_alive_timeout,
            send=settings.send_timeout,
        )
    )
    serving: Any = partial(Connection, register)
    run.TCPServer = serving  # type: ignore[attr-defined]
    return register
