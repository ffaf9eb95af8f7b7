"""A limit that is changed keeps nobody out for longer than the limit that now holds takes to grow back."""

from __future__ import annotations

import pytest

from mlops_backend.errors import LimitExceeded
from mlops_backend.principal import Principal, Rate
from mlops_backend.services.other.limits import RouteLimiter
from tests.fakes.limits import AnyLimiter, key, nothing_is_reserved, quiet
from tests.fakes.limits_model import SECOND, Clock


async def wait_told(limiter: AnyLimiter, tester: Principal) -> int:
    """The seconds after which a refused key may come again."""
    with pytest.raises(LimitExceeded) as refusal:
        await limiter.reserve(tester, 5, 5)
    return int(refusal.value.headers["Retry-After"])


async def test_a_raised_rate_of_requests_is_felt_at_once(limiter: AnyLimiter, clock: Clock) -> None:
    """What was used up under one a day waits for a minute's share, and however often it asks meanwhile."""
    for _ in range(2):
        (await limiter.reserve(key(requests="2/day"), 5, 5)).settle(1)
    await quiet(limiter)
    assert await wait_told(limiter, key(requests="2/day")) == 43_200
    raised = key(requests="60/minute")
    for _ in range(3):
        assert await wait_told(limiter, raised) == 1
        clock.now += SECOND // 4
    clock.now += SECOND // 4
    assert (await limiter.reserve(raised, 5, 5)).standings[0].remaining == 0
    clock.now += 60 * SECOND
    assert (await limiter.reserve(raised, 5, 5)).standings[0].remaining == 59


async def test_a_raised_rate_of_tokens_forgives_what_was_overdrawn(limiter: AnyLimiter, clock: Clock) -> None:
    """Ten days of the old rate are a minute of the new one, and no more."""
    (await limiter.reserve(key(tokens="100/day"), 5, 5)).settle(1000)
    await quiet(limiter)
    assert await wait_told(limiter, key(tokens="100/day")) == 9 * 86_400 + 8640
    raised = key(tokens="600/minute")
    for _ in range(3):
        assert await wait_told(limiter, raised) == 1
        clock.now += SECOND // 4
    clock.now += SECOND // 4
    (await limiter.reserve(raised, 5, 5)).settle(1210)
    await quiet(limiter)
    assert await wait_told(limiter, raised) == 121  # the same rate forgives nothing


async def test_what_runs_while_a_rate_is_raised_counts_by_the_new_one(limiter: AnyLimiter) -> None:
    """What it set aside, and what it used at its end."""
    running = [await limiter.reserve(key(tokens="100/day"), 5, 45) for _ in range(2)]
    raised = key(tokens="100/minute")
    with pytest.raises(LimitExceeded, match="set aside for what is running"):
        await limiter.reserve(raised, 5, 5)
    raised = key(tokens="6000/minute")
    between = await limiter.reserve(raised, 5, 5)
    assert between.standings[0].remaining == 6000 - 50 - 50 - 10
    for reservation in (*running, between):
        reservation.settle(60)
    assert await nothing_is_reserved(limiter)
    assert (await limiter.reserve(raised, 5, 5)).standings[0].remaining == 6000 - 3 * 60 - 10


@pytest.mark.parametrize("kept", ["60/minute", None])
async def test_a_limit_that_stays_forgets_nothing(limiter: AnyLimiter, kept: str | None) -> None:
    """Another limit that is changed, or one that is taken away and given back, is no way to more."""
    before = key(requests="60/minute", tokens_per_day=50)
    for _ in range(60):
        (await limiter.reserve(before, 0, 0)).settle(0)
    await quiet(limiter)
    changed = key(requests=kept, tokens_per_day=60)
    if kept is None:
        (await limiter.reserve(changed, 0, 0)).settle(0)
        await quiet(limiter)
    assert await wait_told(limiter, before) == 1


async def test_a_route_whose_rate_was_raised_is_open_soon(limiter: AnyLimiter, clock: Clock) -> None:
    """A newer version's rate holds from its first call on."""
    routes = RouteLimiter(limiter)
    await routes.hit("k1", "other.echo", Rate.parse("1/day"))
    raised = Rate.parse("60/minute")
    for _ in range(2):
        with pytest.raises(LimitExceeded, match="Try again in 1 s"):
            await routes.hit("k1", "other.echo", raised)
        clock.now += SECOND // 2
    await routes.hit("k1", "other.echo", raised)
