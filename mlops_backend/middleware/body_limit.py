"""The request body's bounds, counted while it is read: of one body, of a key's, and of all together."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from mlops_backend.errors import AppError
from mlops_backend.middleware.asgi import App, Message, Receive, Scope, Send
from mlops_backend.middleware.request_context import record_of
from mlops_backend.services.other.limits import SMALL, ByteBudget
from mlops_backend.telemetry.record import RequestRecord

DISCARD_BYTES: Final = 64 * 1024 * 1024
DISCARD_SECONDS: Final = 2.0
_BODY: Final = "mlops_backend.body"
_NOTHING: Final[Message] = {"type": "http.request", "body": b"", "more_body": False}


class BodyLimit:
    """Never hands on more than one byte over the limit, and lets the client see an early answer.

    Quart answers 413 itself once its own `MAX_CONTENT_LENGTH` is passed. What is left of a body when the answer is
    complete is read and discarded, within bounds: a connection closed with unread bytes is reset, and the client would
    lose the answer.

    Args:
        app: what reads the bodies.
        max_body_bytes: of one body.
        budget: of all of them.
    """

    def __init__(self, app: App, max_body_bytes: int, budget: ByteBudget) -> None:
        self._app = app
        self._limit = max_body_bytes
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = scope[_BODY] = ArrivingBody(receive, self._limit, record_of(scope), self._budget)

        async def send_then_discard(message: Message) -> None:
            if body.arriving and is_last(message):
                await body.discard()
            await send(message)

        try:
            await self._app(scope, body.receive, send_then_discard)
        finally:
            body.let_go()


class ArrivingBody:
    """One request's body; `refusal` is the error that its reader raises instead of reading on."""

    def __init__(self, receive: Receive, limit: int, record: RequestRecord, budget: ByteBudget) -> None:
        self._record = record
        self._receive = receive
        self._limit = limit
        self._budget = budget
        self._read = 0
        self._held, self._holder = 0, ""
        self._discarding = False
        self._ended = asyncio.Event()
        self.arriving = True
        self.refusal: AppError | None = None

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
        if room and not self._counted(min(room, len(chunk))):
            return _NOTHING  # its reader need not wait for the rest
        return message if len(chunk) <= room else {**message, "body": chunk[:room]}

    def grow(self, size: int) -> None:
        """Count what it was decompressed to, beside what came.

        Raises:
            AppError: there is no room for it.
        """
        if not self._counted(size):
            assert self.refusal is not None  # noqa: S101 - what made it uncounted
            raise self.refusal

    def let_go(self) -> None:
        """Nobody holds its bytes any more."""
        if self._held:
            self._budget.give(self._holder, self._held)
            self._held = 0

    async def discard(self) -> None:
        """Wait until the application's own reader has come to the end, or the bounds are reached."""
        self._discarding = True
        try:
            await asyncio.wait_for(self._ended.wait(), DISCARD_SECONDS)
        except TimeoutError:
            self._end()

    def _counted(self, size: int) -> bool:
        """Count bytes to whoever asks, as far as that is known by now."""
        caller = self._record.caller
        who = caller.id if caller is not None else ""
        held, self._held = self._held, 0
        if held and who != self._holder:
            self._budget.give(self._holder, held)
            size += held
            held = 0
        try:
            self._budget.take(who, size, small=held + size <= SMALL)
        except AppError as error:
            self._held = held
            self._refuse(error)
            return False
        self._held, self._holder = held + size, who
        return True

    def _refuse(self, error: AppError) -> None:
        self.refusal = error
        self._discarding = True
        self.let_go()

    def _end(self) -> None:
        self.arriving = False
        self._ended.set()


def body_of(scope: Scope) -> ArrivingBody:
    """The body of the request at hand."""
    return cast(ArrivingBody, scope[_BODY])


def is_last(message: Message) -> bool:
    """Whether an answer is complete with this message."""
    return message["type"] == "http.response.body" and not message.get("more_body", False)
