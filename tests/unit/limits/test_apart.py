"""Limits that stand apart: of single routes, and of addresses with keys that nobody knows; and memory's bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mlops_backend.errors import LimitExceeded
from mlops_backend.principal import Limits, Principal, Rate
from mlops_backend.services.other.limits import failed_keys
from mlops_backend.services.other.limits.decision import Standing, headers
from mlops_backend.services.other.limits.failed_keys import FailedKeys
from mlops_backend.services.other.limits.limiter import NoSeed
from mlops_backend.services.other.limits.memory import MemoryLimiter
from mlops_backend.services.other.limits.redis_limiter import RedisLimiter
from mlops_backend.services.other.limits.routes import RouteLimiter
from tests.fakes.limits import NOON, AnyLimiter, Parent, WorkersLimiter, key
from tests.fakes.limits_model import SECOND, Clock
from tests.fakes.redis_server import RedisServer

THREE = Rate.parse("60/minute burst 3")


@pytest.fixture(params=["memory", "parent", "redis"])
async def limiter(request: pytest.FixtureRequest, redis: RedisServer, clock: Clock) -> AsyncIterator[AnyLimiter]:
    """A limiter whose counters are new."""
    made: AnyLimiter = MemoryLimiter(default_reserve=9, clock=clock)
    if request.param == "parent":
        made = WorkersLimiter(Parent(clock), NoSeed(), default_reserve=9)
    if request.param == "redis":
        made = RedisLimiter(redis.url, default_reserve=9, clock=clock)
        await made._store._client.flushall()
    await made.open()
    yield made
    await made.aclose()


async def test_a_route_has_a_rate_of_its_own(limiter: AnyLimiter, clock: Clock) -> None:
    """Each principal may call each route so often; a refusal costs nothing and says when to come again."""
    routes = RouteLimiter(limiter)
    for left in (2, 1, 0):
        assert await routes.hit("k1", "other.echo", THREE) == (Standing("other.echo", 60, 60, left, 3 - left),)
    for _ in range(3):
        with pytest.raises(LimitExceeded) as refusal:
            await routes.hit("k1", "other.echo", THREE)
    assert refusal.value.message == "The limit of this route is reached: 60/minute burst 3. Try again in 1 s."
    assert refusal.value.headers == {
        "Retry-After": "1",
        "RateLimit-Policy": '"other.echo";q=60;w=60',
        "RateLimit": '"other.echo";r=0;t=3',
    }
    await routes.hit("k2", "other.echo", THREE)
    await routes.hit("k1", "other.more", THREE)
    clock.now += SECOND
    await routes.hit("k1", "other.echo", THREE)
    with pytest.raises(LimitExceeded):
        await routes.hit("k1", "other.echo", THREE)


def test_names_are_strings_of_structured_fields() -> None:
    """Whatever a limit is called, the fields stay well formed."""
    fields = headers([Standing('a"b\\c\né', 1, 1, 1, 0)])
    assert fields["RateLimit"] == '"a\\"b\\\\c??";r=1;t=0'
    assert headers([]) == {}


async def test_memory_forgets_who_is_idle(clock: Clock) -> None:
    """Keys and routes that a new counter would decide alike for are dropped as others come; the rest stay."""
    limiter = MemoryLimiter(default_reserve=9, clock=clock)
    routes = RouteLimiter(limiter)

    async def ask(name: str, **limits: object) -> None:
        principal = Principal(name, name, limits=Limits().replaced(limits))
        (await limiter.reserve(principal, 5, 5)).settle(5)
        await routes.hit(name, "r", THREE)

    for number in range(1000):
        await ask(f"old{number}", requests="60/minute", tokens="600/minute")
    await ask("budget", tokens_per_day=100)
    open_one = await limiter.reserve(key(concurrent=1), 5, 5)
    assert (len(limiter._accounts), len(limiter._routes)) == (1002, 1001)
    clock.now += 60 * SECOND
    for number in range(1100):
        await ask(f"new{number}", requests="60/minute")
        clock.now += SECOND // 100
    assert set(limiter._accounts) & {"budget", "k1"} == {"budget", "k1"}
    assert not [name for name in limiter._accounts if name.startswith("old")]
    assert len(limiter._accounts) < 500
    assert len(limiter._routes) < 500
    open_one.settle(5)
    clock.now += 13 * 3600 * SECOND
    for _ in range(600):
        await ask("last", requests="60/minute")
        clock.now += 2 * SECOND
    assert set(limiter._accounts) == {"last"}


def test_an_address_is_blocked_after_so_many_failures(clock: Clock) -> None:
    """After the burst it waits for each further attempt; what comes while it is blocked doesn't count."""
    failures = FailedKeys(THREE, clock)
    for _ in range(3):
        assert failures.blocked("192.0.2.1") is None
        failures.failed("192.0.2.1")
    assert failures.blocked("192.0.2.1") == 1.0
    for _ in range(100):
        failures.failed("192.0.2.1")
    assert failures.blocked("192.0.2.2") is None
    clock.now += SECOND - 1
    assert failures.blocked("192.0.2.1") == 0.000001
    clock.now += 1
    assert failures.blocked("192.0.2.1") is None
    failures.failed("192.0.2.1")
    assert failures.blocked("192.0.2.1") == 1.0


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("<local>", "<local>", True),
        ("", "<local>", False),
    ],
)
def test_who_is_the_same_guest(first: str, second: str, same: bool) -> None:
    """A network of IPv6 is one guest, and IPv4 is IPv4 however it is written."""
    failures = FailedKeys(Rate.parse("1/minute"), Clock(NOON))
    failures.failed(first)
    assert (failures.blocked(second) is not None) is same


def test_addresses_are_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that has not failed for longest is forgotten first."""
    monkeypatch.setattr(failed_keys, "MOST_ADDRESSES", 3)
    failures = FailedKeys(Rate.parse("2/minute"), clock)
    for last in (1, 2, 3, 1, 4, 5):
        failures.failed(f"192.0.2.{last}")
    assert len(failures) == 3
    assert failures.blocked("192.0.2.1") is not None
