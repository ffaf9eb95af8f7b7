"""Lessors in a Redis, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

from mlops_backend.services.llm.leases import Asking, Bounds, Lease, Leases
from mlops_backend.services.llm.leases.redis_leases import RedisLeases
from tests.fakes.redis_server import RedisServer

MANY: Final = Bounds(1000, 500, 30, 30)


def of(key: str, cost: float = 1, *, batch: bool = False) -> Asking:
    """A request of a key's."""
    return Asking(key, lambda: cost, batch)


@asynccontextmanager
async def lessor(
    redis: RedisServer, bounds: Bounds = MANY, clock: Callable[[], float] = monotonic, **most: int | None
) -> AsyncIterator[RedisLeases]:
    """One process's, of some backends."""
    made = RedisLeases(redis.url, Leases(bounds, clock), clock=clock)
    await made.open()
    made.use(most)
    try:
        yield made
    finally:
        await made.aclose()


async def queued(leases: RedisLeases, *askings: Asking, names: tuple[str, ...] = ("gpu",)) -> list[asyncio.Task[Lease]]:
    """Tasks that wait in Redis, in this order."""
    tasks = []
    for asking in askings:
        before = len(leases)
        tasks.append(asyncio.create_task(leases.take(names, asking)))
        await until(lambda before=before: len(leases) > before)  # type: ignore[misc]
    return tasks


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it does."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.001)


async def standing(leases: RedisLeases, name: str = "gpu") -> tuple[int, int]:
    """How many leases a backend has given, by all processes, and how many wait for it."""
    return next(((each.taken, each.waiting) for each in (await leases.view("")).backends if each.name == name), (0, 0))


async def until_standing(leases: RedisLeases, expected: tuple[int, int], name: str = "gpu") -> None:
    """Wait until a backend stands like that."""
    async with asyncio.timeout(20):
        while await standing(leases, name) != expected:
            await asyncio.sleep(0.001)
