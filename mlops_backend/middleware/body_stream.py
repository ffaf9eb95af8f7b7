"""Bodies of many gigabytes: read by the view itself, piece by piece, as fast as the backend takes them.

Quart puts what arrives into a queue without a bound, however slowly it is read. For the routes named here Quart sees
an empty body instead, and the view pulls the real one; Hypercorn reads no further from the client than is pulled.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Final, cast

from mlops_backend.middleware.asgi import App, Message, Receive, Scope, Send, path_of
from mlops_backend.middleware.body_limit import DISCARD_BYTES, DISCARD_SECONDS, is_last

_STREAM: Final = "mlops_backend.body_stream"
_STREAMED: Final = re.compile(r"/api/blobs/[^/]+")


class BodyStreams:
    """Sets the body of a streamed route aside for its view."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _STREAMED.fullmatch(path_of(scope)):
            await self._app(scope, receive, send)
            return
        body = scope[_STREAM] = BodyStream(receive)

        async def send_then_discard(message: Message) -> None:
            if is_last(message):
                await body.discard()
            await send(message)

        await self._app(scope, body.instead, send_then_discard)


class BodyStream:
    """One body, from the client's connection."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._shown = False
        self._gone = asyncio.Event()
        self._ended = asyncio.Event()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they arrive; it just ends when the client leaves, whose request is then cancelled."""
        while not self._ended.is_set():
            message = await self._receive()
            if message["type"] != "http.request":
                self._gone.set()
                await asyncio.Event().wait()
            if not message.get("more_body", False):
                self._ended.set()
            if piece := message.get("body", b""):
                yield piece

    async def instead(self) -> Message:
        """What the application receives: an empty body, and later that the client has left."""
        if not self._shown:
            self._shown = True
            return {"type": "http.request", "body": b"", "more_body": False}
        ended = asyncio.create_task(self._ended.wait())
        gone = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            gone.cancel()
        return {"type": "http.disconnect"} if self._gone.is_set() else await self._receive()

    async def discard(self) -> None:
        """Read what nobody wanted, within bounds: closing with unread bytes would reset the connection."""
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                await self._discard()
        except TimeoutError:
            pass
        self._ended.set()

    async def _discard(self) -> None:
        discarded = 0
        while not self._ended.is_set() and not self._gone.is_set() and discarded < DISCARD_BYTES:
            message = await self._receive()
            discarded += len(message.get("body", b""))
            if message["type"] != "http.request":
                self._gone.set()
            elif not message.get("more_body", False):
                self._ended.set()


def body_stream_of(scope: Scope) -> BodyStream:
    """The body that was set aside for a streamed route."""
    return cast(BodyStream, scope[_STREAM])
