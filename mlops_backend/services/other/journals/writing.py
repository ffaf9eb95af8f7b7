"""Writing a journal while an answer is made: what comes while a step is under way goes with the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final

from mlops_backend.errors import NotFound, Unavailable
from mlops_backend.services.other.journals.journal import Head, Journals

# How often its keeper hears that the writer lives.
SIGN: Final = 1.0
# What may wait to be written, before whoever makes the answer waits, too.
_MOST: Final = 1024 * 1024
# For so long a keeper may be away.
_PATIENCE: Final = 10.0
_AGAIN: Final = 0.2


class Writer:
    """One journal's; `stop` is called once, when nobody is to go on: nobody reads it, or nobody keeps it.

    Args:
        journals: where it is kept.
        journal: its id, begun already.
        grace: seconds for which nobody may read it.
        stop: ends what makes the answer.
    """

    def __init__(self, journals: Journals, journal: str, grace: float, stop: Callable[[], None]) -> None:
        self._journals, self._journal = journals, journal
        self._grace, self._stop = grace, stop
        self._head: Head | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._wake, self._written = asyncio.Event(), asyncio.Event()
        self._failing_since: float | None = None
        self._closing = self._stopped = self._told = False
        self._task = asyncio.create_task(self._run())

    def begin(self, head: Head) -> None:
        """The answer begins."""
        self._head = head
        self._wake.set()

    async def add(self, pieces: list[bytes]) -> None:
        """More of it; waits while too much is to be written."""
        self._pieces += pieces
        self._size += sum(map(len, pieces))
        self._wake.set()
        while self._size > _MOST and not self._stopped:
            self._written.clear()
            await self._written.wait()

    async def close(self, outcome: str, *, keeps_claim: bool = True) -> None:
        """Write what waits, and the end; where pieces are missing there is no end, and its readers hear of it."""
        self._closing = True
        self._wake.set()
        await asyncio.wait({self._task})
        while not self._stopped:
            try:
                await self._journals.end(self._journal, outcome, keeps_claim=keeps_claim)
            except Unavailable:
                await self._failed()
            else:
                return

    async def _run(self) -> None:
        while not self._stopped and not (self._closing and not self._pieces and self._head is None):
            await self._woken()
            try:
                await self._write()
            except NotFound:
                self._give_up()
            except Unavailable:
                await self._failed()

    async def _woken(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SIGN):
                await self._wake.wait()
        self._wake.clear()

    async def _write(self) -> None:
        pieces, head, size = self._pieces, self._head, self._size
        self._pieces, self._head, self._size = [], None, 0
        try:
            unread = await self._journals.write(self._journal, pieces, head)
        except Unavailable:
            self._pieces, self._head, self._size = pieces + self._pieces, self._head or head, size + self._size
            raise
        self._failing_since = None
        self._written.set()
        if unread > self._grace and not (self._closing or self._told):
            self._told = True
            self._stop()

    async def _failed(self) -> None:
        """Try again soon, but not for ever."""
        now = monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since > _PATIENCE:
            self._give_up()
        else:
            self._wake.set()
            await asyncio.sleep(_AGAIN)

    def _give_up(self) -> None:
        self._stopped = True
        self._written.set()
        if not self._told:
            self._told = True
            self._stop()
