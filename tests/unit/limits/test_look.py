"""How a key stands is told without taking anything, wherever the counters are kept."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from mlops_backend.errors import LimitsUnavailable, Unavailable
from mlops_backend.principal import Limits, Principal
from mlops_backend.services.other.limits.decision import Standing
from mlops_backend.services.other.limits.left import Left, LimitsLeft
from mlops_backend.services.other.limits.redis_limiter import RedisLimiter
from tests.fakes.limits import AnyLimiter, Ledger, key, nothing_is_reserved, quiet
from tests.fakes.limits_model import SECOND, Clock

ALL = {
    "requests": "60/hour burst 20",
    "tokens": "600/hour",
    "tokens_per_day": 5000,
    "tokens_per_month": 90_000,
    "concurrent": 3,
}


async def test_it_is_what_a_generation_is_told(limiter: AnyLimiter, clock: Clock) -> None:
    """While one is open, and once it has ended, a look shows what its own answer would."""
    tester = key(**ALL)
    for used in (40, 0, 300):
        one = await limiter.reserve(tester, 100, 100)
        assert list(await limiter.look(tester)) == list(one.standings)
        one.settle(used)
        await quiet(limiter)
        clock.now += 7 * SECOND
    standing = {one.name: one.remaining for one in await limiter.look(tester)}
    assert standing["concurrent"] == 3
    assert standing["tokens_per_day"] == 5000 - 340
    assert standing["tokens_per_month"] == 90_000 - 340


async def test_a_look_takes_nothing(limiter: AnyLimiter) -> None:
    """However often it is asked, all is left that was left; and the key is admitted as if nobody had looked."""
    tester = key(requests="2/hour", tokens_per_day=100, concurrent=1)
    looks = [await limiter.look(tester) for _ in range(5)]
    assert all(look == looks[0] for look in looks)
    assert [one.remaining for one in looks[0]] == [2, 100, 1]
    assert await nothing_is_reserved(limiter)
    (await limiter.reserve(tester, 1, 1)).settle(2)
    await quiet(limiter)
    assert [one.remaining for one in await limiter.look(tester)] == [1, 98, 1]


async def test_a_budget_begins_with_what_the_ledger_knows(limiter: AnyLimiter, ledger: Ledger) -> None:
    """The first look of a day asks the ledger as a generation would, and the counter that it begins is the one."""
    ledger.used_before = {"2026-07-12": 30, "2026-07-01": 70}
    tester = key(tokens_per_day=100, tokens_per_month=100)
    assert [one.remaining for one in await limiter.look(tester)] == [70, 30]
    asked = len(ledger.asked)
    await limiter.reserve(tester, 5, 5)
    assert [one.remaining for one in await limiter.look(tester)] == [60, 20]
    assert len(ledger.asked) == asked


async def test_what_the_ledger_cannot_tell_is_not_guessed(limiter: AnyLimiter, ledger: Ledger) -> None:
    """While it is away a budget is unknown: an error, and no generation counts as refused."""
    ledger.down = True
    with pytest.raises(Unavailable):
        await limiter.look(key(tokens_per_day=100))
    assert (limiter.failed_open, limiter.failed_closed) == (0, 0)


async def test_limits_that_were_changed_are_told_as_they_now_are(limiter: AnyLimiter) -> None:
    """A smaller rate keeps nobody out for longer than it takes to grow back, and a look says so."""
    await limiter.reserve(key(requests="1/day", tokens="1000/day"), 500, 100)
    changed = await limiter.look(key(requests="60/minute burst 5", tokens="60/minute"))
    assert [(one.name, one.quota, one.remaining) for one in changed] == [("requests", 60, 0), ("tokens", 60, 0)]
    assert changed[0].reset == 5
    assert changed[1].reset is not None
    assert changed[1].reset <= 600


async def test_a_key_without_limits_has_none_to_show(limiter: AnyLimiter) -> None:
    """Nobody is asked for it."""
    assert list(await limiter.look(key())) == []


async def test_while_redis_is_away_nobody_knows(limiter: AnyLimiter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that finds it gone says so at once, and so does the next."""
    if not isinstance(limiter, RedisLimiter):
        pytest.skip("only Redis can be away")

    async def fail(*_: object) -> None:
        raise RedisConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(limiter._store, "look", fail)
        for _ in range(2):
            with pytest.raises(LimitsUnavailable):
                await limiter.look(key(requests="1/day"))


class OneLook:
    """A limiter that tells these standings."""

    def __init__(self, *told: Standing) -> None:
        self.told = told

    async def look(self, _: Principal) -> tuple[Standing, ...]:
        """Those."""
        return self.told


async def test_left_is_told_with_the_limit_as_it_is_written() -> None:
    """Of a rate no more than its burst can be left, and `concurrent` never says when."""
    tester = Principal("tester", "k1", limits=Limits().replaced({"requests": "60/minute burst 10", "concurrent": 4}))
    told = OneLook(Standing("requests", 60, 60, 3, 7), Standing("concurrent", 4, None, 2, None))
    assert await LimitsLeft(told).of(tester) == [  # type: ignore[arg-type]
        Left("requests", "60/minute burst 10", 10, 3, 7),
        Left("concurrent", 4, 4, 2, None),
    ]
