"""Limits of each of a key's end users: beside the key's own, wherever the counters are kept."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from mlops_backend.errors import LimitExceeded
from mlops_backend.principal import Limits, Principal, person_in
from mlops_backend.services.other.limits import memory
from mlops_backend.services.other.limits.memory import MemoryLimiter
from mlops_backend.services.other.limits.redis_limiter import RedisLimiter
from mlops_backend.services.other.usage.meter import GenerationMeter
from mlops_backend.telemetry.metrics import Metrics
from tests.fakes.limits import NOON, AnyLimiter, Ledger, nothing_is_reserved, quiet
from tests.fakes.limits_model import Clock

PEOPLE: Final = ("alice", "bob", "", "Jürgen {7}", "k1")


def key(own: dict[str, object], of_people: dict[str, object]) -> Principal:
    """A key with limits of its own, and of each of its end users."""
    return Principal("tester", "k1", limits=Limits().replaced(own), end_user_limits=Limits().replaced(of_people))


@pytest.fixture
def meter(limiter: AnyLimiter) -> GenerationMeter:
    """What reserves for both."""
    return GenerationMeter(limiter, Metrics())


async def everything_is_back(limiter: AnyLimiter) -> bool:
    """Whether neither the key nor one of its people holds anything."""
    ids = ["k1", *(f"k1\t{name}" for name in PEOPLE)]
    return all([await nothing_is_reserved(limiter, each) for each in ids])


def test_an_id_has_a_key_and_a_person() -> None:
    """What is counted by can be taken apart again, whatever the names are."""
    tester = key({}, {})
    assert person_in(tester.id) == ("k1", None)
    assert [person_in(tester.for_end_user(name).id) for name in PEOPLE] == [("k1", name) for name in PEOPLE]


@pytest.mark.parametrize("limit", [{"requests": "2/hour"}, {"tokens": "20/hour"}, {"tokens_per_day": 20}])
async def test_each_has_limits_of_its_own(
    meter: GenerationMeter, limiter: AnyLimiter, limit: dict[str, object]
) -> None:
    """One that has used up its own takes nothing of the others'; those without a name are one."""
    tester = key({}, limit)
    (name,) = limit
    for person in PEOPLE:
        for _ in range(2):
            (await meter.reserve(tester, 5, 5, end_user=person)).settle(10)
        await quiet(limiter)
        with pytest.raises(LimitExceeded, match=f"The limit 'end_user_{name}' of this key is reached") as refusal:
            await meter.reserve(tester, 5, 5, end_user=person)
        assert f'"end_user_{name}";r=0;t=' in refusal.value.headers["RateLimit"]
    assert await everything_is_back(limiter)


async def test_both_hold(meter: GenerationMeter, limiter: AnyLimiter) -> None:
    """Where the key has nothing left the person gets back what it took, and the other way round."""
    tester = key({"requests": "3/hour", "concurrent": 2}, {"requests": "2/hour", "concurrent": 1})
    alices = await meter.reserve(tester, 1, 1, end_user="alice")
    assert alices.headers["RateLimit"] == (
        '"requests";r=2;t=1200, "concurrent";r=1, "end_user_requests";r=1;t=1800, "end_user_concurrent";r=0'
    )
    with pytest.raises(LimitExceeded, match="'end_user_concurrent' of this key is reached: 1 at once"):
        await meter.reserve(tester, 1, 1, end_user="alice")
    bobs = await meter.reserve(tester, 1, 1, end_user="bob")
    with pytest.raises(LimitExceeded, match="'concurrent' of this key is reached: 2 at once"):
        await meter.reserve(tester, 1, 1, end_user="carol")
    alices.settle(2)
    await quiet(limiter)
    carols = await meter.reserve(tester, 1, 1, end_user="carol")
    assert '"requests";r=0' in carols.headers["RateLimit"]
    assert '"end_user_requests";r=1' in carols.headers["RateLimit"]
    bobs.release()
    carols.settle(2)
    carols.release()
    carols.settle(5)
    assert await everything_is_back(limiter)
    again = await meter.reserve(tester, 1, 1, end_user="bob")
    assert '"end_user_requests";r=1' in again.headers["RateLimit"]
    again.release()


async def test_an_answer_may_have_what_both_leave(meter: GenerationMeter, limiter: AnyLimiter) -> None:
    """The smaller rest of the two; what was not used comes back to both."""
    tester = key({"tokens_per_day": 1000}, {"tokens_per_day": 100})
    first = await meter.reserve(tester, 10, 500, end_user="alice")
    assert first.output == 90
    first.settle(60)
    (await meter.reserve(tester, 10, None, end_user="bob")).settle(100)
    await quiet(limiter)
    rest = await meter.reserve(tester, 10, 500, end_user="alice")
    assert rest.output == 30
    rest.settle(40)
    await quiet(limiter)
    small = key({"tokens_per_day": 230}, {"tokens_per_day": 100})
    assert (await meter.reserve(small, 10, 80, end_user="carol")).output == 20


async def test_what_never_fits_a_person_takes_nothing_of_the_key(meter: GenerationMeter, limiter: AnyLimiter) -> None:
    """It is told so, with the name of the limit."""
    tester = key({"tokens_per_day": 1000}, {"tokens_per_day": 100})
    with pytest.raises(LimitExceeded, match=r"never fit the limit 'end_user_tokens_per_day' of this key \(100/day\)"):
        await meter.reserve(tester, 200, 1, end_user="alice")
    assert await everything_is_back(limiter)


async def test_a_person_begins_with_what_the_ledger_knows(
    meter: GenerationMeter, limiter: AnyLimiter, ledger: Ledger
) -> None:
    """It is asked for the key and for the person, each for itself."""
    ledger.used_before = {"2026-07-12": 60}
    tester = key({"tokens_per_day": 1000}, {"tokens_per_day": 100})
    held = await meter.reserve(tester, 10, 10, end_user="alice")
    assert [whose for whose, _ in ledger.asked] == ["k1\talice", "k1"]
    assert held.headers["RateLimit"].startswith('"tokens_per_day";r=920')
    assert '"end_user_tokens_per_day";r=20' in held.headers["RateLimit"]


async def test_who_leaves_while_the_key_is_asked_holds_nothing(
    meter: GenerationMeter, limiter: AnyLimiter, ledger: Ledger
) -> None:
    """The person's part is taken already; it comes back."""
    tester = key({"tokens_per_day": 1000}, {"requests": "2/hour", "concurrent": 1})
    ledger.answering.clear()
    asking = asyncio.create_task(meter.reserve(tester, 1, 1, end_user="alice"))
    async with asyncio.timeout(30):
        while not ledger.asked:
            await asyncio.sleep(0.001)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    ledger.answering.set()
    async with asyncio.timeout(30):
        while not await everything_is_back(limiter):
            await asyncio.sleep(0.001)
    held = await meter.reserve(tester, 1, 1, end_user="alice")
    assert '"end_user_requests";r=1' in held.headers["RateLimit"]


async def test_invented_people_take_no_memory(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    """There is room for some; keys, and those who have something open, are never forgotten, and budgets come again."""
    monkeypatch.setattr(memory, "MOST_PEOPLE", 10)
    limiter = MemoryLimiter(ledger, default_reserve=1, clock=Clock(NOON))
    meter = GenerationMeter(limiter, Metrics())
    tester = key({"requests": "1000/day"}, {"requests": "1000/day", "tokens_per_month": 1000, "concurrent": 1})
    open_ones = {name: await meter.reserve(tester, 1, 1, end_user=name) for name in ("alice", "carol", "dave", "erin")}
    for number in range(200):
        (await meter.reserve(tester, 1, 1, end_user=f"invented {number}")).settle(2)
    assert len(limiter._people) <= 12
    assert f'"requests";r={1000 - 205}' in (await meter.reserve(tester, 1, 1, end_user="bob")).headers["RateLimit"]
    for name, held in open_ones.items():
        with pytest.raises(LimitExceeded, match="end_user_concurrent"):
            await meter.reserve(tester, 1, 1, end_user=name)
        held.settle(2)
    ledger.used_before = {"2026-07-01": 990}
    first = await meter.reserve(tester, 1, 1, end_user="invented 0")
    assert '"end_user_tokens_per_month";r=8' in first.headers["RateLimit"]


@pytest.mark.parametrize("limiter", ["redis"], indirect=True)
async def test_redis_forgets_people_sooner(meter: GenerationMeter, limiter: AnyLimiter) -> None:
    """A client may invent them: the counters of each are kept for a day behind the last request, a key's for longer."""
    assert isinstance(limiter, RedisLimiter)
    tester = key({"tokens_per_month": 1000}, {"tokens_per_month": 1000, "requests": "1/minute"})
    held = await meter.reserve(tester, 1, 1, end_user="alice")
    store = limiter._store
    lives = [await store._client.ttl(name) for who in ("k1", "k1\talice") for name in store._keys(who)[:3]]
    assert all(life > 30 * 86_400 for life in lives[:3])
    assert all(0 < life <= 86_400 + 60 for life in lives[3:])
    held.release()
