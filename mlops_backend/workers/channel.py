"""A connection between the parent and one of its workers: questions with their answers, and words that want none.

Both ends are alike. What is asked or told in one turn of the loop leaves in one write. Short messages keep their order;
one that is longer than a piece goes in pieces between the others, and is there when its last piece is.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic
from types import CoroutineType
from typing import Any, Final, cast

import structlog

from mlops_backend.errors import AppError
from mlops_backend.workers.frames import (
    ANSWER,
    ASK,
    FAULT,
    REFUSAL,
    TELL,
    ChannelError,
    Frames,
    Overlong,
    error_of,
    packed,
    pieces_of,
    refusal_of,
    unpacked,
)
from mlops_backend.workers.handlers import Handlers

# Bytes that wait for an end that does not read, and questions without an answer.
MOST_WAITING: Final = 32 * 1024 * 1024
MOST_ASKED: Final = 20_000
# Longer than any handler takes: one that waits has a clock of its own.
PATIENCE: Final = 15.0
_READING: Final = 1.0
# Answers are bounded by the questions; an end that asks and never reads is left when they take so many times more.
_SPARE: Final = 4

log: Final = structlog.get_logger(__name__)


class Channel(asyncio.Protocol):
    """One end; it is used from its loop alone.

    When the other end has closed, died, hung or says what cannot be understood, the channel is lost: `lost` is set,
    whoever waits for an answer gets a `ChannelError`, and so does everybody who asks later.

    Args:
        handlers: what the other end may ask and tell.
        patience: seconds within which each question is answered; without an answer the other end hangs, and is left.
            `None`: it is not, for it may be starting, and whoever asks has a clock.
        name: of the other end, for the log.
        on_lost: called once, when the channel is lost.
    """

    def __init__(
        self,
        handlers: Handlers,
        *,
        patience: float | None = PATIENCE,
        name: str = "parent",
        on_lost: Callable[[Channel], None] | None = None,
    ) -> None:
        self.name = name
        self._on_lost = on_lost
        self.lost = asyncio.Event()
        self.reason = ""
        self.was_heard = False
        self.handlers = handlers
        self._patience = patience
        self._frames = Frames()
        self._asked: dict[int, tuple[asyncio.Future[Any], float]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._short: list[bytes] = []
        self._long: deque[deque[bytes]] = deque()
        self._queued = self._number = self._overdue = 0
        self._flushing = self._paused = False
        self._clock: asyncio.TimerHandle | None = None

    @classmethod
    async def over(cls, end: socket.socket, handlers: Handlers, **choices: Any) -> Channel:
        """A channel over one end of a `socketpair`, which is its own from now on."""
        made = cls(handlers, **choices)
        await made.connect(end)
        return made

    async def connect(self, end: socket.socket) -> None:
        """Take one end of a `socketpair`, once."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=end)

    async def ask(self, name: str, payload: Any = None) -> Any:
        """Ask the other end, and wait for its answer; whoever is cancelled meanwhile has been heard nevertheless.

        Raises:
            ChannelError: the channel is lost, too much waits already, or the handler failed.
            AppError: what the handler raised, with its message and headers.
        """
        return await self.asked(name, payload)

    def asked(self, name: str, payload: Any = None) -> asyncio.Future[Any]:
        """The answer to a question that is put now.

        Raises:
            ChannelError: the channel is lost, or too much waits already.
        """
        if len(self._asked) >= MOST_ASKED or self._waiting() > MOST_WAITING:
            raise ChannelError(f"Too many questions wait for the {self.name}.")
        if self._is_lost():
            raise self._error()
        number = self._next()
        self._send(ASK, number, packed((name, payload)))
        answer = self._loop.create_future()
        self._asked[number] = answer, monotonic()
        if self._clock is None and self._patience is not None:
            self._clock = self._loop.call_later(self._patience, self._look_at_clock, self._patience)
        return answer

    def tell(self, name: str, payload: Any = None) -> None:
        """Tell the other end, if it is there; it answers nothing. One that does not read what it is told is left.

        Raises:
            ChannelError: it is longer than any message may be.
        """
        if self._is_lost():
            return
        self._send(TELL, self._next(), packed((name, payload)))
        if self._waiting() > MOST_WAITING:
            self.leave("it does not read what it is told")

    async def aclose(self) -> None:
        """Send what waits, and close; the other end sees it."""
        if not self.lost.is_set():
            self._transport.writelines([*self._short, *(piece for pieces in self._long for piece in pieces)])
            self._short.clear()
            self._long.clear()
            self._transport.close()
        await self.lost.wait()

    def leave(self, reason: str) -> None:
        """Close at once: the channel is lost for that reason."""
        self.reason = self.reason or reason
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """Take the messages that are whole."""
        self.was_heard = True
        try:
            for kind, number, body in self._frames.of(data):
                self._take(kind, number, body)
        except Exception as error:
            log.error("a message between the processes cannot be understood", sender=self.name, error=repr(error))
            self.leave("it says what cannot be understood")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for what will not come."""
        self.reason = self.reason or "it has closed"
        if self._clock is not None:
            self._clock.cancel()
        for answer, _ in self._asked.values():
            if not answer.done():
                answer.set_exception(self._error())
                answer.exception()  # whoever was cancelled does not look at it
        self._asked.clear()
        for task in self._running:
            task.cancel()
        self.lost.set()
        if self._on_lost is not None:
            self._on_lost(self)

    def pause_writing(self) -> None:
        """The other end reads more slowly than this one says."""
        self._paused = True

    def resume_writing(self) -> None:
        """It has read."""
        self._paused = False
        self._flush_soon()

    def _next(self) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        return self._number

    def _is_lost(self) -> bool:
        return self.lost.is_set() or self._transport.is_closing()

    def _error(self) -> ChannelError:
        return ChannelError(f"The service's {self.name} does not answer: {self.reason}.")

    def _waiting(self) -> int:
        return self._queued + (self._transport.get_write_buffer_size() if self._paused else 0)

    def _send(self, kind: int, number: int, body: bytes) -> None:
        pieces = pieces_of(kind, number, body)
        self._queued += sum(map(len, pieces))
        if len(pieces) == 1:
            self._short.append(pieces[0])
        else:
            self._long.append(deque(pieces))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing and not self._paused:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write everything that is short, and one piece of what is long; the next piece in the next turn."""
        self._flushing = False
        if self._paused or self._transport.is_closing():
            return
        if self._long:
            pieces = self._long.popleft()
            self._short.append(pieces.popleft())
            if pieces:
                self._long.append(pieces)
        written = b"".join(self._short)
        self._transport.write(written)
        self._queued -= len(written)
        self._short.clear()
        if self._long:
            self._flush_soon()

    def _take(self, kind: int, number: int, body: bytes) -> None:
        if kind in (ASK, TELL):
            self._handle(number if kind == ASK else None, body)
            return
        answer, _ = self._asked.pop(number, (None, 0.0))
        if answer is None or answer.done():
            return
        if kind == ANSWER:
            answer.set_result(unpacked(body))
        else:
            answer.set_exception(error_of(kind, body))

    def _handle(self, number: int | None, body: bytes) -> None:
        try:
            answer = self.handlers.call(self, body)
        except Exception as error:
            self._failed(number, error)
            return
        if isinstance(answer, CoroutineType):
            task = self._loop.create_task(self._finish(number, answer))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        elif number is not None:
            self._reply(ANSWER, number, packed(answer))

    async def _finish(self, number: int | None, answering: CoroutineType[Any, Any, Any]) -> None:
        try:
            answer = await answering
        except Exception as error:
            self._failed(number, error)
        else:
            if number is not None:
                self._reply(ANSWER, number, packed(answer))

    def _failed(self, number: int | None, error: Exception) -> None:
        if not isinstance(error, AppError):
            log.error("a message between the processes could not be handled", sender=self.name, exc_info=error)
        if number is not None:
            kind = REFUSAL if isinstance(error, AppError) else FAULT
            self._reply(kind, number, refusal_of(error))

    def _reply(self, kind: int, number: int, body: bytes) -> None:
        if self._is_lost():
            return
        try:
            self._send(kind, number, body)
        except Overlong as error:
            self._send(FAULT, number, refusal_of(error))
        if self._waiting() > _SPARE * MOST_WAITING:
            self.leave("it does not read its answers")

    def _look_at_clock(self, patience: float) -> None:
        """Leave an end that has not answered in time; who stood still themselves read first what came meanwhile."""
        self._clock = None
        if not self._asked:
            return
        number, (_, since) = next(iter(self._asked.items()))
        if (left := since + patience - monotonic()) > 0:
            self._clock = self._loop.call_later(left, self._look_at_clock, patience)
        elif self._overdue == number:
            self.leave(f"a question is without an answer for {patience:g} s")
        else:
            self._overdue = number
            self._clock = self._loop.call_later(min(_READING, patience), self._look_at_clock, patience)
