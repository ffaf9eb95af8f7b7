"""The ASGI callables that the middlewares wrap, and the path that a connection asks for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, AnyStr, Final
from urllib.parse import urlsplit

from mlops_backend.telemetry.record import Straight

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientLeft(asyncio.Event):
    """That a client has left; `why` is a word for it where this side has ended the connection."""

    why = ""
    _answering: asyncio.Task[Any] | None = None

    def ends(self, answering: asyncio.Task[Any] | None) -> None:
        """Cancel this task, too, when the client leaves; `None`: no longer."""
        self._answering = answering
        if answering is not None and self.is_set():
            answering.cancel()

    def set(self) -> None:
        """It has left."""
        super().set()
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None


# Set for each connection by `connections/`: tells that the client has left even to an application that has not taken
# all that the client sent before. Another server sets nothing.
CLIENT_LEFT: Final[ContextVar[ClientLeft | None]] = ContextVar("client_left", default=None)

# Set likewise: sends pieces of a body past the server's protocol.
STRAIGHT: Final[ContextVar[Straight | None]] = ContextVar("straight", default=None)


# Stands in the message that begins an answer whose body is all in the next one: our own server sends both at once.
WHOLE: Final = "mlops_backend.whole"

_HOST: Final = re.compile(rb"(?:([A-Za-z0-9._~%-]*)|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")


def path_of(scope: Scope) -> str:
    """The path of a request's target, read as Quart reads it; empty when that cannot be read."""
    path: str = scope["path"]
    return path if path.startswith("/") else path_in_url(path)


def path_in_url(target: AnyStr) -> AnyStr:
    """The path of a target that is a whole URL (RFC 9112, 3.2.2); empty when that cannot be read."""
    try:
        return urlsplit(target).path
    except ValueError:
        return target[:0]


def is_readable(scope: Scope) -> bool:
    """Whether a request's target has a path, and its `Host` may be one: Quart raises what nobody handles else."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return path_of(scope).startswith("/") and scope["query_string"].isascii() and all(map(_may_be_host, hosts))


@lru_cache(maxsize=64)
def _may_be_host(value: bytes) -> bool:
    if (host := _HOST.fullmatch(value)) is None:
        return False
    try:
        (host[1] or b"").decode("ascii").encode("idna")  # no label is empty or too long
    except UnicodeError:
        return False
    return True
