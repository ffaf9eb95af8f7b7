"""The ASGI callables that the middlewares wrap, and the path that a connection asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def path_of(scope: Scope) -> str:
    """The path of a request's target, which may be a whole URL (RFC 9112, 3.2.2); read as Quart reads it."""
    path: str = scope["path"]
    return path if path.startswith("/") else urlsplit(path).path
