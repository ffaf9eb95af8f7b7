"""The rules of limits, as docs/limits.md has them, in the plainest way: nothing is kept that can be worked out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mlops_backend.principal import Limits, Rate

SECOND = 1_000_000
NEVER = 10**18


@dataclass
class Clock:
    """Time that a test moves."""

    now: int

    def __call__(self) -> int:
        """Microseconds since the epoch."""
        return self.now


@dataclass(frozen=True)
class Taken:
    """One open generation; it holds and counts so much for each token since the rate became another one."""

    at: int
    tokens: int
    holds: int
    request: int
    counted: tuple[str, ...]
    expires: float
    each: int = 0


@dataclass(frozen=True)
class Verdict:
    """What must come of a reservation: what is left of each limit, what was taken, and what the refusal names."""

    left: dict[str, int]
    named: str = ""
    seconds: int = 0
    taken: int = 0


def no_seed(label: str) -> int:
    """Nothing was used before."""
    return 0


@dataclass
class LimitsModel:
    """One key."""

    seed: Callable[[str], int] = no_seed
    life: float = float("inf")
    requests_at: int = 0
    tokens_at: int = 0
    rate: Rate | None = None
    counters: dict[str, int] = field(default_factory=dict)
    open: dict[str, Taken] = field(default_factory=dict)

    def reserve(self, limits: Limits, least: int, most: int, now: int, name: str) -> Verdict:
        """Try to take `most`, or less where there is less."""
        most = min(most, *(holds for holds in capacities(limits) if holds is not None), most)
        for late in [late for late, taken in self.open.items() if taken.expires <= now]:
            self._close(late, 0, 0, False)
        day, month = labels_of(now)
        for label, budget in ((day, limits.tokens_per_day), (month, limits.tokens_per_month)):
            if budget is not None:
                self.counters.setdefault(label, self.seed(label))
        self._follow(limits, now)
        waits = {which: wait for which, wait in self._waits(limits, least, most, now).items() if wait > 0}
        if waits:
            longest = max(waits, key=lambda which: waits[which])
            return Verdict(self._left(limits, now), longest, -(-waits[longest] // SECOND))
        request = cost(limits.requests, 1)
        if limits.requests:
            self.requests_at = max(self.requests_at, now) + request
        counted = tuple(label for label in (day, month) if label in self.counters)
        tokens = self._fitting(limits, least, most, now)
        holds = min(
            cost(limits.tokens, most if tokens > half(most, least) else half(most, least)), tokens * each(limits)
        )
        self.open[name] = Taken(now, tokens, holds, request, counted, now + self.life)
        return Verdict(self._left(limits, now), taken=tokens)

    def settle(self, limits: Limits, name: str, tokens: int) -> None:
        """End with so many tokens used."""
        self._close(name, tokens, cost(limits.tokens, tokens), False)

    def release(self, name: str) -> None:
        """Give everything back."""
        self._close(name, 0, 0, True)

    def _close(self, name: str, tokens: int, used: int, released: bool) -> None:
        taken = self.open.pop(name, None)
        if taken is None:
            return
        if released:
            self.requests_at -= taken.request
        if used:
            self.tokens_at = max(self.tokens_at, taken.at) + (tokens * taken.each or used)
        for label in taken.counted:
            self.counters[label] += tokens

    def _follow(self, limits: Limits, now: int) -> None:
        if limits.requests:
            self.requests_at = min(self.requests_at, now + cost(limits.requests, limits.requests.burst))
        if limits.tokens is None or limits.tokens == self.rate:
            return
        if self.rate is not None:
            unit = each(limits)
            self.tokens_at = min(self.tokens_at, now + cost(limits.tokens, limits.tokens.burst))
            for name, one in self.open.items():
                if one.holds:
                    self.open[name] = replace(one, holds=min(one.holds, one.tokens * unit), each=unit)
        self.rate = limits.tokens

    def _aside(self, label: str) -> int:
        return sum(one.tokens for one in self.open.values() if label in one.counted)

    def _used(self, label: str) -> int:
        return self.counters.get(label, 0) + self._aside(label)

    def _budgets(self, limits: Limits, now: int) -> list[tuple[str, str, int, int]]:
        """Name, window, what is left of it and when it ends."""
        both = zip(labels_of(now), ends_of(now), strict=True)
        named = (("tokens_per_day", limits.tokens_per_day), ("tokens_per_month", limits.tokens_per_month))
        return [
            (name, label, budget - self._used(label), end)
            for (name, budget), (label, end) in zip(named, both, strict=True)
            if budget is not None
        ]

    def _room(self, limits: Limits, now: int) -> int:
        rate = limits.tokens
        return cost(rate, rate.burst) - self._ahead(now)[1] if rate else 0

    def _fitting(self, limits: Limits, least: int, most: int, now: int) -> int:
        tokens, room = most, self._room(limits, now)
        if cost(limits.tokens, most) > room:
            tokens = max(half(most, least), room // each(limits))
        return min([tokens, *(left for _, _, left, _ in self._budgets(limits, now))])

    def _ahead(self, now: int) -> tuple[int, int]:
        held = sum(one.holds for one in self.open.values())
        return max(self.requests_at - now, 0), max(self.tokens_at - now, 0) + held

    def _waits(self, limits: Limits, least: int, most: int, now: int) -> dict[str, int]:
        requests, _ = self._ahead(now)
        waits = {}
        if limits.requests:
            waits["requests"] = requests + cost(limits.requests, 1) - cost(limits.requests, limits.requests.burst)
        room, part = self._room(limits, now), cost(limits.tokens, half(most, least))
        if limits.tokens and part > room:
            comes_back = sum(one.holds for one in self.open.values())
            waits["tokens"] = min(cost(limits.tokens, most) - room, SECOND if part <= room + comes_back else NEVER)
        for name, label, left, end in self._budgets(limits, now):
            alone = min(most, left + self._aside(label))
            if alone < least:
                waits[name] = end - now
            elif left < half(alone, least):
                waits[name] = SECOND
        if limits.concurrent is not None and len(self.open) >= limits.concurrent:
            waits["concurrent"] = SECOND
        return waits

    def _left(self, limits: Limits, now: int) -> dict[str, int]:
        requests, ahead = self._ahead(now)
        day, month = labels_of(now)
        left = {}
        if limits.requests:
            left["requests"] = units(limits.requests, requests)
        if limits.tokens:
            left["tokens"] = units(limits.tokens, ahead)
        if limits.tokens_per_day is not None:
            left["tokens_per_day"] = max(0, limits.tokens_per_day - self._used(day))
        if limits.tokens_per_month is not None:
            left["tokens_per_month"] = max(0, limits.tokens_per_month - self._used(month))
        if limits.concurrent is not None:
            left["concurrent"] = max(0, limits.concurrent - len(self.open))
        return left


def cost(rate: Rate | None, count: int) -> int:
    """Microseconds of so many units, rounded up."""
    return -(-count * rate.period * SECOND // rate.count) if rate else 0


def half(most: int, least: int) -> int:
    """The least, and half of what is between the two."""
    return least + (most - least + 1) // 2


def each(limits: Limits) -> int:
    """Microseconds of one token."""
    return cost(limits.tokens, 1)


def capacities(limits: Limits) -> tuple[int | None, ...]:
    """What each limit on tokens holds when nothing is used."""
    return (limits.tokens.burst if limits.tokens else None, limits.tokens_per_day, limits.tokens_per_month)


def units(rate: Rate, ahead: int) -> int:
    """Whole units that fit on top of what is taken: the most whose cost still does."""
    room = cost(rate, rate.burst) - ahead
    return max(0, bisect_right(range(rate.burst + 1), room, key=lambda count: cost(rate, count)) - 1)


def labels_of(now: int) -> tuple[str, str]:
    """The day and the month of a moment, in UTC."""
    moment = datetime.fromtimestamp(now // SECOND, UTC)
    return f"{moment:%Y-%m-%d}", f"{moment:%Y-%m}"


def ends_of(now: int) -> tuple[int, int]:
    """When that day and that month end."""
    midnight = datetime.fromtimestamp(now // SECOND, UTC).replace(hour=0, minute=0, second=0) + timedelta(days=1)
    month = midnight
    while month.day != 1:
        month += timedelta(days=1)
    return int(midnight.timestamp()) * SECOND, int(month.timestamp()) * SECOND
