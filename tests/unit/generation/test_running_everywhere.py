"""Generations of all machines, and those of this one where no other can be asked."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from mlops_backend.redis_bus import RedisBus
from mlops_backend.services.llm.generation import Admission, Running, RunningEverywhere
from tests.fakes.redis_server import RedisServer


class Near(Running):
    """Two workers, the other of which has one."""

    async def listed(self, key_id: str | None) -> list[dict[str, Any]]:
        """Both."""
        return [{"id": "theirs", "key_id": key_id}]

    async def end(self, request_id: str, key_id: str | None) -> int:
        """Of both."""
        return 7


async def test_where_nobody_can_be_asked_the_workers_are() -> None:
    """Redis is away, or is not listened to yet."""
    with RedisServer() as redis:
        async with aclosing(RedisBus(redis.url)) as bus:
            running = RunningEverywhere(Admission(), Near(Admission()), bus)
            assert await running.listed("k") == [{"id": "theirs", "key_id": "k"}]
            assert await running.end("a", None) == 7
