"""The ASGI callables that the middlewares wrap, and the path that a connection asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Set for each connection by `connections.py`: tells that the client has left even to an application that has not taken
# all that the client sent before. Another server sets nothing.
CLIENT_LEFT: Final[ContextVar[asyncio.Event | None]] = ContextVar("client_left", default=None)


def path_of(scope: Scope) -> str:
    """The path of a request's target, which may be a whole URL (RFC 9112, 3.2.2); read as Quart reads it."""
    path: str = scope["path"]
    return path if path.startswith("/") else urlsplit(path).path
