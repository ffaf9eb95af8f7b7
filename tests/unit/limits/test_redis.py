"""What is Redis's own: it goes away and comes back, processes die, and answers get lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from time import perf_counter

import pytest
from structlog.testing import capture_logs

from mlops_backend.days import UTC_DAYS
from mlops_backend.errors import DatabaseDown, LimitExceeded, LimitsUnavailable
from mlops_backend.principal import Principal, Rate
from mlops_backend.services.other.limits import upkeep
from mlops_backend.services.other.limits.charge import Charge
from mlops_backend.services.other.limits.limiter import UNLIMITED
from mlops_backend.services.other.limits.redis_limiter import RedisLimiter
from mlops_backend.services.other.limits.redis_store import LIFE, RedisStore, Settlement
from mlops_backend.services.other.limits.routes import RouteLimiter
from mlops_backend.services.other.limits.script import GIVEN_UP
from mlops_backend.services.other.limits.windows import windows_at
from tests.fakes.limits import NOON, Ledger, key, nothing_is_reserved, quiet
from tests.fakes.limits_model import SECOND, Clock
from tests.fakes.redis_server import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One Redis for all, which keeps its data when it is stopped."""
    with RedisServer(append_only=True) as running:
        yield running


@pytest.fixture
async def redis(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """The same, running and empty; it is looked for more often than in earnest."""
    monkeypatch.setattr(upkeep, "_PAUSE", 0.05)
    limiter = limiter_of(server)
    await limiter._store._client.flushall()
    await limiter.aclose()
    return server


@pytest.fixture
async def limiter(redis: RedisServer) -> AsyncIterator[RedisLimiter]:
    """A limiter with Redis's own clock."""
    made = limiter_of(redis)
    await made.open()
    yield made
    await made.aclose()


def limiter_of(redis: RedisServer, clock: Clock | None = None, *, open_budgets: bool = False) -> RedisLimiter:
    """One process's limiter."""
    return RedisLimiter(redis.url, Ledger(), default_reserve=100, budgets_fail_open=open_budgets, clock=clock)


async def back(limiter: RedisLimiter) -> None:
    """Wait until Redis is used again."""
    async with asyncio.timeout(20):
        while not limiter.redis_up:
            await asyncio.sleep(0.01)


async def test_the_time_is_that_of_redis(limiter: RedisLimiter) -> None:
    """Without a clock of the test, everything runs on Redis's; a budget of today is counted."""
    tester = key(requests="60/minute burst 1", tokens="6000/minute", tokens_per_day=1000, tokens_per_month=1000)
    (await limiter.reserve(tester, 50, 50)).settle(10)
    await quiet(limiter)
    with pytest.raises(LimitExceeded, match=r"'requests'.*Try again in 1 s"):
        await limiter.reserve(tester, 50, 50)
    await asyncio.sleep(1)
    left = [standing.remaining for standing in (await limiter.reserve(tester, 50, 50)).standings]
    assert left == [0, 5900, 890, 890]


async def test_a_wrong_clock_of_ours_is_put_right(limiter: RedisLimiter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose clock is days off counts in the windows of Redis all the same."""
    monkeypatch.setattr(limiter._store, "now", lambda: NOON)
    tester = key(tokens_per_day=100)
    await limiter.reserve(tester, 50, 25)
    monkeypatch.undo()
    assert (await limiter.reserve(tester, 5, 5)).standings[0].remaining == 15


async def test_every_key_expires(limiter: RedisLimiter) -> None:
    """Nothing stays in Redis for ever, and all of a principal lies in one slot of a cluster."""
    tester = key(requests="9/minute", tokens="6000/minute", tokens_per_month=1000, concurrent=9)
    await limiter.reserve(tester, 50, 50)
    await RouteLimiter(limiter).hit("k1", "other.echo", Rate.parse("5/minute"))
    client = limiter._store._client
    names = sorted(str(name, "ascii") for name in await client.keys("*") if isinstance(name, bytes))
    of = "mlops:{k1}:"
    assert names == ["mlops:probe", of + "open", of + "records", of + "route:other.echo", of + "state"]
    for name in names:
        assert await client.ttl(name) > 0, name


async def test_rates_fail_open(limiter: RedisLimiter, redis: RedisServer) -> None:
    """Without Redis, rates and `concurrent` let everything pass at once; when it is back they count again."""
    tester = key(requests="1/hour", tokens="6000/minute", concurrent=1)
    redis.stop()
    with capture_logs() as logs:
        assert await limiter.reserve(tester, 5, 5) is UNLIMITED
        assert not limiter.redis_up
        began = perf_counter()
        for _ in range(50):
            assert await limiter.reserve(tester, 5, 5) is UNLIMITED
            assert await RouteLimiter(limiter).hit("k1", "r", Rate.parse("1/day")) == ()
        assert perf_counter() - began < 0.1
        await asyncio.sleep(0.2)
        redis.start()
        await back(limiter)
    assert limiter.failed_open == 101
    assert [entry["event"] for entry in logs] == ["limits_redis_down", "limits_redis_up"]
    (await limiter.reserve(tester, 5, 5)).settle(1)
    await quiet(limiter)
    with pytest.raises(LimitExceeded, match="'requests'"):
        await limiter.reserve(tester, 5, 5)


@pytest.mark.parametrize("budget", ["tokens_per_day", "tokens_per_month"])
async def test_budgets_fail_closed(redis: RedisServer, budget: str) -> None:
    """A budget that cannot be checked stops the request, unless the setting says otherwise."""
    closed, opened = limiter_of(redis), limiter_of(redis, open_budgets=True)
    redis.stop()
    for limiter in (closed, opened):
        await limiter.open()
        assert not limiter.redis_up
    with pytest.raises(LimitsUnavailable) as refusal:
        await closed.reserve(key(**{budget: 100}), 5, 5)
    assert refusal.value.headers == {"Retry-After": "5"}
    assert (closed.failed_open, closed.failed_closed) == (0, 1)
    assert await opened.reserve(key(**{budget: 100}), 5, 5) is UNLIMITED
    assert (opened.failed_open, opened.failed_closed) == (1, 0)
    redis.start()
    for limiter in (closed, opened):
        await back(limiter)
        await limiter.reserve(key(**{budget: 100}), 5, 5)
        await limiter.aclose()


async def test_a_redis_that_hangs_costs_one_wait(limiter: RedisLimiter, redis: RedisServer) -> None:
    """Only those who ask while nobody knows wait for the timeout; what they may have taken comes back."""
    tester = key(requests="100/hour", tokens="6000/minute", concurrent=100)
    await limiter.reserve(tester, 5, 5)
    redis.pause()
    began = perf_counter()
    first = await asyncio.gather(*(limiter.reserve(tester, 5, 5) for _ in range(50)))
    assert perf_counter() - began < 2
    assert set(first) == {UNLIMITED}
    began = perf_counter()
    await limiter.reserve(tester, 5, 5)
    assert perf_counter() - began < 0.05
    redis.resume()
    await back(limiter)
    await quiet(limiter)
    await asyncio.sleep(0.05)
    reservation = await limiter.reserve(tester, 5, 5)
    assert [standing.remaining for standing in reservation.standings] == [98, 5980, 98]


async def test_ends_survive_a_redis_that_is_away(limiter: RedisLimiter, redis: RedisServer) -> None:
    """What ends while Redis is away is counted when it is back, before anything new is."""
    tester = key(tokens="1000/hour", tokens_per_day=1000, concurrent=10)
    reservations = [await limiter.reserve(tester, 50, 50) for _ in range(10)]
    redis.stop()
    for reservation in reservations:
        reservation.settle(7)
    await asyncio.sleep(0.1)
    assert limiter.pending_settlements == 10
    redis.start()
    await back(limiter)
    assert await nothing_is_reserved(limiter)
    left = [standing.remaining for standing in (await limiter.reserve(tester, 5, 5)).standings]
    assert left == [920, 920, 9]


async def test_too_many_ends_are_dropped_and_counted(
    limiter: RedisLimiter, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory for what Redis is to be told is bounded."""
    monkeypatch.setattr(upkeep, "MOST_PENDING", 3)
    reservations = [await limiter.reserve(key(concurrent=10), 5, 5) for _ in range(5)]
    redis.stop()
    for reservation in reservations:
        reservation.release()
    assert (limiter.pending_settlements, limiter.dropped_settlements) == (3, 2)
    redis.start()


async def test_a_process_that_dies_leaks_nothing(redis: RedisServer) -> None:
    """What a killed process held comes back a minute after its last sign of life; its requests stay counted."""
    clock = Clock(NOON)
    killed, other = limiter_of(redis, clock), limiter_of(redis, clock)
    tester = key(requests="5/day", tokens="100/hour", tokens_per_day=100, concurrent=1)
    await killed.reserve(tester, 50, 50)
    clock.now += LIFE - 1
    with pytest.raises(LimitExceeded):
        await other.reserve(tester, 50, 50)
    clock.now += 1
    assert [standing.remaining for standing in (await other.reserve(tester, 50, 50)).standings] == [3, 0, 0, 0]
    for limiter in (killed, other):
        await limiter.aclose()


async def test_a_process_that_lives_says_so(redis: RedisServer) -> None:
    """A generation may take longer than a minute: its reservation is renewed, and one that ended is not revived."""
    clock = Clock(NOON)
    limiter = limiter_of(redis, clock)
    tester = key(concurrent=2)
    long = await limiter.reserve(tester, 5, 5)
    short = await limiter.reserve(tester, 5, 5)
    clock.now += LIFE - 1
    short.settle(1)
    await limiter._upkeep._renew()
    await limiter._upkeep._send()
    clock.now += LIFE - 1
    assert (await limiter.reserve(tester, 5, 5)).standings[0].remaining == 0
    long.release()
    await limiter.aclose()


async def test_signs_of_life_come_by_themselves(redis: RedisServer) -> None:
    """Every quarter of a minute, and here more often."""
    clock = Clock(NOON)
    limiter = limiter_of(redis, clock)
    limiter._upkeep._heartbeat = 0.02
    await limiter.open()
    await limiter.reserve(key(concurrent=1), 5, 5)
    clock.now += LIFE - 1
    await asyncio.sleep(0.1)
    clock.now += LIFE - 1
    with pytest.raises(LimitExceeded):
        await limiter.reserve(key(concurrent=1), 5, 5)
    await limiter.aclose()


async def test_a_redis_that_is_back_hears_at_once_who_lives(redis: RedisServer) -> None:
    """Without that, what ran all the while would be taken for dead before the next sign of life is due."""
    clock = Clock(NOON)
    limiter = limiter_of(redis, clock)
    await limiter.open()
    await limiter.reserve(key(concurrent=1), 5, 5)
    clock.now += LIFE - 1
    limiter._upkeep.failed(ConnectionError())
    await back(limiter)
    clock.now += LIFE - 1
    with pytest.raises(LimitExceeded):
        await limiter.reserve(key(concurrent=1), 5, 5)
    await limiter.aclose()


async def test_a_redis_that_is_back_is_asked_when_it_knows_all_ends(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many waited: else the first to ask would be refused for what is over."""
    monkeypatch.setattr(upkeep, "_BATCH", 2)
    limiter = limiter_of(redis)
    tester = key(concurrent=5)
    reservations = [await limiter.reserve(tester, 5, 5) for _ in range(5)]
    limiter._upkeep.failed(ConnectionError())
    for reservation in reservations:
        reservation.release()
    assert limiter.pending_settlements == 5
    await limiter._upkeep._turn()
    assert limiter.pending_settlements == 0
    await limiter.aclose()


async def test_what_was_given_up_takes_nothing_when_it_comes(redis: RedisServer) -> None:
    """A request that Redis gets only after its sender gave it up is turned away."""
    store = RedisStore(redis.url, clock=Clock(NOON))
    given_up = Settlement("k1", "late", released=True, given_up=True)
    await store.settle([given_up])
    charge = Charge("k1", key(concurrent=1).limits, 10, 10)
    assert (await store.reserve(charge, "late", windows_at(NOON, UTC_DAYS))).code == GIVEN_UP
    assert (await store.reserve(charge, "other", windows_at(NOON, UTC_DAYS))).seen is not None
    await store.aclose()


async def test_an_end_is_counted_once(redis: RedisServer) -> None:
    """An end that is sent again, since its answer was lost, changes nothing."""
    store = RedisStore(redis.url, clock=Clock(NOON))
    charge = Charge("k1", key(tokens="100/minute", tokens_per_day=100).limits, 50, 50)
    windows = windows_at(NOON, UTC_DAYS)
    await store.seed("k1", "day", windows.day.start, 0)
    await store.reserve(charge, "a", windows)
    end = Settlement("k1", "a", 10, 6 * SECOND)
    assert await store.settle([end, end, end]) == 0
    seen = (await store.reserve(charge, "b", windows)).seen
    assert seen is not None
    assert (seen.tokens, seen.held, seen.day) == (NOON + 6 * SECOND, 30 * SECOND, 60)
    await store.aclose()


async def test_forgotten_scripts_are_sent_again(limiter: RedisLimiter) -> None:
    """`SCRIPT FLUSH`, a new primary, a restart: none of them is an error."""
    for _ in range(2):
        reservation = await limiter.reserve(key(concurrent=1), 5, 5)
        await limiter._store._client.script_flush()
        reservation.settle(1)
        await quiet(limiter)
        await limiter._store._client.script_flush()
    assert limiter.redis_up
    assert limiter.dropped_settlements == 0


async def test_one_end_that_redis_refuses_does_not_hold_up_the_others(limiter: RedisLimiter) -> None:
    """A key that somebody broke costs its own ends, counted, and no one else's."""
    broken = await limiter.reserve(key(concurrent=1), 5, 5)
    sound = await limiter.reserve(Principal("other", "k2", limits=key(concurrent=1).limits), 5, 5)
    await limiter._store._client.set("mlops:{k1}:records", "text")
    broken.settle(1)
    sound.settle(1)
    assert await nothing_is_reserved(limiter, "k2")
    assert limiter.dropped_settlements == 1
    assert limiter.redis_up


async def test_old_counters_are_dropped(redis: RedisServer) -> None:
    """A counter is kept a while after its window, then a newer one takes it along."""
    clock = Clock(NOON)
    limiter = limiter_of(redis, clock)
    for _ in range(5):
        (await limiter.reserve(key(tokens_per_day=100, tokens_per_month=1000), 5, 5)).settle(1)
        clock.now += 86_400 * SECOND
    names = [bytes(name) async for name, _ in limiter._store._client.hscan_iter("mlops:{k1}:state")]
    assert len([name for name in names if name.startswith(b"day")]) == 3
    assert len([name for name in names if name.startswith(b"month")]) == 1
    await limiter.aclose()


async def test_closing_sends_what_is_left(redis: RedisServer) -> None:
    """A process that stops settles first, and does not wait long for a Redis that is away."""
    limiter = limiter_of(redis)
    await limiter.open()
    reservations = [await limiter.reserve(key(concurrent=600), 5, 5) for _ in range(600)]
    for reservation in reservations:
        reservation.settle(1)
    await limiter.aclose()
    other = limiter_of(redis)
    assert await nothing_is_reserved(other)
    await other.open()
    reservation = await other.reserve(key(concurrent=1), 5, 5)
    redis.pause()
    reservation.settle(1)
    began = perf_counter()
    with capture_logs() as logs:
        await other.aclose()
    assert perf_counter() - began < 3.5
    assert {"event": "limits_settlements_lost", "count": 1, "log_level": "warning"} in logs
    redis.resume()


async def test_the_password_is_nowhere_to_be_read() -> None:
    """Neither a wrong password nor a right one shows in a log."""
    with RedisServer(password="open sesame".replace(" ", "-")) as redis:
        for password, up in (("wrong-one", False), ("open-sesame", True)):
            limiter = RedisLimiter(f"unix://:{password}@{redis.socket}", default_reserve=100)
            with capture_logs() as logs:
                await limiter.open()
                assert limiter.redis_up is up
                await limiter.aclose()
            assert password not in repr(logs) + repr(limiter._store.__dict__)


async def test_the_ledgers_error_is_not_redis_s(limiter: RedisLimiter) -> None:
    """A ledger that cannot be read stops one request, not the use of Redis."""
    ledger = limiter._seeds._seed
    assert isinstance(ledger, Ledger)
    ledger.down = True
    with pytest.raises(DatabaseDown):
        await limiter.reserve(key(tokens_per_day=100), 5, 5)
    assert limiter.redis_up
