"""What is left of a principal's limits, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_backend.principal import Limits, Principal
from mlops_backend.services.other.limits.limiter import Limiter


@dataclass(frozen=True, slots=True)
class Left:
    """One limit: as it is written, the most that may be left of it, what is left, and in how many seconds all is."""

    name: str
    limit: str | int
    most: int
    remaining: int
    reset_seconds: int | None


class LimitsLeft:
    """Asks for the counters, wherever they are, and takes nothing.

    Args:
        limiter: keeps them.
    """

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def of(self, principal: Principal) -> list[Left]:
        """Every limit of a key, in the order in which they are declared.

        Raises:
            LimitsUnavailable: the counters cannot be reached, or not be begun.
        """
        written = principal.limits.written()
        return [
            Left(
                standing.name,
                written[standing.name] or 0,
                _most(principal.limits, standing.name, standing.quota),
                standing.remaining,
                standing.reset,
            )
            for standing in await self._limiter.look(principal)
        ]


def _most(limits: Limits, name: str, quota: int) -> int:
    """A rate has no more than its burst."""
    rate = {"requests": limits.requests, "tokens": limits.tokens}.get(name)
    return rate.burst if rate is not None else quota
