"""An answer's bytes that are none of its body: bounded, so that a backend which sends no other is not read for ever.

Interim answers, headers and the extensions of chunks are thrown away as they come, and nobody who waits for the body
learns of them: until a clock runs out they would take a whole processor.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from mlops_backend.in_turns import InTurns

# A fast backend's 256 KiB may be thousands of tokens, each with a chunk of its own to be parsed: with a few such
# streams a turn of the loop took a third of a second.
_A_TURN: Final = 8 * 1024
# The largest head that is accepted, twice. A chunk of one byte takes six; a token's takes a tenth more than itself.
_MOST: Final = 128 * 1024
_A_BYTE: Final = 8
# A close that was on its way when the request left is seen within this many seconds; later a backend has begun to work.
_AT_ONCE: Final = 1.0
_BROKEN: Final = "what frames the body is broken"
_SENTENCE: Final = "there is more around the body than in it"


class StaleConnection(aiohttp.ServerDisconnectedError):
    """A kept connection was closed just as it was taken: the request on it is to be sent on another one."""


class Tapping(Protocol):
    """Who wants to know at once that something came."""

    def look(self) -> None:
        """Something came, or the connection is over."""


class BoundedHandler(ResponseHandler):
    """aiohttp's handler of one connection to a backend; it gives up where the overhead of an answer has no end.

    `refilled` says that a reader was full, and that more came when it was emptied.
    """

    tap: Tapping | None = None
    refilled = False
    _arrived = 0
    _bound = _MOST
    _requests = 0
    _asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a connection: it is read in turns."""
        super().connection_made(transport)
        turns = InTurns if isinstance(self._loop, asyncio.BaseEventLoop) else _Paused
        transport.set_protocol(turns(self, _A_TURN))

    def go_on(self) -> None:
        """Another turn of the loop."""
        if self.transport is not None and not (self._reading_paused or self._buffer_paused):
            self.transport.resume_reading()

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be sent: count its answer from here."""
        self._arrived, self._bound, self.refilled = 0, _MOST, False
        self._requests += 1
        self._asked_at = self._loop.time()
        super().set_response_params(**params)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """The connection has failed; tell whether it was a kept one that nothing came on.

        Where an answer's framing breaks aiohttp 3.14 closes the connection, and lets the body's reader wait.
        """
        if self._is_stale() and isinstance(exc, OSError | aiohttp.ClientError):
            exc = StaleConnection()
        if isinstance(exc, HttpProcessingError) and self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(aiohttp.ClientPayloadError(_BROKEN))
        super().set_exception(exc, *(() if exc_cause is None else (exc_cause,)))
        self._tell()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is over."""
        super().connection_lost(exc)
        self._tell()

    def _is_stale(self) -> bool:
        return self._requests > 1 and not self._arrived and self._loop.time() - self._asked_at < _AT_ONCE

    def data_received(self, data: bytes) -> None:
        """Take bytes from the backend; none when a reader that was full has room again."""
        super().data_received(data)
        self._arrived += len(data)
        if self._arrived > self._bound:
            self._look_at_overhead()
        if data and self.tap is not None:
            self.tap.look()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Read on; aiohttp calls it, and through it the parser, for each piece that is taken of a reader not full."""
        if self._reading_paused:
            self.refilled = True
            super().resume_reading(resume_parser)

    def _tell(self) -> None:
        if self.tap is not None:
            self.tap.look()

    def _look_at_overhead(self) -> None:
        """Give up, or count on to where it would be too much if no more of the body came."""
        self._bound = _MOST + _A_BYTE * (0 if self._payload is None else self._payload.total_bytes)
        if self._arrived > self._bound:
            self._give_up()

    def _give_up(self) -> None:
        payload, self._payload = self._payload, None
        if payload is not None:
            payload.set_exception(aiohttp.ClientError(_SENTENCE))
        self.set_exception(HttpProcessingError(code=400, message=_SENTENCE))
        if self.transport is not None:
            self.transport.abort()


class _Paused(InTurns):
    """For uvloop, which reads up to 32 times in a turn while its buffer is filled."""

    __slots__ = ()

    def filled(self) -> None:
        """Read no more in this turn."""
        handler: Any = self._protocol
        if handler.transport is not None:
            handler.transport.pause_reading()
            handler._loop.call_soon(handler.go_on)
