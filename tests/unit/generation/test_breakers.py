"""Circuit breakers of several processes: what opens or closes one is known to all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from mlops_backend import redis_clients
from mlops_backend.redis_bus import RedisBus
from mlops_backend.services.llm.generation import Breakers, BreakersOfWorkers
from mlops_backend.services.llm.generation.breakers import BreakerNews
from mlops_backend.services.llm.routing import Breaker
from tests.fakes.family import Family
from tests.fakes.redis_lessors import until
from tests.fakes.redis_server import RedisServer
from tests.settings import settings_for


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """That of both processes."""
    return Clock()


@pytest.fixture(params=["parent", "redis", "both"])
async def pair(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> AsyncIterator[list[Breakers]]:
    """Two processes', which know the same backend."""
    monkeypatch.setattr(redis_clients, "_READ", 10.0)
    async with AsyncExitStack() as stack:
        family = Family(settings_for())
        await family.open()
        stack.push_async_callback(family.aclose)
        redis = stack.enter_context(RedisServer())
        buses = [RedisBus(redis.url) for _ in range(2)]
        made = []
        for bus, shared in zip(buses, family.workers, strict=True):
            await bus.open()
            stack.push_async_callback(bus.aclose)
            ways: dict[str, list[BreakerNews]] = {
                "parent": [BreakersOfWorkers(shared)],
                "redis": [bus],
                "both": [BreakersOfWorkers(shared), bus],
            }
            made.append(Breakers(ways[request.param], partial(Breaker, clock=clock, draw=lambda: 1.0)))
            assert made[-1]["gpu"].state == "closed"
        await until(lambda: all(bus.listening for bus in buses))
        yield made


def state_of(breaker: Breaker) -> str:
    """Its state now; a type checker takes a property's for one that stays."""
    return breaker.state


def fail(breakers: Breakers, *, times: int = 3) -> None:
    """So many failures in a row."""
    for _ in range(times):
        leave = breakers["gpu"].enter()
        assert leave is not None
        breakers.tell("gpu", leave, failed=True)


async def test_one_that_opens_is_open_for_all(pair: list[Breakers], clock: Clock) -> None:
    """For as long, and as often in a row; and when the trial of one goes well it is closed for all."""
    one, two = pair
    fail(one, times=2)
    assert one["gpu"].enter() is not None
    fail(one, times=1)
    await until(lambda: two["gpu"].state == "open")
    await until(lambda: two.heard == len(one._news))  # what a slower way brought later would open it again
    assert two["gpu"].trip == one["gpu"].trip == (1.0, 1)
    assert two["gpu"].enter() is None
    clock.now = 1.0
    assert two["gpu"].state == one["gpu"].state == "half-open"
    trial = two["gpu"].enter()
    assert trial is not None
    two.tell("gpu", trial, failed=False)
    await until(lambda: one["gpu"].state == "closed")
    assert state_of(two["gpu"]) == "closed"


async def test_a_trial_that_fails_opens_it_for_all_again(pair: list[Breakers], clock: Clock) -> None:
    """For the next pause, which is longer."""
    one, two = pair
    fail(one)
    await until(lambda: two["gpu"].state == "open")
    clock.now = 1.0
    fail(two, times=1)
    await until(lambda: one["gpu"].trip == (2.0, 2))


async def test_of_a_backend_that_is_not_here_nothing_is_kept(pair: list[Breakers]) -> None:
    """Whatever others say of it; and what changes nothing is not told."""
    one, two = pair
    leave = one["elsewhere"].enter()
    assert leave is not None
    one.tell("elsewhere", leave, failed=False)
    for _ in range(3):
        leave = one["elsewhere"].enter()
        assert leave is not None
        one.tell("elsewhere", leave, failed=True)
    fail(one)
    await until(lambda: two["gpu"].state == "open")
    assert len(two) == 1
