"""One key's counters in memory, and what is taken of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlops_backend.principal import Limits, Rate
from mlops_backend.services.other.limits.charge import FAR, MOST_ROOM, Charge, cost_of, room_of, whole_tokens
from mlops_backend.services.other.limits.decision import Seen, Standing, cut, fits, waits
from mlops_backend.services.other.limits.windows import Window, Windows


@dataclass(slots=True)
class Account:
    """The counters of one key; those of budgets are by their window.

    `aside` is what `used` has of open generations, `rate` the one that the tokens were last counted by.
    """

    requests: int = 0
    tokens: int = 0
    held: int = 0
    rate: Rate | None = None
    used: dict[Window, int] = field(default_factory=dict)
    aside: dict[Window, int] = field(default_factory=dict)
    running: set[MemoryReservation] = field(default_factory=set)

    @property
    def open(self) -> int:
        """How many generations are open."""
        return len(self.running)

    def seen(self, now: int, windows: Windows) -> Seen:
        """The counters at this moment."""
        day, month = [self.used.get(window, 0) for window in windows]
        day_held, month_held = [self.aside.get(window, 0) for window in windows]
        return Seen(now, self.requests, self.tokens, self.held, day, month, self.open, day_held, month_held)

    def follow(self, limits: Limits, now: int) -> None:
        """Let no counter keep anyone out for longer than the limits that now hold take to grow back."""
        if limits.requests:
            self.requests = min(self.requests, now + room_of(limits.requests))
        if limits.tokens and limits.tokens is not self.rate and limits.tokens != self.rate:
            if self.rate is not None:
                self.tokens = min(self.tokens, now + room_of(limits.tokens))
                self.held = sum(one.count_by(limits.tokens) for one in self.running)
            self.rate = limits.tokens

    def set_back(self, by: int) -> None:
        """The clock was set back by so much: what was counted by it lies no further ahead of it than before."""
        self.requests, self.tokens = max(0, self.requests - by), max(0, self.tokens - by)
        for reservation in self.running:
            reservation.set_back(by)

    def means_nothing(self, now: int) -> bool:
        """Whether a new account would decide alike."""
        if self.running or self.requests > now or self.tokens > now:
            return False
        return all([window.end <= now for window in self.used])

    def forget_the_past(self, now: int) -> None:
        """Drop counters whose window is over."""
        for window in [window for window in self.used if window.end <= now]:
            del self.used[window]
            self.aside.pop(window, None)


class MemoryReservation:
    """What one generation took of its account, at the moment `at`."""

    standings: Sequence[Standing] = ()

    def __init__(self, account: Account, charge: Charge, tokens: int, at: int, counted: Sequence[Window]) -> None:
        self.tokens, self.counted = tokens, counted
        self.output = charge.cut_output(tokens)
        self.holds = charge.held if tokens == charge.tokens else charge.held_by(tokens)
        self._account, self._charge, self._at = account, charge, at
        self._unit = 0

    def count_by(self, rate: Rate) -> int:
        """The rate of its key is another one now: what it holds of that, which is no more than it held."""
        if self.holds:
            self._unit = cost_of(rate, 1)
            self.holds = min(self.holds, self.tokens * self._unit)
        return self.holds

    def set_back(self, by: int) -> None:
        """The clock was set back by so much."""
        self._at -= by

    def settle(self, tokens: int) -> None:
        """The generation took so many tokens."""
        self._end(whole_tokens(tokens), 0)

    def release(self) -> None:
        """The generation never began."""
        self._end(0, self._charge.request_cost)

    def _end(self, tokens: int, request: int) -> None:
        account = self._account
        if self not in account.running:
            return
        account.running.remove(self)
        account.held -= self.holds
        account.requests -= request
        if used := self._cost(tokens):
            account.tokens = min(max(account.tokens, self._at) + used, FAR)
        for window in self.counted:
            if window in account.used:
                account.used[window] += tokens - self.tokens
                account.aside[window] -= self.tokens

    def _cost(self, tokens: int) -> int:
        return min(tokens * self._unit, MOST_ROOM) if self._unit else cost_of(self._charge.limits.tokens, tokens)


def unseeded(charge: Charge, account: Account, windows: Windows) -> list[Window]:
    """The windows of budgets that have no counter yet."""
    budgets = (charge.limits.tokens_per_day, charge.limits.tokens_per_month)
    return [
        window
        for window, budget in zip(windows, budgets, strict=True)
        if budget is not None and window not in account.used
    ]


def taken(account: Account, charge: Charge, now: int, windows: Windows) -> tuple[MemoryReservation | None, Seen]:
    """Take as much of a charge as there is, or nothing; and the counters as they are then."""
    account.follow(charge.limits, now)
    seen = account.seen(now, windows)
    whole = fits(charge, seen)
    if not whole and waits(charge, seen, windows):
        return None, seen
    if charge.limits.requests:
        account.requests = max(account.requests, now) + charge.request_cost
    account.forget_the_past(now)
    tokens = charge.tokens if whole else cut(charge, seen, windows)
    counted = [window for window in windows if window in account.used]
    for window in counted:
        account.used[window] += tokens
        account.aside[window] = account.aside.get(window, 0) + tokens
    reservation = MemoryReservation(account, charge, tokens, now, counted)
    account.running.add(reservation)
    account.held += reservation.holds
    return reservation, account.seen(now, windows)
