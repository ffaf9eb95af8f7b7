"""Journals of all processes together, in Redis: whichever of them is asked goes on with an answer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, TypeVar

from mlops_backend.errors import NotFound, TooManyStreams, Unavailable
from mlops_backend.redis_clients import REDIS_ERRORS
from mlops_backend.redis_link import Presence
from mlops_backend.services.other.journals.joint import JointReads
from mlops_backend.services.other.journals.journal import Bounds, Head, Listed, Opening, Page
from mlops_backend.services.other.journals.numbers import NextNumbers, parts_of
from mlops_backend.services.other.journals.redis_store import RedisStore

_Result = TypeVar("_Result")

_PAUSE: Final = 0.5
# How often somebody who waits looks, though nothing is told, and where nobody may listen to what Redis tells.
_LOOK: Final = 1.0
_POLL: Final = 0.1
# Of a long journal's pieces, which are short then, so many are handed over in one step.
_MOST_PIECES: Final = 500
_MOST_DOUBTFUL: Final = 1000


class RedisJournals:
    """See `Journals`; while Redis is away each method raises `Unavailable` at once.

    Args:
        url: the address of Redis.
        bounds: of what all processes keep there.
        clock: the time in seconds, where it is not that of Redis.
    """

    def __init__(self, url: str, bounds: Bounds, *, clock: Callable[[], float] | None = None) -> None:
        self._presence = Presence("streams")
        self._store = RedisStore(url, bounds, lambda: self._presence.up, clock=clock)
        self._reads = JointReads(self._read)
        self._next = NextNumbers()
        # what may have been begun, though whoever asked for it did not come to hear of it
        self._doubtful: list[str] = []
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._wake = asyncio.Event()
        self._listening = self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def redis_up(self) -> bool:
        """Whether Redis is asked at present."""
        return self._presence.up

    async def begin(self, opening: Opening) -> Opening:
        """See `Journals.begin`."""
        try:
            begun = await self._do(lambda: self._store.begin(opening))
        except TooManyStreams:
            raise
        except (Unavailable, asyncio.CancelledError):
            self._doubt(opening.id)
            raise
        with suppress(ValueError):
            self._doubtful.remove(opening.id)  # it was asked for again
        if begun.id == opening.id:
            self._next.note(opening.id, 1)
        return begun

    async def write(self, journal: str, pieces: Sequence[bytes] = (), head: Head | None = None) -> float:
        """See `Journals.write`."""
        return await self._do(lambda: self._write(journal, pieces, head))

    async def end(self, journal: str, outcome: str, *, keeps_claim: bool = True) -> None:
        """See `Journals.end`."""
        behind = self._next.of(journal)
        await self._do(lambda: self._store.end(journal, behind, outcome, keeps_claim=keeps_claim))
        self._next.forget(journal)

    async def read(self, journal: str, after: int = 0, wait: float = 0.0) -> Page:
        """See `Journals.read`."""
        return await self._reads.read(journal, after, wait)

    async def opening(self, journal: str) -> Opening:
        """See `Journals.opening`."""
        return await self._do(lambda: self._store.opening(journal))

    async def listed(self, owner: str) -> list[Listed]:
        """See `Journals.listed`."""
        return await self._do(lambda: self._store.listed(owner))

    async def forget(self, journal: str) -> None:
        """See `Journals.forget`."""
        await self._do(lambda: self._store.forget(journal))
        self._next.forget(journal)

    async def open(self) -> None:
        """Look for Redis, and start what runs beside the requests."""
        try:
            await self._store.probe()
        except REDIS_ERRORS as error:
            self._failed(error)
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._listen())]

    async def aclose(self) -> None:
        """Close the connections; what was written stays for its time."""
        self._stopping = True
        left = set(self._tasks)
        while left:  # redis-py can lose a cancel on Python 3.11
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=_POLL)
        await self._store.aclose()

    async def _write(self, journal: str, pieces: Sequence[bytes], head: Head | None) -> float:
        first, done, unread = self._next.of(journal), 0, 0.0
        try:
            for part in parts_of(pieces, _MOST_PIECES):
                unread = await self._store.write(journal, first and first + done, part, head)
                done += len(part)
        except NotFound:
            self._next.forget(journal)
            raise
        if first:
            self._next.note(journal, first + done)
        return unread

    async def _read(self, journal: str, after: int, wait: float) -> Page:
        until, woken = monotonic() + wait, asyncio.Event()
        self._waiting[journal].add(woken)
        try:
            page = await self._look(journal, after, wait)
            was_headless = page.head is None
            while not (page.pieces or page.outcome or (was_headless and page.head)):
                if (left := until - monotonic()) <= 0:
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, _LOOK if self._listening else _POLL)):
                        await woken.wait()
                woken.clear()
                page = await self._look(journal, after, left)
            return page
        finally:
            self._waiting[journal].discard(woken)
            if not self._waiting[journal]:
                del self._waiting[journal]

    async def _look(self, journal: str, after: int, wait: float) -> Page:
        return await self._do(lambda: self._store.read(journal, after, waits=wait > 0))

    async def _do(self, step: Callable[[], Awaitable[_Result]]) -> _Result:
        """What a step gives.

        Raises:
            Unavailable: Redis is away.
        """
        if not self._presence.up:
            raise _away()
        try:
            return await step()
        except REDIS_ERRORS as error:
            self._failed(error)
            raise _away() from error

    def _failed(self, error: BaseException) -> None:
        self._presence.failed(error)
        self._wake.set()

    def _doubt(self, journal: str) -> None:
        if len(self._doubtful) < _MOST_DOUBTFUL:  # what is not forgotten has no writer, and goes with its time
            self._doubtful.append(journal)
            self._wake.set()

    async def _run(self) -> None:
        # the flag ends what a cancel should have: see `aclose`
        while not self._stopping:
            await self._wake.wait()
            await asyncio.sleep(_PAUSE)
            self._wake.clear()
            try:
                await self._turn()
            except Exception as error:  # the task must outlive whatever is wrong with Redis
                self._failed(error)

    async def _turn(self) -> None:
        if not self.redis_up:
            await self._store.probe()
            self._presence.recovered()
        while self._doubtful:
            await self._store.forget(self._doubtful[-1])
            self._doubtful.pop()

    async def _listen(self) -> None:
        while not self._stopping:
            with suppress(*REDIS_ERRORS):
                await self._store.listen(self._heard, self._listens)
            await asyncio.sleep(_PAUSE)

    def _listens(self, listening: bool) -> None:
        self._listening = listening

    def _heard(self, journal: str) -> None:
        for woken in self._waiting.get(journal, ()):
            woken.set()


def _away() -> Unavailable:
    return Unavailable("What keeps the streams does not answer; try again soon.")
