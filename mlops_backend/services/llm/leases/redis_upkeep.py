"""What runs beside the requests while Redis keeps the leases: signs of life, what was given back, looking for Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol

from mlops_backend.redis_clients import REDIS_ERRORS
from mlops_backend.redis_link import Presence
from mlops_backend.services.llm.leases.redis_book import BEAT, LIFTED, SETTLE, Forgotten, LeaseBook

_PAUSE: Final = 0.5
# How often who waits is asked for where nobody may listen to what Redis tells.
_POLL: Final = 0.1
_BATCH: Final = 500
_LAST: Final = 2.0


class Holder(Protocol):
    """What a process has in Redis."""

    held: dict[str, str]

    def queued(self) -> list[str]:
        """Who of it waits there, by id."""

    def granted(self, lease: str, name: str) -> None:
        """It has come to one of them."""

    def lost(self, lease: str) -> None:
        """One of them has no place there any more, and is to ask again."""


class Upkeep:
    """Tells Redis what a process has, and looks for Redis while it is away.

    Args:
        book: in Redis.
        holder: has the leases.
    """

    def __init__(self, book: LeaseBook, holder: Holder) -> None:
        self._book, self._holder = book, holder
        self._presence = Presence("leases")
        self._bounds: dict[str, int | None] = {}
        self._told: dict[str, int] = {}
        self._bounds_changed = False
        self._untold: list[str] = []
        self._ended: list[str] = []
        self._wake = asyncio.Event()
        self._beat_at = 0.0
        # whether Redis has, or is being told, what this process has: what changes then has to be told too
        self._telling = False
        self._listening = self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self.waiting = 0
        # whether Redis knows this process, and whether it is known whether it does
        self.joined, self.settled = asyncio.Event(), asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether Redis is asked at present."""
        return self._presence.up

    def use(self, bounds: Mapping[str, int | None]) -> None:
        """Tell it of all backends here, and their bounds."""
        self._bounds, self._bounds_changed = dict(bounds), True
        self._wake.set()

    def given(self, lease: str) -> None:
        """One was given without Redis, which has to hear of it."""
        if self._telling:
            self._untold.append(lease)
            self._wake.set()

    def ended(self, lease: str) -> None:
        """One was given back, or its place in the queue."""
        if self._telling:
            self._ended.append(lease)
            self._wake.set()

    def waits(self) -> None:
        """One more waits; where nobody may listen it has to be asked for soon."""
        if not self._listening and self._beat_at > monotonic() + _POLL:
            self._beat_at = 0.0
            self._wake.set()

    def failed(self, error: BaseException) -> None:
        """Redis did not answer as it should, or does not know this process; all who wait there are to ask again."""
        if isinstance(error, Forgotten):
            self.settled.clear()
        else:
            self._presence.failed(error)
            self.settled.set()
        self.joined.clear()
        self._telling = False
        for lease in self._holder.queued():
            self._holder.lost(lease)
        self._wake.set()

    async def start(self) -> None:
        """See whether Redis is there, and begin."""
        try:
            await self._book.probe()
            await self._join()
        except REDIS_ERRORS as error:
            self.failed(error)
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._listen())]

    async def aclose(self) -> None:
        """Stop; what this process has in Redis is given back."""
        self._stopping = True
        left = set(self._tasks)
        while left:  # see `_run`: a cancel may be lost
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=_POLL)
        if self.joined.is_set():
            with suppress(*REDIS_ERRORS):
                async with asyncio.timeout(_LAST):
                    await self._book.leave()

    async def _run(self) -> None:
        # the flag ends what a cancel should have: see the limits' upkeep
        while not self._stopping:
            try:
                if not self.up:
                    await asyncio.sleep(_PAUSE)
                    await self._book.probe()
                if self.joined.is_set():
                    await self._woken()
                    await self._turn()
                else:
                    await self._join()
            except Exception as error:  # the task must outlive whatever is wrong with Redis
                self.failed(error)

    async def _woken(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._beat_at - monotonic())):
                await self._wake.wait()
        self._wake.clear()

    async def _join(self) -> None:
        """Tell all that this process has, and what is given meanwhile."""
        self._untold.clear()
        self._ended.clear()
        self._telling = True
        self._told = {name: bound for name, bound in self._bounds.items() if bound is not None}
        held = list(self._holder.held.items())
        await self._book.join(held, self._told)
        await self._tell_untold()
        is_new = self._book.epoch == 1 and not held
        self._beat_at = monotonic() + (BEAT if is_new else SETTLE + _POLL)
        self._presence.recovered()
        self.joined.set()
        self.settled.set()

    async def _turn(self) -> None:
        await self._tell_untold()
        while self._ended:
            batch, self._ended = self._ended[:_BATCH], self._ended[_BATCH:]
            await self._book.back(batch)
        if self._bounds_changed:
            await self._tell_bounds()
        if monotonic() >= self._beat_at:
            await self._beat()

    async def _tell_untold(self) -> None:
        while self._untold:
            told, self._untold = self._untold, []
            held = self._holder.held
            await self._book.hold([(lease, held[lease]) for lease in told if lease in held])

    async def _tell_bounds(self) -> None:
        self._bounds_changed = False
        bounds = {name: bound for name, bound in self._bounds.items() if bound is not None}
        lifted = {name: LIFTED for name in self._told if name in self._bounds and name not in bounds}
        self._told = bounds
        await self._book.use(self._bounds, {**bounds, **lifted}, self._holder.queued())

    async def _beat(self) -> None:
        self.waiting, granted, lost = await self._book.beat(queued := self._holder.queued())
        for lease, name in granted:
            self._holder.granted(lease, name)
        for lease in lost:
            self._holder.lost(lease)
        self._beat_at = monotonic() + (BEAT if self._listening or not queued else _POLL)

    async def _listen(self) -> None:
        while not self._stopping:
            with suppress(*REDIS_ERRORS):
                await self._book.listen(self._holder.granted, self._listens)
            await asyncio.sleep(_PAUSE)

    def _listens(self, listening: bool) -> None:
        self._listening = listening
