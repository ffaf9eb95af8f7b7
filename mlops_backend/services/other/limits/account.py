"""One key's counters in memory, and what is taken of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlops_backend.services.other.limits.charge import FAR, Charge, cost_of, whole_tokens
from mlops_backend.services.other.limits.decision import Seen, Standing, exceeded, standings, waits
from mlops_backend.services.other.limits.windows import Window, Windows, windows_at


@dataclass(slots=True)
class Account:
    """The counters of one key; those of budgets are by their window."""

    requests: int = 0
    tokens: int = 0
    held: int = 0
    open: int = 0
    used: dict[Window, int] = field(default_factory=dict)

    def seen(self, now: int, windows: Windows) -> Seen:
        """The counters at this moment."""
        day, month = (self.used.get(window, 0) for window in windows)
        return Seen(now, self.requests, self.tokens, self.held, day, month, self.open)

    def means_nothing(self, now: int) -> bool:
        """Whether a new account would decide alike."""
        return not self.open and max(self.requests, self.tokens, *(window.end for window in self.used), 0) <= now

    def forget_the_past(self, now: int) -> None:
        """Drop counters whose window is over."""
        for window in [window for window in self.used if window.end <= now]:
            del self.used[window]


class MemoryReservation:
    """What one generation took of its account, at the moment `at`."""

    def __init__(self, account: Account, charge: Charge, seen: Seen, counted: Sequence[Window]) -> None:
        self.standings: Sequence[Standing] = standings(charge.limits, seen)
        self._account, self._charge, self._at, self._counted = account, charge, seen.now, counted
        self._open = True

    def settle(self, tokens: int) -> None:
        """The generation took so many tokens."""
        self._end(whole_tokens(tokens), 0)

    def release(self) -> None:
        """The generation never began."""
        self._end(0, self._charge.request_cost)

    def _end(self, tokens: int, request: int) -> None:
        if not self._open:
            return
        self._open = False
        account, charge = self._account, self._charge
        account.open -= 1
        account.requests -= request
        account.held -= charge.held
        if used := cost_of(charge.limits.tokens, tokens):
            account.tokens = min(max(account.tokens, self._at) + used, FAR)
        for window in self._counted:
            if window in account.used:
                account.used[window] += tokens - charge.tokens


def unseeded(charge: Charge, account: Account, windows: Windows) -> list[Window]:
    """The windows of budgets that have no counter yet."""
    budgets = (charge.limits.tokens_per_day, charge.limits.tokens_per_month)
    return [
        window
        for window, budget in zip(windows, budgets, strict=True)
        if budget is not None and window not in account.used
    ]


def taken(account: Account, charge: Charge, now: int) -> MemoryReservation:
    """Take all of a charge, or nothing.

    Raises:
        LimitExceeded: a limit is reached.
    """
    windows = windows_at(now)
    seen = account.seen(now, windows)
    if waits(charge, seen):
        raise exceeded(charge, seen)
    if charge.limits.requests:
        account.requests = max(account.requests, now) + charge.request_cost
    account.held += charge.held
    account.open += 1
    account.forget_the_past(now)
    counted = [window for window in windows if window in account.used]
    for window in counted:
        account.used[window] += charge.tokens
    return MemoryReservation(account, charge, account.seen(now, windows), counted)
