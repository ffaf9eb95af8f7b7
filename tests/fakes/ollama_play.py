"""Plays an answer, streamed or whole, as a mode wants it: in order, late, cut, in pieces, or not at all."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.fakes.http11 import Connection, Reply
from tests.fakes.ollama_dialect import Dialect
from tests.fakes.ollama_errors import error_for
from tests.fakes.ollama_modes import BROKEN_OFF, Mode, Script
from tests.fakes.ollama_shapes import BUSY, JSON_TYPE, RUNNER_DIED, JsonObject

GARBAGE_PAGE = Reply(200, "text/html", b"<html><body><h1>It works!</h1></body></html>\n")
GARBAGE_OBJECT = Reply(200, JSON_TYPE, b'{"model": oops')
MODE_ERRORS = {
    Mode.ERROR_500: (500, "model runner has unexpectedly stopped"),
    Mode.BUSY_503: (503, BUSY),
}
DYING = (Mode.ERROR_MID_STREAM, Mode.ERROR_FIRST_LINE)
PIECES = 3


async def for_ever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


def forget(_: bytes) -> None:
    """Take no notice of an event that leaves."""


@dataclass(frozen=True)
class Stage:
    """Where one request's answer is played: in the mode in which the request was met."""

    mode: Mode
    script: Script
    connection: Connection
    path: str
    death: str = RUNNER_DIED

    async def opening(self) -> bool:
        """Play what a mode does before any answer; True when nothing is to follow."""
        if self.mode in MODE_ERRORS:
            await self.connection.send(error_for(self.path, *MODE_ERRORS[self.mode]))
            return True
        if self.mode is Mode.GARBAGE:
            await self.connection.send(GARBAGE_PAGE)
            return True
        if self.mode is Mode.CLOSE_BEFORE_HEADERS:
            self.connection.drop()
            return True
        if self.mode is Mode.HANG_BEFORE_HEADERS:
            await for_ever()
        if self.mode is Mode.SLOW_FIRST_BYTE:
            await asyncio.sleep(self.script.first_byte_delay)
        return False

    async def stream(
        self,
        dialect: Dialect,
        lines: Sequence[JsonObject],
        last: JsonObject,
        leaving: Callable[[bytes], None] = forget,
    ) -> None:
        """Send a streamed answer: headers with the first event, then a chunk an event; `leaving` is told of each."""
        groups = self._events(dialect, lines, last)
        cut = groups.pop()[0] if self.mode in BROKEN_OFF else b""
        head = dialect.head
        for number, group in enumerate(groups):
            if self.mode is Mode.SLOW_TOKENS and number:
                await asyncio.sleep(self.script.token_delay)
            for event in group:
                await self.script.gate.step()
                leaving(event)
                await self._send(event, head)
                head = b""
        if self.mode in BROKEN_OFF:
            await self._break_off(cut, head)
        else:
            if head:
                await self.connection.send_part(head)
            await self.connection.end_chunks()

    def _events(self, dialect: Dialect, lines: Sequence[JsonObject], last: JsonObject) -> list[list[bytes]]:
        """Return what a stream shall have in this mode: for each of Ollama's own lines, the events made of it."""
        after, died = self.script.trouble_after, {"error": self.death}
        if self.mode is Mode.GARBAGE_JSON:
            return [[event] for event in dialect.garbage()]
        if self.mode is Mode.ERROR_FIRST_LINE:
            lines = [died]
        elif self.mode is Mode.ERROR_MID_STREAM:
            lines = [*lines[:after], died]
        elif self.mode is not Mode.NO_DONE:
            lines = [*lines, last]
        groups = [events for line in lines if (events := dialect.events(line))]
        # What breaks off needs one more line: the one that is cut, or is never sent.
        return groups[: after + 1] if self.mode in BROKEN_OFF else groups

    async def _send(self, event: bytes, head: bytes) -> None:
        if self.mode is not Mode.SPLIT_LINES:
            await self.connection.send_chunk(event, head=head)
            return
        for piece in in_pieces(event):
            await self.connection.send_chunk(piece, head=head)
            head = b""
            await asyncio.sleep(self.script.piece_delay)

    async def _break_off(self, event: bytes, head: bytes) -> None:
        if self.mode is Mode.HANG_MID_STREAM:
            if head:
                await self.connection.send_part(head)
            await for_ever()
        await self.script.gate.step()
        await self.connection.send_chunk(event[: len(event) // 2], declared=len(event), head=head)
        self.connection.drop()

    async def whole(self, reply: Reply) -> None:
        """Send an answer that is not streamed; a runner that dies still has a status to say so."""
        await self.script.gate.step()
        if self.mode is Mode.SLOW_TOKENS:
            await asyncio.sleep(self.script.token_delay * len(self.script.words))
        reply = self._fitting(reply)
        first, rest = reply.body, list[bytes]()
        if self.mode in BROKEN_OFF:
            first = first[: len(first) // 2]
        elif self.mode is Mode.SPLIT_LINES:
            first, *rest = in_pieces(first)
        await self.connection.send(replace(reply, body=first, declared=len(reply.body)))
        for piece in rest:
            await asyncio.sleep(self.script.piece_delay)
            await self.connection.send_part(piece)
        if self.mode is Mode.HANG_MID_STREAM:
            await for_ever()
        if self.mode is Mode.CUT_MID_STREAM:
            self.connection.drop()

    def _fitting(self, reply: Reply) -> Reply:
        if self.mode in DYING:
            return error_for(self.path, 500, self.death)
        return GARBAGE_OBJECT if self.mode is Mode.GARBAGE_JSON else reply


def in_pieces(data: bytes) -> list[bytes]:
    """Return the data in three pieces, so that two reads end in the middle of a line."""
    size = len(data) // PIECES or 1
    pieces = [data[:size], data[size : 2 * size], data[2 * size :]]
    return [piece for piece in pieces if piece]
