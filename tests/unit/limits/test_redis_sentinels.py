"""A Redis that Sentinels watch: it is asked of them where the primary is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_backend import redis_clients
from mlops_backend.errors import LimitExceeded
from tests.fakes.limits import key, quiet
from tests.fakes.postgres_pair import free_port
from tests.fakes.redis_pair import WATCHED, RedisNode, RedisSentinel, wait_for
from tests.unit.limits.test_redis_kinds import listens, opened, tls_server, told
from tests.unit.limits.test_redis_user import PAGE, listed

LIMITED = key(requests="2/hour", tokens_per_day=1000)
PASSWORD = "a-password-of-the-sentinel"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine is not a Redis that is away."""
    monkeypatch.setattr(redis_clients, "_READ", 10.0)
    monkeypatch.setattr(redis_clients, "_CONNECT", 10.0)


@pytest.fixture(scope="module")
def primary() -> Iterator[RedisNode]:
    """A primary."""
    with RedisNode() as node:
        yield node


@pytest.fixture(scope="module")
def sentinel(primary: RedisNode) -> Iterator[RedisSentinel]:
    """Who watches it."""
    with RedisSentinel(primary.port) as watching:
        yield watching


async def test_limits_are_kept_at_the_primary(primary: RedisNode, sentinel: RedisSentinel) -> None:
    """Of two processes together, in the database that the address names, by the user that is listed."""
    primary.ask("ACL", "SETUSER", "mlops", "reset", *listed())
    url = sentinel.url.replace("//", "//mlops:password@").removesuffix("0") + "3"
    async with opened(url) as one, opened(url) as two:
        for limiter in (one, two):
            assert limiter.redis_up, limiter.redis_trouble
            (await limiter.reserve(LIMITED, 5, 5)).settle(7)
        with pytest.raises(LimitExceeded, match="'requests'"):
            await one.reserve(LIMITED, 5, 5)
        for limiter in (one, two):
            await quiet(limiter)
    assert "db3" in str(primary.ask("INFO", "KEYSPACE"))


async def test_one_sentinel_that_is_away_is_passed_over(sentinel: RedisSentinel) -> None:
    """The next one is asked."""
    url = sentinel.url.replace("//", f"//127.0.0.1:{free_port()},")
    async with opened(url) as limiter:
        assert limiter.redis_up, limiter.redis_trouble


async def test_a_name_that_no_sentinel_knows_is_told(sentinel: RedisSentinel) -> None:
    """By the name."""
    assert await told(sentinel.url.replace(WATCHED, "nobody")) == (
        f"no Sentinel names a primary 'nobody': 127.0.0.1:{sentinel.port}: there is none of that name"
    )


async def test_sentinels_that_are_away_are_told() -> None:
    """By their addresses, and without a password."""
    ports = free_port(), free_port()
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    trouble = await told(f"redis+sentinel://user:{PASSWORD}@{hosts}/{WATCHED}/0?sentinel_password={PASSWORD}")
    assert trouble.startswith(f"no Sentinel names a primary '{WATCHED}': 127.0.0.1:{ports[0]}: Error ")
    assert f"; 127.0.0.1:{ports[1]}: Error " in trouble
    assert PASSWORD not in trouble


async def test_what_a_sentinel_asks_for_is_given(primary: RedisNode) -> None:
    """A password of its own, which is not that of the Redis; without it that is told."""
    with RedisSentinel(primary.port, password=PASSWORD) as sentinel:
        assert "Authentication required" in await told(sentinel.url)
        trouble = await told(f"{sentinel.url}?sentinel_password=wrong-{PASSWORD}")
        assert "invalid username-password" in trouble
        assert PASSWORD not in trouble
        async with opened(f"{sentinel.url}?sentinel_password={PASSWORD}") as limiter:
            assert limiter.redis_up, limiter.redis_trouble


async def test_a_user_of_a_sentinel_needs_what_is_listed(sentinel: RedisSentinel) -> None:
    """Who may do that, and nothing else; without the first of it that is told."""
    [listed_there] = re.findall(r"`ACL SETUSER mlops ([^`]*sentinel[^`]*)`", PAGE.read_text())
    words = listed_there.split()
    sentinel.ask("ACL", "SETUSER", "mlops", "reset", *words)
    url = f"{sentinel.url}?sentinel_username=mlops&sentinel_password=password"
    async with opened(url) as limiter:
        assert limiter.redis_up, limiter.redis_trouble
    assert "there is none of that name" in await told(url.replace(WATCHED, "nobody"))
    sentinel.ask("ACL", "SETUSER", "mlops", "reset", *(word for word in words if word != "+sentinel|masters"))
    assert "no permissions" in await told(url)


async def test_all_of_them_may_speak_tls(certificate: tuple[Path, Path]) -> None:
    """With the same authority; one that is not trusted is told, and so is TLS that is missing in the address."""
    with tls_server(certificate) as port:
        own = free_port()
        files = (f"tls-{kind}-file {certificate[kind == 'key']}" for kind in ("cert", "key", "ca-cert"))
        with RedisSentinel(port, f"tls-port {own}", *files, "tls-auth-clients no", "tls-replication yes"):
            wait_for(lambda: listens(own), "the Sentinel speaks TLS")
            url = f"rediss+sentinel://127.0.0.1:{own}/{WATCHED}/0"
            assert "CERTIFICATE_VERIFY_FAILED" in await told(url)
            async with opened(f"{url}?ssl_ca_certs={certificate[0]}") as limiter:
                assert limiter.redis_up, limiter.redis_trouble
            assert "REDIS_URL must begin with rediss+sentinel://" in await told(url.replace("rediss", "redis"))
            unknown = await told(f"{url.replace(WATCHED, 'nobody')}?ssl_ca_certs={certificate[0]}")
            assert unknown.endswith(f":{own}: there is none of that name")
