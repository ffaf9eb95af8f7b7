"""The limits of keys, as inference knows them."""

from __future__ import annotations

from collections.abc import Mapping

from mlops_backend.principal import Principal
from mlops_backend.services.other.limits import Limiter, Reservation, headers


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
    """Reserves from the limiter what a generation may use."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def reserve(
        self, caller: Principal, prompt_tokens: int, max_tokens: int | None, answers: int = 1
    ) -> HeldRoom:
        """Take room for one generation; see `services.llm.generation.metering.Meter`.

        Raises:
            LimitExceeded: there is no room.
            LimitsUnavailable: a budget cannot be checked.
        """
        return HeldRoom(await self._limiter.reserve(caller, prompt_tokens, max_tokens, answers))
