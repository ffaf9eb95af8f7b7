"""A rate of its own for one route, for each principal."""

from __future__ import annotations

from mlops_backend.errors import LimitExceeded
from mlops_backend.principal import Rate
from mlops_backend.services.other.limits.charge import cost_of, room_of
from mlops_backend.services.other.limits.decision import Standing, headers, rate_standing, whole_seconds
from mlops_backend.services.other.limits.limiter import Limiter


class RouteLimiter:
    """Counts calls of routes where the limiter counts generations."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    @property
    def trouble(self) -> str:
        """Why the counters cannot be reached, for the operator; empty when they can."""
        return self._limiter.redis_trouble

    async def hit(self, principal_id: str, route: str, rate: Rate) -> tuple[Standing, ...]:
        """Count one call; how the principal then stands, or nothing while that cannot be known.

        Raises:
            LimitExceeded: it called too often.
        """
        cost, room = cost_of(rate, 1), room_of(rate)
        answer = await self._limiter.take(principal_id, route, cost, room)
        if answer is None:
            return ()
        now, found = answer
        ahead = max(0, min(found - now, room))
        if ahead + cost <= room:
            return (rate_standing(route, rate, ahead + cost),)
        seconds = whole_seconds(ahead + cost - room)
        raise LimitExceeded(
            f"The limit of this route is reached: {rate}. Try again in {seconds} s.",
            headers={"Retry-After": str(seconds), **headers([rate_standing(route, rate, ahead)])},
        )
