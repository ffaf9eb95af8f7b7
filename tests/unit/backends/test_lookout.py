"""Backends are looked at although nobody asks: often enough to know them, and not all at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from random import random
from time import monotonic
from typing import Any

import pytest

from mlops_backend.services.llm.backends import lookout
from mlops_backend.services.llm.backends.look import Look
from mlops_backend.services.llm.backends.lookout import Lookout
from mlops_backend.services.llm.backends.pool import BackendPool
from tests.unit.backends.test_late_backends import Listing


class Counting(Listing):
    """One that knows when it was looked at."""

    def __init__(self, name: str, *, at_once: bool = True) -> None:
        super().__init__(name, at_once=at_once)
        self.looks: list[float] = []

    async def version(self) -> str:
        """Its version, if it is there."""
        self.looks.append(monotonic())
        return await super().version()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second stands for ten, and a fiftieth for two."""
    monkeypatch.setattr(lookout, "_SOONEST", 0.02)
    monkeypatch.setattr(lookout, "_TICK", 0.002)
    monkeypatch.setattr("mlops_backend.services.llm.backends.look.PROBE_LIFE", 0.001)


@asynccontextmanager
async def looking(*backends: Any, draw: Callable[[], float] = random) -> AsyncIterator[BackendPool]:
    """A pool of them, and somebody on the lookout."""
    pool = BackendPool(timeout=5)
    pool.use(backends)
    keeper = Lookout(pool, 0.1, draw)
    keeper.start()
    yield pool
    await keeper.aclose()
    await pool.close()


async def until_looked_at(backend: Counting, times: int) -> None:
    """Until it was looked at so often."""
    async with asyncio.timeout(20):
        while len(backend.looks) < times:
            await asyncio.sleep(0.002)


async def test_each_is_known_before_anybody_asks() -> None:
    """So that the first request waits for nobody."""
    one, two = Counting("one"), Counting("two")
    async with looking(one, two) as pool:
        await until_looked_at(one, 1)
        await until_looked_at(two, 1)
        async with asyncio.timeout(20):
            while not all(known.probe is not None and known.probe.names for known in pool.known()):
                await asyncio.sleep(0.002)


@pytest.mark.parametrize(("draw", "apart"), [(0.0, 0.075), (1.0, 0.125)])
async def test_looks_are_apart(draw: float, apart: float) -> None:
    """By a quarter less or more, as it is drawn."""
    one, two = Counting("one"), Counting("two")
    async with looking(one, two, draw=lambda: draw):
        await until_looked_at(one, 4)
    assert min(later - sooner for sooner, later in pairwise(one.looks)) >= apart


async def test_one_that_is_away_is_looked_at_more_often() -> None:
    """It is known to be back soon."""
    one, two = Counting("one"), Counting("two")
    one.is_away = True
    async with looking(one, two) as pool:
        await until_looked_at(one, 6)
        assert len(two.looks) <= len(one.looks) // 2
        one.is_away = False
        async with asyncio.timeout(20):
            while not all(known.probe is not None and known.probe.reachable for known in pool.known()):
                await asyncio.sleep(0.002)


async def test_one_that_hangs_is_looked_at_once_and_keeps_nobody_from_the_other() -> None:
    """No looks pile up."""
    one, two = Counting("one", at_once=False), Counting("two")
    async with looking(one, two):
        await until_looked_at(two, 4)
        assert len(one.looks) == 1


async def test_one_that_is_alone_is_left_alone() -> None:
    """There is nothing to choose."""
    one = Counting("one")
    async with looking(one):
        await asyncio.sleep(0.1)
    assert not one.looks


async def test_nobody_looks_where_the_operator_wants_that() -> None:
    """A server's own log has a line for each look."""
    one, two = Counting("one"), Counting("two")
    pool = BackendPool(timeout=5)
    pool.use([one, two])  # type: ignore[list-item]
    keeper = Lookout(pool, None)
    keeper.start()
    await asyncio.sleep(0.05)
    await keeper.aclose()
    assert not one.looks
    assert not two.looks


async def test_a_look_that_cannot_be_begun_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is."""
    one, two = Counting("one"), Counting("two")
    failed = []

    def fail(*_: object) -> None:
        failed.append(1)
        raise RuntimeError("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr(Look, "refresh", fail)
        async with looking(one, two):
            async with asyncio.timeout(20):
                while len(failed) < 3:
                    await asyncio.sleep(0.002)
            patch.undo()
            await until_looked_at(one, 1)
