"""Bodies of many gigabytes: read by the view itself, piece by piece, as fast as the backend takes them.

Quart puts what arrives into a queue without a bound, however slowly it is read. For the routes named here Quart sees
an empty body instead, and the view pulls the real one; Hypercorn reads no further from the client than is pulled.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final, cast

from mlops_backend.middleware.asgi import CLIENT_LEFT, App, Message, Receive, Scope, Send, path_of
from mlops_backend.middleware.body_limit import DISCARD_BYTES, DISCARD_SECONDS, is_last

_STREAM: Final = "mlops_backend.body_stream"
# Behind the last message of a client that has left nothing comes any more.
_SETTLED: Final = 0.1
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

        async def send_and_discard(message: Message) -> None:
            if message["type"] == "http.response.start":
                body.begin_to_discard()
            elif is_last(message):
                await body.discarded()
            await send(message)

        try:
            await self._app(scope, body.instead, send_and_discard)
        finally:
            await body.close()


class BodyStream:
    """One body, from the client's connection."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._shown = False
        self._ended = asyncio.Event()
        self._gone = CLIENT_LEFT.get() or asyncio.Event()
        self._discarding: asyncio.Task[None] | None = None

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they arrive; when the client leaves they just cease, and its request is cancelled."""
        while not self._ended.is_set():
            message = await self._take()
            if self._gone.is_set():
                await asyncio.Event().wait()
            if piece := message.get("body", b""):
                yield piece

    async def instead(self) -> Message:
        """What the application receives: an empty body, and later that the client has left."""
        if not self._shown:
            self._shown = True
            return {"type": "http.request", "body": b"", "more_body": False}
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._ended, self._gone)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waiting:
                wait.cancel()
        return {"type": "http.disconnect"} if self._gone.is_set() else await self._receive()

    def begin_to_discard(self) -> None:
        """Take what nobody wants from now on: while it lies there the server cannot even tell of the client's end."""
        if not self._ended.is_set():
            self._discarding = asyncio.create_task(self._discard())

    async def discarded(self) -> None:
        """Wait for the body's end, within bounds: closing with unread bytes would reset the connection."""
        if self._discarding is not None:
            await asyncio.wait({self._discarding}, timeout=DISCARD_SECONDS)

    async def close(self) -> None:
        """Behind the application's end, take what a client that has left had sent; the server waits while it lies."""
        if self._discarding is not None:
            self._discarding.cancel()
        with suppress(TimeoutError):
            while self._gone.is_set():
                async with asyncio.timeout(_SETTLED):
                    if (await self._receive())["type"] != "http.request":
                        return

    async def _discard(self) -> None:
        discarded = 0
        while not self._ended.is_set() and not self._gone.is_set() and discarded < DISCARD_BYTES:
            discarded += len((await self._take()).get("body", b""))

    async def _take(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request":
            self._gone.set()
        elif not message.get("more_body", False):
            self._ended.set()
        return message


def body_stream_of(scope: Scope) -> BodyStream:
    """The body that was set aside for a streamed route."""
    return cast(BodyStream, scope[_STREAM])
