"""Limiters for tests: a ledger that can be out of reach, keys with limits, and waiting for what runs beside."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from mlops_backend.days import UTC_DAYS, Calendar
from mlops_backend.errors import DatabaseDown
from mlops_backend.principal import Limits, Principal
from mlops_backend.services.other.limits.limiter import Seed
from mlops_backend.services.other.limits.memory import MemoryLimiter
from mlops_backend.services.other.limits.parent_counters import ParentCounters
from mlops_backend.services.other.limits.parent_limiter import ParentLimiter
from mlops_backend.services.other.limits.redis_limiter import RedisLimiter
from mlops_backend.shared import Shared
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.common import LedgerOfWorkers
from mlops_backend.workers.handlers import Handlers
from mlops_backend.workers.hub import Hub
from tests.fakes.limits_model import SECOND, Clock
from tests.fakes.redis_server import RedisServer

NOON = int(datetime(2026, 7, 12, 12, tzinfo=UTC).timestamp()) * SECOND


class Ledger:
    """What was used before, by the day since when; asking takes a few turns of the loop."""

    def __init__(self) -> None:
        self.used_before: dict[str, int] = {}
        self.down = False
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked: list[tuple[str, datetime]] = []

    async def used(self, principal_id: str, since: datetime) -> int:
        """Tokens since then."""
        self.asked.append((principal_id, since))
        for _ in range(3):
            await asyncio.sleep(0)
        await self.answering.wait()
        if self.down:
            raise DatabaseDown("The ledger cannot be read.")
        return self.used_before.get(f"{since:%Y-%m-%d}", 0)


class Parent:
    """The parent of several workers, with the counters of all."""

    def __init__(self, clock: Callable[[], int], **choices: Any) -> None:
        self.hub = Hub()
        self.counters = ParentCounters(self.hub.handlers, LedgerOfWorkers(self.hub), clock=clock, **choices)
        self.hub.handlers.on("quiet", lambda worker, what: None)
        self.hub.when_one_leaves(self.counters.lose)


class WorkersLimiter(ParentLimiter):
    """The limiter of one worker, which is connected with its parent while it is open."""

    def __init__(self, parent: Parent, seed: Seed, *, default_reserve: int, calendar: Calendar = UTC_DAYS) -> None:
        hears = Handlers()
        self.parent, self.channel = parent, Channel(hears)
        hears.on("ledger.write", lambda parent, what: None)
        super().__init__(Shared(0, self.channel, hears), seed, default_reserve=default_reserve, calendar=calendar)

    async def open(self) -> None:
        """Connect."""
        ours, its = socket.socketpair()
        await self.parent.hub.join(ours, "worker")
        await self.channel.connect(its)
        await self.channel.ask("quiet")

    async def aclose(self) -> None:
        """Close the connection."""
        await self.channel.aclose()
        await asyncio.sleep(0)


AnyLimiter = MemoryLimiter | RedisLimiter | WorkersLimiter


async def started(
    kind: str,
    redis: RedisServer,
    clock: Clock,
    ledger: Seed,
    *,
    budgets_fail_open: bool = False,
    calendar: Calendar = UTC_DAYS,
) -> AnyLimiter:
    """A limiter of that kind, running."""
    limiter: AnyLimiter
    choices: dict[str, Any] = {"budgets_fail_open": budgets_fail_open, "clock": clock, "calendar": calendar}
    if kind == "memory":
        limiter = MemoryLimiter(ledger, default_reserve=100, **choices)
    elif kind == "parent":
        limiter = WorkersLimiter(Parent(**choices), ledger, default_reserve=100, calendar=calendar)
    else:
        limiter = RedisLimiter(redis.url, ledger, default_reserve=100, **choices)
        await limiter._store._client.flushall()
    await limiter.open()
    return limiter


def key(**limits: object) -> Principal:
    """A key with these limits, rates as text."""
    return Principal("tester", "k1", limits=Limits().replaced(limits))


async def quiet(limiter: AnyLimiter) -> None:
    """Wait until nothing is under way, and every end of a reservation is counted."""
    if isinstance(limiter, WorkersLimiter):
        await limiter.channel.ask("quiet")
    while limiter.pending_settlements or (isinstance(limiter, RedisLimiter) and limiter._steps._running):
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)


async def nothing_is_reserved(limiter: AnyLimiter, principal_id: str = "k1") -> bool:
    """Whether no room of a key is taken by a generation."""
    await quiet(limiter)
    if isinstance(limiter, WorkersLimiter):
        counters = limiter.parent.counters
        assert not any(counters._held.values())
        assert not any(counters._waiting.values())
        limiter = limiter.parent.counters.limiter
    if isinstance(limiter, MemoryLimiter):
        account = (limiter._accounts | limiter._people).get(principal_id)
        return account is None or (account.open, account.held) == (0, 0)
    store = limiter._store
    state, opened, records, _ = store._keys(principal_id)
    held = await store._client.hget(state, "held")
    return (int(held or 0), await store._client.zcard(opened), await store._client.hlen(records)) == (0, 0, 0)
