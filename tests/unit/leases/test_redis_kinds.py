"""Leases in a cluster: all names lie on one node, and whoever listens hears, at whichever node."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from mlops_backend import redis_clients
from mlops_backend.services.llm.leases import Leases, redis_upkeep
from mlops_backend.services.llm.leases.redis_leases import RedisLeases
from tests.fakes.redis_lessors import MANY, of, queued, until, until_standing
from tests.fakes.redis_pair import RedisClusterOfThree


async def test_a_cluster_keeps_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has another node's address; no message is lost on the way from node to node."""
    monkeypatch.setattr(redis_clients, "_READ", 10.0)
    with RedisClusterOfThree() as cluster:
        async with AsyncExitStack() as stack:
            made = [RedisLeases(node.url, Leases(MANY)) for node in cluster.nodes]
            for leases in made:
                await leases.open()
                stack.push_async_callback(leases.aclose)
                leases.use({"gpu": 1})
            for leases in made:
                await until(lambda leases=leases: leases._upkeep._listening)  # type: ignore[misc]
            monkeypatch.setattr(redis_upkeep, "BEAT", 60.0)
            lease = await made[0].take(["gpu"], of("a"))
            for leases in made:
                leases._upkeep._beat_at += 60  # only a message tells
                (waits,) = await queued(leases, of("b"))
                lease.give_back()
                lease = await waits
            lease.give_back()
            await until_standing(made[0], (0, 0))
            assert [(leases.redis_up, leases.without_redis) for leases in made] == [(True, 0)] * 3
        assert sum(bool(node.ask("KEYS", "mlops:{leases}:*")) for node in cluster.nodes) == 1
