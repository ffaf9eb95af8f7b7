"""How much of their budgets keys have used, as their last generations saw it: for monitoring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Final

from mlops_backend.services.other.limits import Standing

# Keys that are remembered, those that were seen last.
_MOST: Final = 1000
_BUDGETS: Final = {"tokens_per_day": "day", "tokens_per_month": "month"}


class BudgetUse:
    """Remembers what is left of each budget until its window ends.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, list[tuple[str, float, float]]] = {}

    def note(self, key_id: str, standings: Sequence[Standing]) -> None:
        """A key has reserved something, and this is left of its limits."""
        budgets = [
            (_BUDGETS[each.name], 1 - each.remaining / each.quota, self._clock() + (each.reset or 0))
            for each in standings
            if each.name in _BUDGETS
        ]
        if not budgets:
            return
        self._seen.pop(key_id, None)
        self._seen[key_id] = budgets
        if len(self._seen) > _MOST:
            del self._seen[next(iter(self._seen))]

    def used(self) -> Mapping[tuple[str, ...], float]:
        """By key and window, from 0 to 1; what is set aside for running generations counts as used."""
        now = self._clock()
        return {
            (key_id, window): ratio
            for key_id, budgets in self._seen.items()
            for window, ratio, until in budgets
            if now < until
        }
