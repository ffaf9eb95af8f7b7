"""The rules of limits, which hold wherever the counters are kept."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from mlops_backend.days import Calendar
from mlops_backend.errors import DatabaseDown, LimitExceeded, LimitsUnavailable
from mlops_backend.principal import Limits, Principal, Rate
from mlops_backend.services.other.limits import seeds
from mlops_backend.services.other.limits.decision import headers
from mlops_backend.services.other.limits.limiter import UNLIMITED, Reservation
from tests.fakes.limits import AnyLimiter, Ledger, key, quiet, started
from tests.fakes.limits_model import SECOND, Clock
from tests.fakes.redis_server import RedisServer

HOUR = 3600 * SECOND


async def test_requests_are_counted_and_grow_back(limiter: AnyLimiter, clock: Clock) -> None:
    """A burst passes at once, then one for each share of the period; the refusal says when."""
    tester = key(requests="60/minute burst 2")
    for left in (1, 0):
        reservation = await limiter.reserve(tester, 1, 1)
        assert [standing.remaining for standing in reservation.standings] == [left]
        reservation.settle(0)
    with pytest.raises(LimitExceeded) as refusal:
        await limiter.reserve(tester, 1, 1)
    assert refusal.value.message == (
        "The limit 'requests' of this key is reached: 60/minute burst 2. Try again in 1 s."
    )
    assert refusal.value.headers == {
        "Retry-After": "1",
        "RateLimit-Policy": '"requests";q=60;w=60',
        "RateLimit": '"requests";r=0;t=2',
    }
    clock.now += SECOND - 1
    with pytest.raises(LimitExceeded):
        await limiter.reserve(tester, 1, 1)
    clock.now += 1
    await limiter.reserve(tester, 1, 1)


async def test_tokens_are_held_then_counted_as_used(limiter: AnyLimiter, clock: Clock) -> None:
    """An open generation holds all that it may need; once it is settled only what it used is gone."""
    tester = key(tokens="100/minute")
    first = await limiter.reserve(tester, 20, 60)
    with pytest.raises(LimitExceeded, match=r"left of the limit 'tokens' of this key \(100/minute\) is set aside"):
        await limiter.reserve(tester, 20, 1)
    first.settle(30)
    await quiet(limiter)
    second = await limiter.reserve(tester, 10, 60)
    assert second.standings[0].remaining == 0
    clock.now += 30 * SECOND
    second.settle(70)
    await quiet(limiter)
    third = await limiter.reserve(tester, 49, 1)
    assert third.standings[0].remaining == 0


async def test_more_used_than_reserved_is_counted(limiter: AnyLimiter) -> None:
    """A generation that took more than it reserved is counted in full."""
    tester = key(tokens="100/minute", tokens_per_day=1000)
    (await limiter.reserve(tester, 1, 9)).settle(160)
    await quiet(limiter)
    with pytest.raises(LimitExceeded, match="Try again in 38 s") as refusal:
        await limiter.reserve(tester, 1, 1)
    assert refusal.value.headers["RateLimit"] == '"tokens";r=0;t=96, "tokens_per_day";r=840;t=43200'


async def test_budgets_are_calendar_windows(limiter: AnyLimiter, clock: Clock) -> None:
    """A budget is whole again at midnight of UTC, and the other on the first of the month."""
    tester = key(tokens_per_day=100, tokens_per_month=150)
    (await limiter.reserve(tester, 50, 50)).settle(100)
    await quiet(limiter)
    with pytest.raises(LimitExceeded, match=r"'tokens_per_day'.*: 100/day\. Try again in 43200 s"):
        await limiter.reserve(tester, 1, 9)
    with pytest.raises(LimitExceeded, match="'tokens_per_month' of this key is reached: 150/month") as refusal:
        await limiter.reserve(tester, 51, 1)
    assert refusal.value.headers["Retry-After"] == str(19 * 86400 + 43200)
    assert refusal.value.headers["RateLimit-Policy"] == (
        '"tokens_per_day";q=100;w=86400, "tokens_per_month";q=150;w=2678400'
    )
    clock.now += 12 * HOUR
    assert (await limiter.reserve(tester, 25, 25)).standings[1].remaining == 0
    clock.now += 19 * 24 * HOUR
    assert [standing.remaining for standing in (await limiter.reserve(tester, 5, 5)).standings] == [90, 140]


@pytest.mark.parametrize(
    ("begins", "hours", "month"),
    [
        (datetime(2026, 10, 24, 22, tzinfo=UTC), 25, 31 * 24 + 1),
        (datetime(2026, 3, 28, 23, tzinfo=UTC), 23, 31 * 24 - 1),
    ],
)
@pytest.mark.parametrize("kind", ["memory", "parent", "redis"])
async def test_days_are_the_operators(
    kind: str, redis: RedisServer, clock: Clock, ledger: Ledger, begins: datetime, hours: int, month: int
) -> None:
    """On a day of 25 or of 23 hours a budget is whole again when that is over, and not before; and says so."""
    clock.now = (int(begins.timestamp()) + HOUR // SECOND) * SECOND
    ledger.used_before = {f"{begins:%Y-%m-%d}": 40}
    limiter = await started(kind, redis, clock, ledger, calendar=Calendar("Europe/Berlin"))
    tester = key(tokens_per_day=100, tokens_per_month=1000)
    (await limiter.reserve(tester, 30, 30)).settle(60)
    await quiet(limiter)
    assert ledger.asked[0] == ("k1", begins)
    rest = (hours - 1) * HOUR // SECOND
    with pytest.raises(LimitExceeded, match=rf"'tokens_per_day'.*: 100/day\. Try again in {rest} s") as refusal:
        await limiter.reserve(tester, 1, 9)
    assert refusal.value.headers["RateLimit-Policy"].split(";w=")[1:] == [
        f'{hours * 3600}, "tokens_per_month";q=1000',
        f"{month * 3600}",
    ]
    assert f'"tokens_per_day";r=0;t={rest}, ' in refusal.value.headers["RateLimit"]
    clock.now += rest * SECOND - 1
    with pytest.raises(LimitExceeded, match="Try again in 1 s"):
        await limiter.reserve(tester, 1, 9)
    clock.now += 1
    (await limiter.reserve(tester, 1, 9)).release()
    await limiter.aclose()


async def test_a_reservation_is_settled_in_its_own_window(limiter: AnyLimiter, clock: Clock) -> None:
    """What began before midnight counts for the day it began in."""
    tester = key(tokens_per_day=100, tokens_per_month=1000)
    clock.now += 12 * HOUR - 1
    early = await limiter.reserve(tester, 50, 50)
    clock.now += 1
    late = await limiter.reserve(tester, 10, 10)
    early.settle(70)
    await quiet(limiter)
    standings = (await limiter.reserve(tester, 1, 1)).standings
    assert [standing.remaining for standing in standings] == [78, 1000 - 70 - 22]
    late.release()


async def test_open_generations_are_counted(limiter: AnyLimiter) -> None:
    """`concurrent` is how many are open; ending one, twice or not, makes room for one."""
    tester = key(concurrent=2)
    first = await limiter.reserve(tester, 1, 1)
    await limiter.reserve(tester, 1, 1)
    with pytest.raises(LimitExceeded, match="'concurrent' of this key is reached: 2 at once") as refusal:
        await limiter.reserve(tester, 1, 1)
    assert refusal.value.headers == {
        "Retry-After": "1",
        "RateLimit-Policy": '"concurrent";q=2;qu="concurrent-requests"',
        "RateLimit": '"concurrent";r=0',
    }
    first.settle(1)
    first.settle(1)
    first.release()
    await quiet(limiter)
    await limiter.reserve(tester, 1, 1)
    with pytest.raises(LimitExceeded):
        await limiter.reserve(tester, 1, 1)


async def test_a_release_gives_everything_back(limiter: AnyLimiter) -> None:
    """What never began costs nothing, not even its request."""
    tester = key(requests="1/minute", tokens="100/minute", tokens_per_day=100, concurrent=1)
    for _ in range(3):
        (await limiter.reserve(tester, 50, 50)).release()
        await quiet(limiter)
    (await limiter.reserve(tester, 50, 50)).settle(0)
    await quiet(limiter)
    with pytest.raises(LimitExceeded, match="'requests'"):
        await limiter.reserve(tester, 50, 50)


async def test_a_refusal_costs_nothing(limiter: AnyLimiter) -> None:
    """All limits are looked at before any is taken."""
    tester = key(requests="5/minute", tokens="100/minute", tokens_per_day=1000, concurrent=3)
    await limiter.reserve(tester, 40, 40)
    for _ in range(10):
        with pytest.raises(LimitExceeded, match="'tokens'"):
            await limiter.reserve(tester, 40, 40)
    standings = (await limiter.reserve(tester, 10, 10)).standings
    assert [standing.remaining for standing in standings] == [3, 0, 900, 1]


async def test_the_longest_wait_is_named(limiter: AnyLimiter, clock: Clock) -> None:
    """Of several limits that refuse, the one that takes longest is told."""
    tester = key(requests="1/hour", tokens="100/minute", tokens_per_day=100)
    (await limiter.reserve(tester, 50, 50)).settle(100)
    await quiet(limiter)
    with pytest.raises(LimitExceeded, match="'tokens_per_day'"):
        await limiter.reserve(tester, 50, 50)
    clock.now += 11 * HOUR + 59 * 60 * SECOND
    await limiter.reserve(key(requests="1/hour"), 1, 1)
    with pytest.raises(LimitExceeded, match=r"'requests'.* 3600 s"):
        await limiter.reserve(tester, 50, 50)


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"tokens": "100/minute burst 50"}, "tokens"),
        ({"tokens_per_day": 50}, "tokens_per_day"),
        ({"tokens_per_month": 50}, "tokens_per_month"),
    ],
)
async def test_what_can_never_fit_is_told_so(limiter: AnyLimiter, limits: dict[str, object], named: str) -> None:
    """A prompt beyond all that a limit holds is refused without a time to come again; a long answer is cut."""
    with pytest.raises(LimitExceeded, match=f"can never fit the limit '{named}'") as refusal:
        await limiter.reserve(key(**limits), 50, 1)
    assert refusal.value.headers == {"X-Should-Retry": "false"}
    assert (await limiter.reserve(key(**limits), 1, 50)).output == 49


@pytest.mark.parametrize("limits", [{"tokens_per_day": 50}, {"tokens_per_month": 50}, {"tokens": "50/day"}])
async def test_a_limit_may_be_used_up_to_the_last_token(limiter: AnyLimiter, limits: dict[str, object]) -> None:
    """What fits exactly passes, and not one token more."""
    await limiter.reserve(key(**limits), 10, 20)
    with pytest.raises(LimitExceeded):
        await limiter.reserve(key(**limits), 20, 1)
    await limiter.reserve(key(**limits), 10, 10)
    with pytest.raises(LimitExceeded):
        await limiter.reserve(key(**limits), 0, 1)


@pytest.mark.parametrize("limits", [{"concurrent": 0}, {"tokens_per_day": 0}, {"tokens_per_month": 0}])
async def test_nothing_fits_a_limit_of_nothing(limiter: AnyLimiter, limits: dict[str, object]) -> None:
    """A limit of zero refuses everything, the smallest request too."""
    with pytest.raises(LimitExceeded, match="can never fit"):
        await limiter.reserve(key(**limits), 0, None)


@pytest.mark.parametrize("named", [None, -1, -2])
async def test_output_that_nobody_named_fits_small_limits(limiter: AnyLimiter, named: int | None) -> None:
    """The default reserve is cut to what the smallest limit holds; no maximum, zero and less name none."""
    reservation = await limiter.reserve(key(tokens="60/minute", tokens_per_day=200), 10, named)
    assert [standing.remaining for standing in reservation.standings] == [0, 140]
    reservation.release()
    await quiet(limiter)
    reservation = await limiter.reserve(key(tokens="600/minute", tokens_per_day=2000), 10, named)
    assert [standing.remaining for standing in reservation.standings] == [490, 1890]
    with pytest.raises(LimitExceeded, match="can never fit"):
        await limiter.reserve(key(tokens="60/minute"), 61, named)


async def test_a_key_without_limits_costs_nothing(limiter: AnyLimiter, ledger: Ledger) -> None:
    """It gets the reservation that everybody gets, and nobody is asked."""
    reservation = await limiter.reserve(key(), 10**9, None)
    assert reservation is UNLIMITED
    assert headers(reservation.standings) == {}
    reservation.settle(10**9)
    reservation.release()
    assert ledger.asked == []


async def test_a_budget_begins_with_what_the_ledger_knows(limiter: AnyLimiter, ledger: Ledger, clock: Clock) -> None:
    """A missing counter is what the ledger says of its window; it is asked once for those who wait together."""
    ledger.used_before = {"2026-07-12": 30, "2026-07-01": 400}
    tester = key(tokens_per_day=100, tokens_per_month=1000)
    reservations = await asyncio.gather(*(limiter.reserve(tester, 5, 5) for _ in range(7)))
    left = sorted([standing.remaining for standing in reservation.standings] for reservation in reservations)
    assert left == [[70 - 10 * count, 600 - 10 * count] for count in range(7, 0, -1)]
    with pytest.raises(LimitExceeded, match="'tokens_per_day'"):
        await limiter.reserve(tester, 5, 5)
    july = datetime(2026, 7, 1, tzinfo=UTC)
    assert set(ledger.asked) == {("k1", july.replace(day=12)), ("k1", july)}
    assert len(ledger.asked) < 14
    ledger.asked.clear()
    clock.now += 24 * HOUR
    await limiter.reserve(tester, 5, 5)
    assert ledger.asked == [("k1", july.replace(day=13))]


async def test_a_ledger_that_hangs_keeps_nobody_waiting(
    limiter: AnyLimiter, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget that cannot be begun in time is refused; the question goes on, and who comes again joins it."""
    monkeypatch.setattr(seeds, "PATIENCE", 0.05)
    ledger.answering.clear()
    for _ in range(2):
        with pytest.raises(LimitsUnavailable):
            await limiter.reserve(key(tokens_per_day=10), 1, 1)
    assert len(ledger.asked) == 1
    monkeypatch.setattr(seeds, "PATIENCE", 20)
    ledger.answering.set()
    async with asyncio.timeout(20):
        while (charge := await reserved(limiter)) is None:
            await asyncio.sleep(0.01)
    charge.settle(2)


async def reserved(limiter: AnyLimiter) -> Reservation | None:
    """A charge, or none while the ledger is slow: a worker has a clock of its own, and may join what is ending."""
    try:
        return await limiter.reserve(key(tokens_per_day=10), 1, 1)
    except LimitsUnavailable:
        return None


async def test_budgets_fail_closed_with_the_ledger(limiter: AnyLimiter, ledger: Ledger) -> None:
    """A counter that cannot be begun stops the request with the ledger's own error, until it can."""
    ledger.down = True
    tester = key(requests="2/minute", tokens_per_day=100)
    for count in (1, 2, 3):
        with pytest.raises(DatabaseDown):
            await limiter.reserve(tester, 5, 5)
        assert limiter.failed_closed == count
    ledger.down = False
    assert [standing.remaining for standing in (await limiter.reserve(tester, 5, 5)).standings] == [1, 90]


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_budgets_fail_open_if_that_is_wanted(kind: str, redis: RedisServer, clock: Clock, ledger: Ledger) -> None:
    """Then the other limits hold, and the budget begins as soon as the ledger can be read."""
    limiter = await started(kind, redis, clock, ledger, budgets_fail_open=True)
    ledger.down = True
    ledger.used_before = {"2026-07-12": 95}
    tester = key(concurrent=1, tokens_per_day=100)
    reservation = await limiter.reserve(tester, 5, 5)
    assert limiter.failed_open == 1
    with pytest.raises(LimitExceeded, match="'concurrent'"):
        await limiter.reserve(tester, 5, 5)
    reservation.settle(10)
    await quiet(limiter)
    ledger.down = False
    with pytest.raises(LimitExceeded, match="'tokens_per_day'"):
        await limiter.reserve(tester, 5, 5)
    await limiter.aclose()


async def test_a_counter_goes_on_without_its_limit(limiter: AnyLimiter) -> None:
    """A budget that is taken away and given back has not missed what was used between."""
    (await limiter.reserve(key(tokens_per_day=100), 5, 5)).settle(10)
    (await limiter.reserve(key(requests="9/minute"), 5, 35)).settle(20)
    await quiet(limiter)
    assert (await limiter.reserve(key(tokens_per_day=100), 5, 5)).standings[0].remaining == 60


async def test_absurd_numbers_stay_within_what_can_be_counted(limiter: AnyLimiter) -> None:
    """Neither a limit nor a count that somebody tells, however large, makes the arithmetic inexact."""
    tester = key(requests="1/day burst 999999999999999", tokens="1/day burst 999999999999999", concurrent=9)
    reservation = await limiter.reserve(tester, 5, 5)
    assert [standing.remaining for standing in reservation.standings][2] == 8
    for _ in range(3):
        reservation.settle(10**40)
        await quiet(limiter)
        reservation = await limiter.reserve(key(concurrent=9), 10**40, 10**40)
    reservation.settle(-5)
    await quiet(limiter)
    with pytest.raises(LimitExceeded, match="'tokens'"):
        await limiter.reserve(tester, 5, 5)


async def test_principals_do_not_share(limiter: AnyLimiter) -> None:
    """Each principal has counters of its own."""
    for name in ("k1", "k2", "settings:k}3", "anonymous"):
        principal = Principal("tester", name, limits=Limits(requests=Rate.parse("1/day")))
        await limiter.reserve(principal, 1, 1)
        with pytest.raises(LimitExceeded):
            await limiter.reserve(principal, 1, 1)


@pytest.mark.parametrize("kind", ["memory", "parent"])
async def test_a_clock_that_was_ahead_keeps_nobody_out(
    kind: str, redis: RedisServer, clock: Clock, ledger: Ledger
) -> None:
    """A machine may start with a wrong one: when that is set right all is left that was left before, and grows back."""
    limiter = await started(kind, redis, clock, ledger)
    tester = key(requests="60/minute", tokens="100/minute")

    async def left() -> list[int]:
        await quiet(limiter)
        return [standing.remaining for standing in await limiter.look(tester)]

    clock.now += 48 * HOUR
    done, running = await limiter.reserve(tester, 30, 30), await limiter.reserve(tester, 10, 10)
    done.settle(60)
    assert await limiter.take("k1", "/api/chat", SECOND, SECOND) is not None
    assert await left() == [58, 20]
    clock.now -= 48 * HOUR
    assert await left() == [58, 20]
    running.settle(20)
    assert await left() == [58, 20]
    assert await limiter.take("k1", "/api/chat", SECOND, SECOND) == (clock.now, clock.now + SECOND)
    clock.now += 60 * SECOND
    assert await left() == [60, 100]
    await limiter.aclose()
