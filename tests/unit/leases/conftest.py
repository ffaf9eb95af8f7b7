"""A Redis for leases, and lessors in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from mlops_backend import redis_clients
from mlops_backend.services.llm.leases import redis_upkeep
from tests.fakes.redis_server import RedisServer


@pytest.fixture(scope="module")
def running_redis() -> Iterator[RedisServer]:
    """One Redis for all, which may take its time: a slow machine is not a Redis that is away."""
    with RedisServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_clients, "_READ", 10.0)
        patch.setattr(redis_clients, "_CONNECT", 10.0)
        patch.setattr(redis_upkeep, "_PAUSE", 0.05)
        yield server


@pytest.fixture
async def redis(running_redis: RedisServer) -> RedisServer:
    """The same, and empty."""
    client = Redis(unix_socket_path=str(running_redis.socket))
    await client.flushall()
    await client.aclose()
    return running_redis
