"""The limits of keys, as inference knows them."""

from __future__ import annotations

from collections.abc import Mapping

from mlops_backend.principal import Principal
from mlops_backend.services.other.limits import Limiter, Reservation, headers
from mlops_backend.services.other.usage.budget_use import BudgetUse
from mlops_backend.telemetry.metrics import Metrics


class HeldRoom:
    """A reservation with what an answer tells of it."""

    __slots__ = ("_reservation", "headers", "output")

    def __init__(self, reservation: Reservation) -> None:
        self._reservation = reservation
        self.output = reservation.output
        self.headers: Mapping[str, str] = headers(reservation.standings)

    def settle(self, tokens: int) -> None:
        """The generation took so many tokens."""
        self._reservation.settle(tokens)

    def release(self) -> None:
        """The generation never began."""
        self._reservation.release()


class GenerationMeter:
    """Reserves from the limiter what a generation may use.

    Args:
        limiter: knows what is left.
        metrics: are told how much of their budgets keys have used.
    """

    def __init__(self, limiter: Limiter, metrics: Metrics) -> None:
        self._limiter = limiter
        self._use = BudgetUse()
        told = "Part of a key's budget of tokens that is used, from 0 to 1, as its last generation saw it."
        metrics.labelled("budget_used_ratio", told, ("key_id", "window"), self._use.used, of_all="most")

    async def reserve(
        self, caller: Principal, prompt_tokens: int, max_tokens: int | None, answers: int = 1
    ) -> HeldRoom:
        """Take room for one generation; see `services.llm.generation.metering.Meter`.

        Raises:
            LimitExceeded: there is no room.
            LimitsUnavailable: a budget cannot be checked.
        """
        reservation = await self._limiter.reserve(caller, prompt_tokens, max_tokens, answers)
        self._use.note(caller.id, reservation.standings)
        return HeldRoom(reservation)
