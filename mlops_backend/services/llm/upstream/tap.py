"""The short way of a piece: from the connection that brings it to whoever takes it, in the same turn of the loop.

Awaited, each piece wakes a task that passes it up through half a dozen generators. Most pieces of a stream need none of
that: while a tap runs they are handed on as the connection's protocol has read them, and everything else (the end, a
failure, somebody who takes no more) ends the tap and is met in the ordinary way.

What is private to aiohttp and httpx-aiohttp stands here and in `overhead.py`; where it is not what is known, there is
no tap, and pieces are awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import aiohttp
import httpx
import structlog

from mlops_backend.services.llm.upstream.overhead import BoundedHandler
from mlops_backend.services.llm.upstream.transport import Arriving

log: Final = structlog.get_logger(__name__)

Take = Callable[[bytes], bool]
_KNOWN: Final = ("_buffer", "_buffer_offset", "_cursor", "_eof", "_exception", "_http_chunk_splits", "_size")


class Tap:
    """One answer's pieces; opened when there is an answer.

    `shape` makes of each piece what is handed on, in place of the generator that makes it in the ordinary way, and
    `is_over` says that this one is to go on by itself.
    """

    __slots__ = ("_done", "_handler", "_is_over", "_payload", "_shape", "_take")

    def __init__(self) -> None:
        self._handler: BoundedHandler | None = None
        self._payload: Any = None
        self._shape: Callable[[bytes], bytes] | None = None
        self._is_over: Callable[[], bool] | None = None
        self._take: Take | None = None
        self._done: asyncio.Future[None] | None = None

    def open(
        self,
        response: httpx.Response,
        shape: Callable[[bytes], bytes] | None = None,
        is_over: Callable[[], bool] | None = None,
    ) -> None:
        """There is an answer; nothing happens where it does not come as is known here."""
        stream = response.stream
        answer: Any = stream if isinstance(stream, Arriving) else getattr(stream, "_aiohttp_response", None)
        payload = getattr(answer, "content", None)
        if not (isinstance(payload, aiohttp.StreamReader) and all([hasattr(payload, name) for name in _KNOWN])):
            _tell()
        elif answer.connection is not None:  # let go where the whole body has come
            self._hang_on(answer.connection.protocol, payload)
            self._shape, self._is_over = shape, is_over

    def _hang_on(self, handler: object, payload: aiohttp.StreamReader) -> None:
        if isinstance(handler, BoundedHandler):
            self._handler, self._payload = handler, payload
        else:
            _tell()

    @property
    def is_open(self) -> bool:
        """Whether pieces can be had this way."""
        return self._handler is not None

    async def run(self, take: Take) -> None:
        """Hand each piece to `take` as it comes, until it gives false, or there is an end of any kind to be met.

        Raises:
            AppError: whatever `take` raises.
        """
        handler, payload = self._handler, self._payload
        if handler is None or handler.tap is not None or payload.is_eof() or payload.exception() is not None:
            return
        done = self._done = asyncio.get_running_loop().create_future()
        self._take = take
        try:
            self.look()  # what has come meanwhile
            if not done.done():
                handler.tap = self
            await done
        finally:
            self._take = self._done = None
            if handler.tap is self:
                handler.tap = None
            del done  # its error knows this frame

    def look(self) -> None:
        """Something came, or the connection is over."""
        done, take, payload, handler = self._done, self._take, self._payload, self._handler
        if done is None or take is None or handler is None or done.done():
            return
        self._take = None  # what makes room in the reader may bring the connection's end: no second look amid this one
        try:
            goes_on = self._hand_on(handler, payload, take)
        except Exception as error:
            done.set_exception(error)
            del done, take  # the error knows this frame
        else:
            if goes_on and payload._exception is None and not payload._eof:
                self._take = take
                return
            done.set_result(None)
        if handler.tap is self:
            handler.tap = None

    def _hand_on(self, handler: BoundedHandler, payload: Any, take: Take) -> bool:
        handler.refilled = True
        while handler.refilled and payload._exception is None:
            handler.refilled = False
            is_one = len(payload._buffer) == 1 and not (payload._buffer_offset or handler._reading_paused)
            if not (data := _only_piece(payload) if is_one else payload.read_nowait()):
                break
            if not take(data if self._shape is None else self._shape(data)) or (self._is_over and self._is_over()):
                return False
        return True


def _only_piece(payload: Any) -> bytes:
    """What `read_nowait` gives of a reader that holds one piece and is not full, in one call where that makes five."""
    data: bytes = payload._buffer.popleft()
    payload._size -= len(data)
    payload._cursor = read = payload._cursor + len(data)
    ends = payload._http_chunk_splits
    while ends and ends[0] < read:
        ends.popleft()
    return data


@cache
def _tell() -> None:
    """Say it once."""
    log.warning(
        "streams go the long way",
        reason="the HTTP client's parts are not those that are known",
        aiohttp=aiohttp.__version__,
    )
