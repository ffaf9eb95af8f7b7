"""Journals of all workers of one service: their parent keeps them, so that any worker can go on with an answer.

What is asked must not fill the channel on which workers ask for leases as well: what is long goes a few at a time, and
the answer to whoever waits for a piece is short.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import msgspec

from mlops_backend.errors import NotFound
from mlops_backend.services.other.journals.joint import JointReads
from mlops_backend.services.other.journals.journal import Head, Listed, Opening, Page
from mlops_backend.services.other.journals.memory import MemoryJournals
from mlops_backend.services.other.journals.numbers import NextNumbers, parts_of
from mlops_backend.shared import Hears, Shared

BEGIN: Final = "journals.begin"
WRITE: Final = "journals.write"
END: Final = "journals.end"
READ: Final = "journals.read"
OPENING: Final = "journals.opening"
LISTED: Final = "journals.listed"
FORGET: Final = "journals.forget"

# A parent keeps no more of one journal: a message of the channel is twice as long at most.
MOST_OF_ONE: Final = 8 * 1024 * 1024
# A worker's question is answered sooner than its patience with its parent ends.
_WAIT: Final = 5.0
# How many long messages of a worker are under way, and from how many bytes on an answer is long.
_LONG_AT_ONCE: Final = 4
_SHORT: Final = 4096
_MOST_PIECES: Final = 10_000

_Written = tuple[str, int, list[bytes], Head | None]


class JournalsForWorkers:
    """The parent's side.

    Args:
        hears: takes the handlers of what workers ask; who it is comes as the first argument of each.
        journals: of which none is longer than `MOST_OF_ONE`.
    """

    def __init__(self, hears: Hears, journals: MemoryJournals) -> None:
        self._journals = journals
        self._written_by: defaultdict[object, set[str]] = defaultdict(set)
        hears.on(BEGIN, self._begin, Opening)
        hears.on(WRITE, self._write, _Written)
        hears.on(END, self._end, tuple[str, str, bool])
        hears.on(READ, self._read, tuple[str, int, float, bool])
        hears.on(OPENING, lambda _, journal: journals.opening(journal), str)
        hears.on(LISTED, lambda _, owner: journals.listed(owner), str)
        hears.on(FORGET, self._forget, str)

    def lose(self, worker: object) -> None:
        """A worker is gone: what it wrote stays for its time, and its readers hear that nobody goes on with it."""
        for journal in self._written_by.pop(worker, ()):
            self._journals.lose(journal)

    async def _begin(self, worker: object, opening: Opening) -> Opening:
        begun = await self._journals.begin(opening)
        if begun.id == opening.id:
            self._written_by[worker].add(opening.id)
        return begun

    def _write(self, worker: object, written: _Written) -> float:
        journal, first, pieces, head = written
        try:
            return self._journals.write_at_once(journal, pieces, head, first)
        except NotFound:
            self._written_by[worker].discard(journal)
            raise

    def _end(self, worker: object, ended: tuple[str, str, bool]) -> Coroutine[Any, Any, None]:
        journal, outcome, keeps_claim = ended
        self._written_by[worker].discard(journal)
        return self._journals.end(journal, outcome, keeps_claim=keeps_claim)

    async def _read(self, _: object, asked: tuple[str, int, float, bool]) -> Page | None:
        """A page, or `None` where it is longer than was asked for."""
        journal, after, wait, may_be_long = asked
        page = await self._journals.read(journal, after, min(wait, _WAIT))
        return page if may_be_long or sum(map(len, page.pieces)) <= _SHORT else None

    def _forget(self, worker: object, journal: str) -> Coroutine[Any, Any, None]:
        self._written_by[worker].discard(journal)
        return self._journals.forget(journal)


class WorkersJournals:
    """A worker's side; see `Journals`.

    Args:
        shared: leads to the parent.
    """

    def __init__(self, shared: Shared) -> None:
        self._parent = shared.parent
        self._next = NextNumbers()
        self._reads = JointReads(self._read)
        self._long = asyncio.Semaphore(_LONG_AT_ONCE)

    async def begin(self, opening: Opening) -> Opening:
        """See `Journals.begin`."""
        try:
            begun = msgspec.convert(await self._parent.ask(BEGIN, opening), Opening)
        except asyncio.CancelledError:
            self._parent.tell(FORGET, opening.id)  # it has been begun nevertheless
            raise
        if begun.id == opening.id:
            self._next.note(opening.id, 1)
        return begun

    async def write(self, journal: str, pieces: Sequence[bytes] = (), head: Head | None = None) -> float:
        """See `Journals.write`; a piece that is longer than any journal is not there for any reader."""
        first, done, unread = self._next.of(journal), 0, 0.0
        for part in parts_of(pieces, _MOST_PIECES):
            sent = [piece[: MOST_OF_ONE + 1] for piece in part]
            message = journal, first and first + done, sent, head
            if sum(map(len, sent)) <= _SHORT:
                unread = await self._parent.ask(WRITE, message)
            else:
                async with self._long:
                    unread = await self._parent.ask(WRITE, message)
            done += len(part)
        if first:
            self._next.note(journal, first + done)
        return unread

    async def end(self, journal: str, outcome: str, *, keeps_claim: bool = True) -> None:
        """See `Journals.end`."""
        await self._parent.ask(END, (journal, outcome, keeps_claim))
        self._next.forget(journal)

    async def read(self, journal: str, after: int = 0, wait: float = 0.0) -> Page:
        """See `Journals.read`; of a long wait nothing may come of it, and it is to be asked again."""
        return await self._reads.read(journal, after, wait)

    async def opening(self, journal: str) -> Opening:
        """See `Journals.opening`."""
        return msgspec.convert(await self._parent.ask(OPENING, journal), Opening)

    async def listed(self, owner: str) -> list[Listed]:
        """See `Journals.listed`."""
        return msgspec.convert(await self._parent.ask(LISTED, owner), list[Listed])

    async def forget(self, journal: str) -> None:
        """See `Journals.forget`."""
        await self._parent.ask(FORGET, journal)
        self._next.forget(journal)

    async def open(self) -> None:
        """The parent is there for as long as the worker."""

    async def aclose(self) -> None:
        """See `open`."""

    async def _read(self, journal: str, after: int, wait: float) -> Page:
        found = await self._parent.ask(READ, (journal, after, wait, False))
        if found is None:
            async with self._long:
                found = await self._parent.ask(READ, (journal, after, 0.0, True))
        return _page(found)


def _page(told: Sequence[Any]) -> Page:
    head, *rest = told
    return Page(head and Head(head[0], tuple((name, value) for name, value in head[1])), *rest)
