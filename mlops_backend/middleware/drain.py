"""The last resort of a drain: requests that are still alive lose their client."""

from __future__ import annotations

import asyncio
from typing import Final

from mlops_backend.middleware.asgi import App, Message, Receive, Scope, Send

_DISCONNECT: Final[Message] = {"type": "http.disconnect"}


class LiveRequests:
    """Knows the requests that are under way, and can end them all.

    Hypercorn's own grace does not hold on Python 3.12 and later: its server waits for every connection.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._live: set[_Live] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        live = _Live(receive)
        self._live.add(live)
        self._idle.clear()
        try:
            await self._app(scope, live.receive, send)
        finally:
            self._live.discard(live)
            if not self._live:
                self._idle.set()

    async def cut(self, grace: float) -> None:
        """Give what is under way `grace` seconds, then tell the rest that its client has left."""
        if await self._wait_idle(grace):
            return
        for live in tuple(self._live):
            live.cut()
        await self._wait_idle(grace)

    async def _wait_idle(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True


class _Live:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._reader: asyncio.Task[object] | None = None
        self._cut = False

    async def receive(self) -> Message:
        if self._cut:
            return _DISCONNECT
        self._reader = reader = asyncio.current_task()
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self._cut and reader is not None and reader.uncancel() == 0:
                return _DISCONNECT
            raise
        finally:
            self._reader = None

    def cut(self) -> None:
        self._cut = True
        if self._reader is not None:
            self._reader.cancel()
