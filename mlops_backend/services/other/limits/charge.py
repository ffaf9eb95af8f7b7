"""What a generation asks of its key's limits, in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from mlops_backend.principal import Limits, Rate

# Lua counts in doubles, exact below 2**53. FAR is the year 2112 and MOST_ROOM is 71 years: they stay below it together.
FAR: Final = 2**52
MOST_ROOM: Final = 2**51
MOST_TOKENS: Final = 10**15


@dataclass(frozen=True, slots=True)
class Charge:
    """The tokens that a generation reserves, and the limits that they count against."""

    principal_id: str
    limits: Limits
    tokens: int

    @property
    def request_cost(self) -> int:
        """What the generation itself takes of the rate of requests."""
        return cost_of(self.limits.requests, 1)

    @property
    def held(self) -> int:
        """What its tokens hold of the rate of tokens while it is open."""
        return cost_of(self.limits.tokens, self.tokens)

    def without_budgets(self) -> Charge:
        """The same, with nobody minding the day and the month."""
        return replace(self, limits=replace(self.limits, tokens_per_day=None, tokens_per_month=None))


def room_of(rate: Rate) -> int:
    """Microseconds of use that may be taken ahead."""
    return min(rate.room, MOST_ROOM)


def cost_of(rate: Rate | None, units: int) -> int:
    """Microseconds that so many units take up; nothing where there is no rate."""
    return min(rate.cost(units), MOST_ROOM) if rate else 0


def whole_tokens(tokens: int) -> int:
    """A count as somebody told it, within what can be counted."""
    return max(0, min(tokens, MOST_TOKENS))
