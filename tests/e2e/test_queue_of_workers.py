"""Two worker processes before a backend with a bound: it is never given more, by its own count."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.e2e.server_process import serving_process
from tests.fakes.ollama import FakeOllama, Mode
from tests.fakes.redis_server import RedisServer

MOST = 7


@pytest.mark.parametrize(
    ("kept", "count"),
    [
        ("parent", 500),
        ("restarted redis", 300),
        pytest.param("parent", 5000, marks=pytest.mark.long),
        pytest.param("redis", 5000, marks=pytest.mark.long),
        pytest.param("restarted redis", 5000, marks=pytest.mark.long),
    ],
)
async def test_two_workers_never_give_a_backend_more_than_it_takes(
    fake: FakeOllama, tmp_path: Path, kept: str, count: int
) -> None:
    """Many clients, some of which leave while they wait; every other one is answered, and at the end nobody waits.

    Whoever keeps the leases: the parent, or Redis, which may go away in the middle and come back with nothing.
    """
    fake.mode, fake.first_byte_delay, fake.words = Mode.SLOW_FIRST_BYTE, 0.002, ("Hi",)
    variables = {"WORKERS": "2", "MAX_CONCURRENCY": str(MOST), "LOG_LEVEL": "WARNING"}
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer()) if "redis" in kept else None
        if redis is not None:
            variables["REDIS_URL"] = redis.url
        service = await stack.enter_async_context(serving_process(tmp_path, fake.url, **variables))
        client = await stack.enter_async_context(service.client())
        room, begun = asyncio.Semaphore(200), asyncio.Event()
        asking = asyncio.gather(*(one(client, room, number, begun) for number in range(count)))
        if redis is not None and kept == "restarted redis":
            await restarted(redis, begun)
        assert {status for status in await asking if status} == {200}
        assert fake.max_active == MOST
        async with asyncio.timeout(20):
            while (seen := (await client.get("/api/llm/queue")).json())["waiting"] or seen["running"]:
                await asyncio.sleep(0.05)
        assert seen["backends"] == [{"name": fake.url, "running": 0, "max_concurrency": MOST, "waiting": 0}]
        if redis is not None:
            await until_shared(client)
            assert (await numbers(client))["leases_without_redis_total"] or kept == "redis"
            with Redis(unix_socket_path=str(redis.socket)) as inside:
                assert inside.hget("mlops:{leases}:fair", "number")  # there was somebody in its queue


async def one(client: httpx.AsyncClient, room: asyncio.Semaphore, number: int, begun: asyncio.Event) -> int:
    """The status of one's answer, 0 of one who leaves; tells when a hundred have come so far."""
    async with room:
        asking = asyncio.create_task(client.post("/api/generate", json={"model": "llama3", "stream": False}))
        if number % 10 == 0:
            await asyncio.wait({asking}, timeout=0.02)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            return 0
        status = (await asking).status_code
        if number > 100:
            begun.set()
        return status


async def restarted(redis: RedisServer, begun: asyncio.Event) -> None:
    """Redis is away for half a second, and comes back with nothing."""
    await begun.wait()
    await asyncio.to_thread(redis.stop)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(redis.start)


async def until_shared(client: httpx.AsyncClient) -> None:
    """Wait until all workers have Redis again."""
    async with asyncio.timeout(20):
        while (await numbers(client))["leases_redis_up"] != 1:
            await asyncio.sleep(0.05)


async def numbers(client: httpx.AsyncClient) -> dict[str, float]:
    """What `/metrics` says of the leases, of all workers."""
    lines = (await client.get("/metrics")).text.splitlines()
    pairs = (line.removeprefix("mlops_").split() for line in lines if line.startswith("mlops_leases_"))
    return {name: float(value) for name, value in pairs}
