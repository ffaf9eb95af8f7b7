"""Those who keep journals, each with a clock that a test moves where it can be moved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest

from mlops_backend import redis_clients
from mlops_backend.services.other.journals import (
    Bounds,
    Claim,
    Head,
    Journals,
    JournalsForWorkers,
    Listed,
    MemoryJournals,
    Opening,
    Page,
    WorkersJournals,
)
from mlops_backend.services.other.journals.redis_journals import RedisJournals
from tests.fakes.family import Family
from tests.fakes.redis_server import RedisServer
from tests.settings import settings_for

SMALL: Final = Bounds(each=8 * 1024, all=24 * 1024, count=6, of_owner=3, ttl=30.0)


@dataclass
class Clock:
    """Seconds that only a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass
class Keeper:
    """One who keeps them, and what moves its clock."""

    journals: Journals
    clock: Clock = field(default_factory=Clock)


class Apart:
    """Two processes: one that writes, and one that reads."""

    def __init__(self, writes: Journals, reads: Journals) -> None:
        self._writes, self._reads = writes, reads

    async def begin(self, opening: Opening) -> Opening:
        """See `Journals`."""
        return await self._writes.begin(opening)

    async def write(self, journal: str, pieces: Sequence[bytes] = (), head: Head | None = None) -> float:
        """See `Journals`."""
        return await self._writes.write(journal, pieces, head)

    async def end(self, journal: str, outcome: str, *, keeps_claim: bool = True) -> None:
        """See `Journals`."""
        await self._writes.end(journal, outcome, keeps_claim=keeps_claim)

    async def read(self, journal: str, after: int = 0, wait: float = 0.0) -> Page:
        """See `Journals`."""
        return await self._reads.read(journal, after, wait)

    async def opening(self, journal: str) -> Opening:
        """See `Journals`."""
        return await self._reads.opening(journal)

    async def listed(self, owner: str) -> list[Listed]:
        """See `Journals`."""
        return await self._reads.listed(owner)

    async def forget(self, journal: str) -> None:
        """See `Journals`."""
        await self._reads.forget(journal)

    async def open(self) -> None:
        """See `Journals`."""
        await self._writes.open()
        await self._reads.open()

    async def aclose(self) -> None:
        """See `Journals`."""
        await self._writes.aclose()
        await self._reads.aclose()


Making = Callable[[Bounds], AbstractAsyncContextManager[Keeper]]


@asynccontextmanager
async def in_memory(bounds: Bounds) -> AsyncIterator[Keeper]:
    """This process itself."""
    clock = Clock()
    journals = MemoryJournals(bounds, clock)
    await journals.open()
    yield Keeper(journals, clock)
    await journals.aclose()


@asynccontextmanager
async def in_parent(bounds: Bounds) -> AsyncIterator[Keeper]:
    """The parent of two workers."""
    clock = Clock()
    family = Family(settings_for())
    kept = JournalsForWorkers(family.hub.handlers, MemoryJournals(bounds, clock))
    family.hub.when_one_leaves(kept.lose)
    await family.open()
    try:
        yield Keeper(Apart(*map(WorkersJournals, family.workers)), clock)
    finally:
        await family.aclose()


@asynccontextmanager
async def in_redis(bounds: Bounds) -> AsyncIterator[Keeper]:
    """A Redis of two processes, which may take its time: a slow machine is not a Redis that is away."""
    clock = Clock()
    with RedisServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_clients, "_READ", 10.0)
        patch.setattr(redis_clients, "_CONNECT", 10.0)
        journals = Apart(*(RedisJournals(server.url, bounds, clock=clock) for _ in range(2)))
        await journals.open()
        try:
            yield Keeper(journals, clock)
        finally:
            await journals.aclose()


KEEPERS: Final[dict[str, Making]] = {"memory": in_memory, "parent": in_parent, "redis": in_redis}


def opened(number: int = 1, owner: str = "key", claim: str = "", fingerprint: str = "same") -> Opening:
    """An opening."""
    wanted = Claim(claim, fingerprint) if claim else None
    return Opening(f"journal-{number}", owner, f"request-{number}", 1.5 * number, b"about %d" % number, wanted)
