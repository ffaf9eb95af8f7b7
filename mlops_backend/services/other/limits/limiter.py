"""What a limiter is, whoever keeps the counters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from mlops_backend.principal import Principal
from mlops_backend.services.other.limits.decision import Standing


class Seed(Protocol):
    """What the ledger knows of the past, for a counter that does not exist yet."""

    async def used(self, principal_id: str, since: datetime) -> int:
        """Tokens of the generations that this principal started at `since` or later.

        Raises:
            AppError: the ledger cannot be read.
        """
        ...


class Reservation(Protocol):
    """The room that one generation takes; it is ended once, whatever is called later does nothing."""

    @property
    def standings(self) -> Sequence[Standing]:
        """How the key stood with its limits when it was made."""
        ...

    @property
    def output(self) -> int | None:
        """The most that its answers may have together, where that is less than was asked for."""
        ...

    def settle(self, tokens: int) -> None:
        """The generation took so many tokens; its request stays counted."""
        ...

    def release(self) -> None:
        """The generation never began: everything comes back."""
        ...


class Limiter(Protocol):
    """Keeps the counters of all keys."""

    failed_open: int
    failed_closed: int

    @property
    def redis_up(self) -> bool:
        """Whether the counters that all processes share can be reached."""
        ...

    @property
    def redis_trouble(self) -> str:
        """Why not, in words for the operator; empty when they can."""
        ...

    @property
    def pending_settlements(self) -> int:
        """How many ends of generations are not counted yet."""
        ...

    @property
    def dropped_settlements(self) -> int:
        """How many never were."""
        ...

    async def open(self) -> None:
        """Start what runs beside the requests."""
        ...

    async def aclose(self) -> None:
        """Stop it, and settle what is left, within two seconds."""
        ...

    async def reserve(
        self, principal: Principal, prompt_tokens: int, max_tokens: int | None, answers: int = 1
    ) -> Reservation:
        """Take what a generation may need from every limit of its key, less where there is less; or nothing from any.

        Args:
            principal: whose limits.
            prompt_tokens: an estimate; all of it has to fit, and one token of each answer.
            max_tokens: the most that all answers may have together, `None` or less than zero where that is not said.
            answers: how many there will be.

        Raises:
            LimitExceeded: a limit is reached, or the request would never fit.
            LimitsUnavailable: a budget cannot be checked.
        """
        ...

    async def look(self, principal: Principal) -> Sequence[Standing]:
        """How a key stands with its limits at this moment; nothing is taken.

        Raises:
            LimitsUnavailable: nobody knows.
        """
        ...

    async def take(self, principal_id: str, route: str, cost: int, room: int) -> tuple[int, int] | None:
        """Take `cost` from a route's rate if it fits: the time and the arrival time found; `None`: nobody knows."""
        ...


class WithoutRedis:
    """What a limiter says whose counters are not in Redis: nothing is away, and nothing waits to be counted."""

    redis_up, redis_trouble = True, ""
    pending_settlements = dropped_settlements = 0

    async def open(self) -> None:
        """Nothing runs beside the requests."""

    async def aclose(self) -> None:
        """Nothing is left to settle."""


class NoSeed:
    """There is no ledger: every counter begins at nothing."""

    async def used(self, principal_id: str, since: datetime) -> int:
        """Nothing."""
        return 0


class Unlimited:
    """A reservation of a key without limits."""

    standings: Sequence[Standing] = ()
    output: int | None = None

    def settle(self, tokens: int) -> None:
        """Nothing was taken."""

    def release(self) -> None:
        """Nothing was taken."""


UNLIMITED: Final = Unlimited()
