"""Limiters decide as the model of the rules does, whatever happens in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend import redis_clients
from mlops_backend.errors import LimitExceeded
from mlops_backend.principal import Limits, Principal, Rate
from mlops_backend.services.other.limits.limiter import Reservation
from mlops_backend.services.other.limits.memory import MemoryLimiter
from mlops_backend.services.other.limits.redis_limiter import RedisLimiter
from tests.fakes.limits import AnyLimiter, Ledger, Parent, WorkersLimiter, key, nothing_is_reserved, quiet
from tests.fakes.limits_model import SECOND, Clock, LimitsModel, Verdict, cost
from tests.fakes.redis_server import RedisServer

# Ten seconds before a month ends.
START = int(datetime(2026, 1, 31, 23, 59, 50, tzinfo=UTC).timestamp()) * SECOND
LIFE = 60 * SECOND
NEVER = 1000 * 86_400 * SECOND
BEFORE = {"2026-01-31": 7, "2026-01-01": 11, "2026-02-01": 3, "2026-02-02": 1}

LIMITS = st.builds(
    lambda **own: Limits().replaced({name: limit for name, limit in own.items() if limit is not None}),
    requests=st.sampled_from([None, "7/minute burst 3", "3/second", "1000/hour burst 4"]),
    tokens=st.sampled_from([None, "90/minute burst 50", "7/second burst 60", "100/hour"]),
    tokens_per_day=st.sampled_from([None, 60, 200]),
    tokens_per_month=st.sampled_from([None, 90, 400]),
    concurrent=st.sampled_from([None, 1, 3]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(1, 25), st.integers(1, 25)),
        st.tuples(st.just("reserve"), st.sampled_from([1, 9, 19]), st.just(1)),
        st.tuples(st.just("reserve"), st.just(10), st.just(10)),
        st.tuples(st.just("reserve"), st.integers(1, 9), st.sampled_from([40, 150, 1000])),
        st.tuples(st.just("limit"), st.just(0), st.sampled_from([None, "3/day", "7/minute burst 3", "60/minute"])),
        st.tuples(st.just("limit"), st.just(1), st.sampled_from([None, "60/day", "90/minute burst 50", "900/minute"])),
        st.tuples(st.just("settle"), st.integers(0, 9), st.integers(0, 60)),
        st.tuples(st.just("release"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([1, 333_333, SECOND, 9 * SECOND, LIFE]), st.integers(1, 2)),
        st.tuples(st.just("leave"), st.integers(0, 12), st.integers(1, 25)),
    ),
    min_size=10,
    max_size=60,
)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """One Redis for all, which may take its time: a slow machine is not a Redis that is away."""
    with RedisServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_clients, "_READ", 10.0)
        patch.setattr(redis_clients, "_CONNECT", 10.0)
        yield server


def before(label: str) -> int:
    """What the ledger knows, as the model asks for it."""
    return BEFORE.get(label if len(label) == 10 else f"{label}-01", 0)


class Play:
    """A limiter and the model side by side."""

    def __init__(self, limiter: AnyLimiter, clock: Clock, limits: Limits, life: float) -> None:
        self.limiter, self.clock, self.limits = limiter, clock, limits
        self.principal = Principal("tester", "k1", limits=limits)
        # the first of January was also the first day of a month: its counters begin alike
        self.model = LimitsModel(seed=before, life=life)
        self.reservations: list[tuple[str, Limits, Reservation]] = []
        self.followed: Limits | None = None
        self.count = 0

    async def step(self, action: str, first: int, second: Any) -> None:
        """Do one thing to both, and compare."""
        match action:
            case "reserve":
                await self._reserve(first, second)
            case "limit":
                self.limits = self.limits.replaced({("requests", "tokens")[first]: second})
                self.principal = replace(self.principal, limits=self.limits)
            case "wait":
                self.clock.now += first * second
            # who leaves may or may not have been the first to come under a new limit, so the first is one who stays
            case "leave" if self.limits == self.followed:
                await self._leave(first, second)
            case "settle" | "release" if self.reservations:
                self._end(action, first, second)
        await quiet(self.limiter)

    async def _reserve(self, prompt: int, output: int) -> None:
        self.count += 1
        name = str(self.count)
        asked, self.followed = prompt + output, self.limits
        verdict = self.model.reserve(self.limits, prompt + 1, asked, self.clock.now, name)
        if verdict.named:
            with pytest.raises(LimitExceeded, match=f"'{verdict.named}'") as refusal:
                await self.limiter.reserve(self.principal, prompt, output)
            self._compare_refusal(refusal.value, verdict)
            return
        reservation = await self.limiter.reserve(self.principal, prompt, output)
        assert {standing.name: standing.remaining for standing in reservation.standings} == verdict.left
        assert reservation.output == (verdict.taken - prompt if verdict.taken < asked else None)
        self.reservations.append((name, self.limits, reservation))

    def _compare_refusal(self, refusal: LimitExceeded, verdict: Verdict) -> None:
        assert refusal.headers["Retry-After"] == str(max(1, verdict.seconds))
        told = [member.split(";")[:2] for member in refusal.headers["RateLimit"].split(", ")]
        assert {name.strip('"'): int(left.removeprefix("r=")) for name, left in told} == verdict.left

    async def _leave(self, turns: int, tokens: int) -> None:
        task = asyncio.create_task(self.limiter.reserve(self.principal, tokens, tokens))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(result, BaseException):
            result.release()

    def _end(self, action: str, index: int, tokens: int) -> None:
        name, limits, reservation = self.reservations[index % len(self.reservations)]
        if action == "settle":
            reservation.settle(tokens)
            self.model.settle(limits, name, tokens)
        else:
            reservation.release()
            self.model.release(name)


async def played(limiter: AnyLimiter, clock: Clock, limits: Limits, steps: list[Any], life: float) -> None:
    """Play all steps; at the end everything is given back."""
    play = Play(limiter, clock, limits, life)
    await limiter.open()
    try:
        for action, first, second in steps:
            await play.step(action, first, second)
        for *_, reservation in play.reservations:
            reservation.release()
        assert await nothing_is_reserved(limiter)
    finally:
        await limiter.aclose()


def ledger() -> Ledger:
    """A ledger that knows of a past."""
    made = Ledger()
    made.used_before = BEFORE
    return made


@settings(max_examples=150, deadline=None)
@given(LIMITS, STEPS)
def test_memory_decides_as_the_model_does(limits: Limits, steps: list[Any]) -> None:
    """In memory: the same decisions, the same limit named, the same remainders, and nothing is left reserved."""
    clock = Clock(START)
    limiter = MemoryLimiter(ledger(), default_reserve=10, clock=clock)
    asyncio.run(played(limiter, clock, limits, steps, float("inf")))


@settings(max_examples=80, deadline=None)
@given(LIMITS, STEPS)
def test_the_parent_of_workers_decides_as_the_model_does(limits: Limits, steps: list[Any]) -> None:
    """Asked by a worker over their channel: likewise."""
    clock = Clock(START)
    limiter = WorkersLimiter(Parent(clock), ledger(), default_reserve=10)
    asyncio.run(played(limiter, clock, limits, steps, float("inf")))


@settings(max_examples=80, deadline=None)
@given(LIMITS, STEPS, st.sampled_from([LIFE, NEVER]))
def test_redis_decides_as_the_model_does(redis: RedisServer, limits: Limits, steps: list[Any], life: int) -> None:
    """In Redis likewise; there, what has expired comes back."""
    # who leaves may or may not have reaped what was late, so those who leave play only where nothing is
    played_steps = [step for step in steps if step[0] != "leave" or life == NEVER]
    clock = Clock(START)

    async def play() -> None:
        limiter = RedisLimiter(redis.url, ledger(), default_reserve=10, clock=clock, life=life)
        await limiter._store._client.flushall()
        await played(limiter, clock, limits, played_steps, life)

    asyncio.run(play())


async def _memory(redis: RedisServer, clock: Clock) -> AnyLimiter:
    return MemoryLimiter(ledger(), default_reserve=10, clock=clock)


async def _redis(redis: RedisServer, clock: Clock) -> AnyLimiter:
    limiter = RedisLimiter(redis.url, ledger(), default_reserve=10, clock=clock)
    await limiter._store._client.flushall()
    return limiter


async def _parent(redis: RedisServer, clock: Clock) -> AnyLimiter:
    return WorkersLimiter(Parent(clock), ledger(), default_reserve=10)


@pytest.mark.parametrize("make", [_memory, _parent, _redis])
async def test_whoever_leaves_leaves_nothing(
    redis: RedisServer, make: Callable[[RedisServer, Clock], Awaitable[AnyLimiter]]
) -> None:
    """A cancel at any point of a reservation, its questions to the ledger included, takes nothing in the end."""
    tester = key(requests="3/hour", tokens="100/hour", tokens_per_day=100, tokens_per_month=300, concurrent=2)
    turns = completed = 0
    while completed < 3:
        clock = Clock(START + turns * 86_400 * SECOND)
        limiter = await make(redis, clock)
        await limiter.open()
        task = asyncio.create_task(limiter.reserve(tester, 40, 40))
        for _ in range(turns):
            await asyncio.sleep(0)
        completed += task.done()
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(result, BaseException):
            result.release()
        assert await nothing_is_reserved(limiter), f"after {turns} turns"
        left = [standing.remaining for standing in (await limiter.reserve(tester, 40, 40)).standings]
        assert left[0] == 2, f"after {turns} turns"
        assert left[1] == 20, f"after {turns} turns"
        await limiter.aclose()
        turns += 1 + turns // 10
    assert turns > 5


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["90/minute burst 50", "7/second burst 60", "100/hour burst 30"]).map(Rate.parse),
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30), st.integers(0, 40), st.integers(0, 9)), max_size=60),
)
def test_what_is_used_never_exceeds_the_rate(rate: Rate, steps: list[tuple[int, int, int, int]]) -> None:
    """However long generations stay open and in whatever order they end, what they used stays within the burst.

    It is counted at the moments at which they were admitted, as if all had been known then.
    """
    model, limits, now = LimitsModel(), Limits(tokens=rate), START
    used: dict[str, tuple[int, int]] = {}
    for count, (reserved, tokens, seconds, index) in enumerate(steps):
        now += seconds * SECOND
        if not model.reserve(limits, reserved, reserved, now, str(count)).named:
            used[str(count)] = (now, min(tokens, reserved))
        if index < len(model.open):
            name = list(model.open)[index]
            model.settle(limits, name, used[name][1])
    arrival = 0
    for at, tokens in used.values():
        arrival = max(arrival, at) + cost(rate, tokens)
        assert arrival <= at + cost(rate, rate.burst)
