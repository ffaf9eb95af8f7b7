"""What a generation asks of its key's limits, in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from mlops_backend.principal import Limits, Principal, Rate, person_in

# Lua counts in doubles, exact below 2**53. FAR is the year 2112 and MOST_ROOM is 71 years: they stay below it together.
FAR: Final = 2**52
MOST_ROOM: Final = 2**51
MOST_TOKENS: Final = 10**15


@dataclass(frozen=True, slots=True)
class Charge:
    """The tokens that a generation reserves, and the limits that they count against.

    `tokens` is what it would have, `least` what it cannot do without: its prompt, and one token of each answer. What is
    between the two is cut where there is not enough. `asked` is what the client would have, however small the limits.
    """

    principal_id: str
    limits: Limits
    tokens: int
    least: int
    prompt: int = 0
    asked: int = 0

    @property
    def prefix(self) -> str:
        """What stands before the names of the limits: those of a key's people are not the key's."""
        return prefix_of(self.principal_id)

    @property
    def request_cost(self) -> int:
        """What the generation itself takes of the rate of requests."""
        return cost_of(self.limits.requests, 1)

    @property
    def held(self) -> int:
        """What its tokens hold of the rate of tokens while it is open."""
        return cost_of(self.limits.tokens, self.tokens)

    @property
    def part(self) -> int:
        """The least that it is cut to where waiting brings more: half of its answer."""
        return half(self.tokens, self.least)

    @property
    def part_held(self) -> int:
        """What that part holds of the rate of tokens."""
        return cost_of(self.limits.tokens, self.part)

    @property
    def unit(self) -> int:
        """What one token takes of the rate of tokens, in whole microseconds."""
        return cost_of(self.limits.tokens, 1)

    def cut_output(self, tokens: int) -> int | None:
        """The most that all answers together may have, with so many tokens taken; `None`: what they asked for."""
        return tokens - self.prompt if tokens < self.asked else None

    def held_by(self, tokens: int) -> int:
        """What so many tokens hold, some of those that it would have."""
        return min(self.held if tokens > self.part else self.part_held, tokens * self.unit)

    def without_budgets(self) -> Charge:
        """The same, with nobody minding the day and the month."""
        return replace(self, limits=replace(self.limits, tokens_per_day=None, tokens_per_month=None))


def nothing(principal: Principal) -> Charge:
    """A charge that takes nothing, for whoever wants to see the counters."""
    return Charge(principal.id, principal.limits, 0, 0)


def prefix_of(principal_id: str) -> str:
    """What stands before the names of its limits, where they are told."""
    return "" if person_in(principal_id)[1] is None else "end_user_"


def room_of(rate: Rate) -> int:
    """Microseconds of use that may be taken ahead."""
    return min(rate.room, MOST_ROOM)


def cost_of(rate: Rate | None, units: int) -> int:
    """Microseconds that so many units take up; nothing where there is no rate."""
    return min(rate.cost(units), MOST_ROOM) if rate else 0


def half(tokens: int, least: int) -> int:
    """What is needed at least, and half of what is wanted beyond it."""
    return least + -(-(tokens - least) // 2)


def whole_tokens(tokens: int) -> int:
    """A count as somebody told it, within what can be counted."""
    return max(0, min(tokens, MOST_TOKENS))
