"""Who may answer at the address of Redis: one server, a cluster, and some that can never keep the counters."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from redis.asyncio.cluster import RedisCluster
from structlog.testing import capture_logs

from mlops_backend.banner import banner
from mlops_backend.errors import LimitExceeded
from mlops_backend.principal import Principal
from mlops_backend.services.other.limits import upkeep
from mlops_backend.services.other.limits.redis_limiter import RedisLimiter
from mlops_backend.services.other.limits.redis_store import RedisStore
from tests.fakes.limits import Ledger, key, quiet
from tests.fakes.postgres_pair import free_port
from tests.fakes.redis_pair import RedisClusterOfThree, RedisNode, wait_for
from tests.fakes.redis_server import redis_program
from tests.service import settings_for
from tests.unit.limits.test_redis_user import listed

KEYS = 16


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisClusterOfThree]:
    """Three primaries."""
    with RedisClusterOfThree() as running:
        yield running


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is looked for more often than in earnest."""
    monkeypatch.setattr(upkeep, "_PAUSE", 0.05)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisLimiter]:
    """One process's limiter."""
    limiter = RedisLimiter(url, Ledger(), default_reserve=100)
    await limiter.open()
    try:
        yield limiter
    finally:
        await limiter.aclose()


async def test_a_cluster_keeps_every_limit(cluster: RedisClusterOfThree) -> None:
    """Two processes, each with another node's address: each key's limit is kept exactly, wherever its slot lies."""
    limits = key(requests="3/hour", tokens_per_day=1000, concurrent=9).limits
    async with opened(cluster.nodes[0].url) as one, opened(cluster.nodes[1].url) as two:
        for number in range(KEYS):
            who = Principal(f"key-{number}", f"k{number}", limits=limits)
            for limiter in (one, two, one):
                (await limiter.reserve(who, 5, 5)).settle(7)
            with pytest.raises(LimitExceeded, match="'requests'"):
                await two.reserve(who, 5, 5)
            for limiter in (one, two):
                now, _ = await limiter.take(f"k{number}", "r", 10, 10) or (0, 0)
                assert now
        for limiter in (one, two):
            await quiet(limiter)
            await limiter._upkeep._renew()
            assert limiter.redis_up
            assert (limiter.dropped_settlements, limiter.failed_open, limiter.failed_closed) == (0, 0, 0)
    held = [str(name) for node in cluster.nodes for name in node.ask("KEYS", "mlops:*:state")]
    assert len(held) == KEYS
    assert all(node.ask("KEYS", "mlops:*:state") for node in cluster.nodes)
    for node in cluster.nodes:
        for name in node.ask("KEYS", "mlops:*:state"):
            told = node.ask("HGETALL", name)
            used = [value for field, value in told.items() if field.startswith(b"day")]
            assert used == [b"21"]


async def test_a_user_of_a_cluster_needs_two_commands_more(cluster: RedisClusterOfThree) -> None:
    """Those that the page lists for one server, and those by which the cluster's map is read."""
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", "mlops", "reset", *listed(), "+cluster|slots", "+command")
    url = cluster.nodes[0].url.replace("//", "//mlops:password@")
    async with opened(url) as limiter:
        for number in range(KEYS):
            who = Principal(f"key-{number}", f"u{number}", limits=key(concurrent=2).limits)
            (await limiter.reserve(who, 5, 5)).settle(1)
        await quiet(limiter)
        assert limiter.redis_up
        assert limiter.failed_open == 0


async def test_the_address_may_lead_to_a_cluster_later(cluster: RedisClusterOfThree) -> None:
    """And from one to a single server: whoever answers is met anew each time that it was away."""
    with RedisNode() as single:
        store = RedisStore(single.url)
        await store.probe()
        await store.aclose()
        store._of_one = RedisStore(cluster.nodes[0].url)._of_one
        store._of_cluster = RedisStore(cluster.nodes[0].url)._of_cluster
        store._use(store._of_one())
        await store.probe()
        assert isinstance(store._client, RedisCluster)
        store._of_one = RedisStore(single.url)._of_one
        await store.probe()
        assert not isinstance(store._client, RedisCluster)
        await store.aclose()


async def test_an_address_that_no_cluster_can_have_is_told(cluster: RedisClusterOfThree) -> None:
    """A cluster has no other database than 0, where it was not told to have more, as Valkey can be from 9 on."""
    words = {"SELECT is not allowed in cluster mode", "DB index is out of range"}
    assert await told(cluster.nodes[0].url.removesuffix("0") + "3") in words


async def told(url: str) -> str:
    """What the log, and the banner, say of a Redis that cannot be used."""
    with capture_logs() as logs:
        async with opened(url) as limiter:
            assert not limiter.redis_up
            trouble = limiter.redis_trouble
    [line] = [log for log in logs if log["event"] == "limits_redis_down"]
    assert line["error"] == trouble
    assert f"  redis     REDIS_URL: {trouble}" in banner(settings_for(), 8000, [], "", trouble).splitlines()
    return trouble


def listens(port: int) -> bool:
    """Whether anybody does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_sentinel_is_told_by_its_name(tmp_path: Path) -> None:
    """It keeps nothing; the message says what to name instead."""
    port = free_port()
    file = tmp_path / "sentinel.conf"
    file.write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n")
    process = await asyncio.create_subprocess_exec(
        redis_program(), str(file), "--sentinel", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        wait_for(lambda: listens(port), "the Sentinel listens")
        assert await told(f"redis://127.0.0.1:{port}/0") == (
            "this is a Sentinel, which keeps no counters: write redis+sentinel://host:port/name in REDIS_URL, with the "
            "name of the Redis that it watches"
        )
    finally:
        process.terminate()
        await process.wait()


async def test_a_database_that_is_not_there_is_told() -> None:
    """In the words of Redis."""
    with RedisNode() as node:
        assert "DB index is out of range" in await told(node.url.removesuffix("0") + "99")


async def test_a_replica_is_told_until_it_is_the_primary() -> None:
    """Whoever follows another cannot count; once it is promoted it is used, without a restart."""
    with RedisNode() as primary, RedisNode("--replicaof", "127.0.0.1", str(primary.port)) as replica:
        async with opened(replica.url) as limiter:
            assert not limiter.redis_up
            assert "read only replica" in limiter.redis_trouble
            replica.ask("REPLICAOF", "NO", "ONE")
            async with asyncio.timeout(20):
                while not limiter.redis_up:
                    await asyncio.sleep(0.01)
            assert limiter.redis_trouble == ""


@contextmanager
def tls_server(certificate: tuple[Path, Path]) -> Iterator[int]:
    """The port of a Redis that speaks TLS alone."""
    port = free_port()
    files = ("--tls-cert-file", str(certificate[0]), "--tls-key-file", str(certificate[1]), "--tls-auth-clients", "no")
    refused = subprocess.run([redis_program(), "--tls-port", "x"], capture_output=True, timeout=10)
    if b"Bad directive" in refused.stderr + refused.stdout:
        pytest.skip("this Redis was built without TLS; Debian's has it")
    with RedisNode("--tls-port", str(port), *files) as plain:
        assert plain.ask("PING")
        wait_for(lambda: listens(port), "TLS is spoken")
        yield port


async def test_a_certificate_that_is_not_trusted_is_told(certificate: tuple[Path, Path]) -> None:
    """With what is wrong with it; named as an authority it is trusted."""
    with tls_server(certificate) as port:
        url = f"rediss://127.0.0.1:{port}/0"
        assert "CERTIFICATE_VERIFY_FAILED" in await told(url)
        async with opened(f"{url}?ssl_ca_certs={certificate[0]}") as limiter:
            assert limiter.redis_up, limiter.redis_trouble


async def test_tls_where_there_is_none_is_told(certificate: tuple[Path, Path]) -> None:
    """TLS to a plain port, and none to one that wants it."""
    with RedisNode() as node:
        assert "REDIS_URL begins with rediss://" in await told(node.url.replace("redis:", "rediss:"))
    with tls_server(certificate) as port:
        assert "rediss://" in await told(f"redis://127.0.0.1:{port}/0")
