"""The limits of keys and of their end users, as inference knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlops_backend.principal import Principal
from mlops_backend.services.other.limits import Limiter, Reservation, headers
from mlops_backend.services.other.usage.budget_use import BudgetUse
from mlops_backend.telemetry.metrics import Metrics


class HeldRoom:
    """Reservations of one generation, which end together, with what an answer tells of them."""

    __slots__ = ("_reservations", "headers", "output")

    def __init__(self, reservations: Sequence[Reservation]) -> None:
        self._reservations = reservations
        self.output = min((each.output for each in reservations if each.output is not None), default=None)
        self.headers: Mapping[str, str] = headers([known for each in reservations for known in each.standings])

    def settle(self, tokens: int) -> None:
        """The generation took so many tokens."""
        for reservation in self._reservations:
            reservation.settle(tokens)

    def release(self) -> None:
        """The generation never began."""
        for reservation in self._reservations:
            reservation.release()


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
        self, caller: Principal, prompt_tokens: int, max_tokens: int | None, answers: int = 1, end_user: str = ""
    ) -> HeldRoom:
        """Take room for one generation; see `services.llm.generation.metering.Meter`.

        Of the key last: what an end user may not have takes nothing of it, not for a moment.

        Raises:
            LimitExceeded: there is no room.
            LimitsUnavailable: a budget cannot be checked.
        """
        if not caller.end_user_limits:
            return HeldRoom([await self._of_key(caller, prompt_tokens, max_tokens, answers)])
        persons = await self._limiter.reserve(caller.for_end_user(end_user), prompt_tokens, max_tokens, answers)
        try:
            keys = await self._of_key(caller, prompt_tokens, max_tokens, answers)
        except BaseException:
            persons.release()
            raise
        return HeldRoom([keys, persons])

    async def _of_key(self, caller: Principal, prompt_tokens: int, max_tokens: int | None, answers: int) -> Reservation:
        reservation = await self._limiter.reserve(caller, prompt_tokens, max_tokens, answers)
        self._use.note(caller.id, reservation.standings)
        return reservation
