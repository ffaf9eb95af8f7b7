"""Limiters of both kinds, whose counters are new and whose clock a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from mlops_backend import redis_clients
from tests.fakes.limits import NOON, AnyLimiter, Ledger, started
from tests.fakes.limits_model import Clock
from tests.fakes.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """One Redis for all, which may take its time: a slow machine is not a Redis that is away."""
    with RedisServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_clients, "_READ", 10.0)
        patch.setattr(redis_clients, "_CONNECT", 10.0)
        yield server


@pytest.fixture
def clock() -> Clock:
    """Noon of a summer's day."""
    return Clock(NOON)


@pytest.fixture
def ledger() -> Ledger:
    """An empty ledger."""
    return Ledger()


@pytest.fixture(params=["memory", "parent", "redis"])
async def limiter(
    request: pytest.FixtureRequest, redis: RedisServer, clock: Clock, ledger: Ledger
) -> AsyncIterator[AnyLimiter]:
    """A limiter whose counters are new."""
    limiter = await started(request.param, redis, clock, ledger)
    yield limiter
    await limiter.aclose()
