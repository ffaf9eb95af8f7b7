"""Two services with one Redis, as on two machines: each sees and ends what runs on the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from mlops_backend import redis_bus, redis_clients
from mlops_backend.services.llm.leases import redis_upkeep
from mlops_backend.services.other.limits import upkeep
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.fakes.redis_server import RedisServer
from tests.service import ADMIN_KEY, Service
from tests.web.llm.test_generations import begun, end, listed, until


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """One that may take its time, and is looked for more often than in earnest."""
    monkeypatch.setattr(redis_clients, "_READ", 10.0)
    monkeypatch.setattr(redis_bus, "_WITHIN", 10.0)
    for module in (redis_bus, redis_upkeep, upkeep):
        monkeypatch.setattr(module, "_PAUSE", 0.05)
    with RedisServer() as server:
        yield server


@pytest.fixture
async def pair(serve: ServeFactory, fake: FakeOllama, redis: RedisServer) -> AsyncIterator[list[Service]]:
    """Both services, before a backend that takes one generation at a time."""
    async with AsyncExitStack() as stack:
        starting = [serve(fake.url, max_concurrency=1, redis_url=redis.url) for _ in range(2)]
        made = [await stack.enter_async_context(each) for each in starting]
        await number(made, "leases_redis_up", 1)
        yield made


async def number(services: list[Service], name: str, value: float) -> None:
    """Wait until `/metrics` of each says so."""
    async with asyncio.timeout(20):
        for service in services:
            line = f"mlops_{name} {float(value)}"
            while line not in (await service.client.get("/metrics", headers={"X-API-Key": ADMIN_KEY})).text:
                await asyncio.sleep(0.01)


async def test_each_sees_and_ends_what_runs_on_the_other(pair: list[Service], fake: FakeOllama) -> None:
    """It waits there behind what runs here, and has its turn when that was ended from there."""
    here, there = pair
    fake.hold()
    first = begun(here, name="first")
    await until(there, "asked")
    second = begun(there, name="second")
    await until(here, "asked", "queued")
    queue = (await here.client.get("/api/llm/queue")).json()
    assert (queue["running"], queue["waiting"], len(queue["own"])) == (1, 1, 1)
    assert (await end(there, "first")).json() == {"ended": 1}
    assert '"generation_cancelled"' in (await first).text
    await until(here, "asked")
    fake.release()
    assert (await second).status_code == 200
    assert await listed(there) == []
    assert (await end(here, "second")).status_code == 404


async def test_while_redis_is_away_each_has_what_is_its_own(
    pair: list[Service], fake: FakeOllama, redis: RedisServer
) -> None:
    """One's own generations are listed and ended, and each has its slot; then all is common again."""
    here, there = pair
    redis.stop()
    await number(pair, "leases_redis_up", 0)
    fake.hold()
    tasks = [begun(here, name="first"), begun(there, name="second")]
    for service, name in zip(pair, ("first", "second"), strict=True):
        await until(service, "asked")
        assert [each["id"] for each in await listed(service)] == [name]
    redis.start()
    await number(pair, "leases_redis_up", 1)
    for service in pair:
        await until(service, "asked", "asked")
    await number(pair, "leases_without_redis_total", 1)
    fake.release()
    assert [(await task).status_code for task in tasks] == [200, 200]
