"""The request body's bound, counted while it is read."""

from __future__ import annotations

import asyncio
from typing import Final

from mlops_backend.middleware.asgi import App, Message, Receive, Scope, Send
from mlops_backend.middleware.request_context import record_of
from mlops_backend.telemetry.record import RequestRecord

DISCARD_BYTES: Final = 64 * 1024 * 1024
DISCARD_SECONDS: Final = 2.0


class BodyLimit:
    """Never hands on more than one byte over the limit, and lets the client see an early answer.

    Quart answers 413 itself once its own `MAX_CONTENT_LENGTH` is passed. What is left of a body when the answer is
    complete is read and discarded, within bounds: a connection closed with unread bytes is reset, and the client would
    lose the answer.
    """

    def __init__(self, app: App, max_body_bytes: int) -> None:
        self._app = app
        self._limit = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._limit, record_of(scope))

        async def send_then_discard(message: Message) -> None:
            if body.arriving and is_last(message):
                await body.discard()
            await send(message)

        await self._app(scope, body.receive, send_then_discard)


class _Body:
    def __init__(self, receive: Receive, limit: int, record: RequestRecord) -> None:
        self._record = record
        self._receive = receive
        self._limit = limit
        self._read = 0
        self._discarding = False
        self._ended = asyncio.Event()
        self.arriving = True

    async def receive(self) -> Message:
        """The next message; what is over the limit, or no longer wanted, is empty."""
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._end()
        chunk = message.get("body", b"")
        room = 0 if self._discarding else max(0, self._limit + 1 - self._read)
        self._read += len(chunk)
        self._record.bytes_in = self._read
        if self._read > self._limit + DISCARD_BYTES:
            self._end()
        return message if len(chunk) <= room else {**message, "body": chunk[:room]}

    def _end(self) -> None:
        self.arriving = False
        self._ended.set()

    async def discard(self) -> None:
        """Wait until the application's own reader has come to the end, or the bounds are reached."""
        self._discarding = True
        try:
            await asyncio.wait_for(self._ended.wait(), DISCARD_SECONDS)
        except TimeoutError:
            self._end()


def is_last(message: Message) -> bool:
    """Whether an answer is complete with this message."""
    return message["type"] == "http.response.body" and not message.get("more_body", False)
