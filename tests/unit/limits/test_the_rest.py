"""What is left of a limit is for whoever comes: whole where there is enough, cut where there is not."""

from __future__ import annotations

import asyncio

import pytest

from mlops_backend.errors import LimitExceeded
from tests.fakes.limits import AnyLimiter, key, nothing_is_reserved, quiet
from tests.fakes.limits_model import SECOND, Clock

DAY = 86_400


async def used(limiter: AnyLimiter, tokens: int, /, **limits: object) -> None:
    """So many tokens of a key were used."""
    (await limiter.reserve(key(**limits), 1, 1)).settle(tokens)
    await quiet(limiter)


@pytest.mark.parametrize("budget", ["tokens_per_day", "tokens_per_month"])
async def test_the_last_tokens_of_a_budget_are_for_somebody(limiter: AnyLimiter, budget: str) -> None:
    """A request without a maximum, or with one that is too large, takes what is left, and is told how much that is."""
    limits: dict[str, object] = {budget: 1000}
    whole = await limiter.reserve(key(**limits), 10, None)
    assert (whole.output, whole.standings[0].remaining) == (None, 890)
    whole.settle(913)
    await quiet(limiter)
    for most in (None, -1, 500):
        rest = await limiter.reserve(key(**limits), 10, most)
        assert (rest.output, rest.standings[0].remaining) == (77, 0)
        rest.release()
        await quiet(limiter)
    named = await limiter.reserve(key(**limits), 10, 77)
    assert (named.output, named.standings[0].remaining) == (None, 0)


async def test_only_a_prompt_that_does_not_fit_is_refused(limiter: AnyLimiter) -> None:
    """With one token of an answer it has to: until the window ends; of several answers each has one."""
    await used(limiter, 80, tokens_per_day=100)
    tester = key(tokens_per_day=100)
    for prompt, answers in ((20, 1), (18, 3)):
        with pytest.raises(LimitExceeded, match="is reached: 100/day") as refusal:
            await limiter.reserve(tester, prompt, None, answers)
        assert refusal.value.headers["Retry-After"] == str(DAY // 2)
    assert (await limiter.reserve(tester, 17, None, 3)).output == 3


async def test_what_has_no_answer_is_not_cut(limiter: AnyLimiter) -> None:
    """Embeddings take their prompt, all of it or nothing."""
    await used(limiter, 80, tokens_per_day=100)
    with pytest.raises(LimitExceeded):
        await limiter.reserve(key(tokens_per_day=100), 21, 0)
    assert (await limiter.reserve(key(tokens_per_day=100), 20, 0)).output is None


async def test_the_smallest_rest_counts(limiter: AnyLimiter) -> None:
    """Of several limits the one with the least left says how long an answer may be."""
    limits: dict[str, object] = {"tokens": "6000/minute", "tokens_per_day": 1000, "tokens_per_month": 1070}
    await used(limiter, 940, **limits)
    reservation = await limiter.reserve(key(**limits), 10, None)
    assert reservation.output == 50
    assert [standing.remaining for standing in reservation.standings] == [5000, 0, 70]
    reservation.release()
    await quiet(limiter)
    limits["tokens_per_month"] = 960
    assert (await limiter.reserve(key(**limits), 10, None)).output == 10


async def test_those_that_run_share_a_budget(limiter: AnyLimiter) -> None:
    """Who comes first sets aside all of `TOKEN_RESERVE`; who finds less than half of it waits a moment, not a day."""
    tester = key(tokens_per_day=250)
    first, second = [await limiter.reserve(tester, 10, None) for _ in range(2)]
    assert (first.output, second.output) == (None, None)
    with pytest.raises(LimitExceeded) as refusal:
        await limiter.reserve(tester, 10, None)
    assert refusal.value.message == (
        "What is left of the limit 'tokens_per_day' of this key (250/day) is set aside for what is running."
        " Try again in 1 s."
    )
    assert refusal.value.headers["Retry-After"] == "1"
    first.settle(13)
    await quiet(limiter)
    third = await limiter.reserve(tester, 10, None)
    assert (third.output, third.standings[0].remaining) == (None, 17)
    for reservation in (second, third):
        reservation.settle(13)
    assert await nothing_is_reserved(limiter)


async def test_nobody_waits_for_what_would_not_help(limiter: AnyLimiter) -> None:
    """Where those that run have set little aside, what is left is half of all there will be: it is taken."""
    await used(limiter, 200, tokens_per_day=250)
    tester = key(tokens_per_day=250)
    await limiter.reserve(tester, 5, 5)
    assert (await limiter.reserve(tester, 10, None)).output == 30
    with pytest.raises(LimitExceeded, match="set aside for what is running"):
        await limiter.reserve(tester, 10, None)


async def test_many_at_once_use_a_budget_up(limiter: AnyLimiter) -> None:
    """Fifty that ask until they are refused for good leave less than a prompt and a token, and take none too many."""
    tester, spent = key(tokens_per_day=2000), 0

    async def ask() -> None:
        nonlocal spent
        while True:
            try:
                reservation = await limiter.reserve(tester, 5, None)
            except LimitExceeded as refusal:
                if refusal.headers["Retry-After"] != "1":
                    return
                await asyncio.sleep(0.001)
                continue
            await asyncio.sleep(0)
            tokens = 5 + min(8, reservation.output or 100)
            spent += tokens
            reservation.settle(tokens)

    async with asyncio.timeout(20):
        await asyncio.gather(*(ask() for _ in range(50)))
    assert 2000 - 6 < spent <= 2000
    assert await nothing_is_reserved(limiter)


async def test_a_rate_gives_half_of_an_answer_or_waits_for_the_whole(limiter: AnyLimiter, clock: Clock) -> None:
    """What grows back in a moment is waited for, or else a busy key would get answers of one word each."""
    tester = key(tokens="600/minute burst 210")
    first = await limiter.reserve(tester, 10, None)
    assert first.output is None
    half = await limiter.reserve(tester, 10, None)
    assert (half.output, half.standings[0].remaining) == (90, 0)
    for reservation in (first, half):
        reservation.settle(80)
    await quiet(limiter)
    with pytest.raises(LimitExceeded, match=r"'tokens' of this key is reached: .* Try again in 6 s"):
        await limiter.reserve(tester, 10, None)
    clock.now += 6 * SECOND
    assert (await limiter.reserve(tester, 10, None)).output is None


async def test_an_answer_longer_than_a_rate_holds_is_cut_to_that(limiter: AnyLimiter) -> None:
    """A client that always names a large maximum may use a small rate."""
    tester = key(tokens="600/minute burst 300")
    (await limiter.reserve(tester, 10, 32_000)).settle(13)
    await quiet(limiter)
    cut = await limiter.reserve(tester, 10, 32_000)
    assert (cut.output, cut.standings[0].remaining) == (277, 0)


async def test_a_rate_of_more_than_a_token_a_microsecond_is_cut_as_well(limiter: AnyLimiter) -> None:
    """Where one token takes less than the clock can tell, half of the answer is given all the same."""
    tester = key(tokens="600000000/minute burst 300")
    (await limiter.reserve(tester, 10, 100)).settle(110)
    await quiet(limiter)
    assert (await limiter.reserve(tester, 10, 290)).output == 146
