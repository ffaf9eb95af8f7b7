"""Counters of all workers of one service, kept by their parent: what a worker has of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mlops_backend.days import UTC_DAYS, Calendar
from mlops_backend.errors import Unavailable
from mlops_backend.principal import Principal
from mlops_backend.services.other.limits.charge import Charge, nothing, whole_tokens
from mlops_backend.services.other.limits.decision import Seen, Standing, exceeded, standings
from mlops_backend.services.other.limits.limiter import UNLIMITED, Reservation, Seed, WithoutRedis
from mlops_backend.services.other.limits.parent_counters import LOOK, RELEASE, RESERVE, SETTLE, TAKE, USED
from mlops_backend.services.other.limits.pricing import price
from mlops_backend.services.other.limits.seeds import Seeds
from mlops_backend.services.other.limits.windows import windows_at
from mlops_backend.shared import Shared


class ParentReservation:
    """What one generation took; the parent is told how it ends."""

    def __init__(self, shared: Shared, number: int, charge: Charge, tokens: int, known: Sequence[Standing]) -> None:
        self.standings = known
        self.output = charge.cut_output(tokens)
        self._shared, self._number = shared, number
        self._open = True

    def settle(self, tokens: int) -> None:
        """The generation took so many tokens."""
        self._end(SETTLE, (self._number, whole_tokens(tokens)))

    def release(self) -> None:
        """The generation never began."""
        self._end(RELEASE, self._number)

    def _end(self, name: str, what: Any) -> None:
        if self._open:
            self._open = False
            self._shared.parent.tell(name, what)


class ParentLimiter(WithoutRedis):
    """Limits of all workers together: exact, and gone with their parent, save what the ledger knows.

    Args:
        shared: leads to the parent.
        seed: the ledger, as far as this worker knows it; the parent asks for it.
        default_reserve: the output that is set aside where none is named.
        calendar: the days and months of budgets; the parent has the same.
    """

    def __init__(self, shared: Shared, seed: Seed, *, default_reserve: int, calendar: Calendar = UTC_DAYS) -> None:
        self._calendar = calendar
        self._shared = shared
        self._seeds = Seeds(seed)
        self._default_reserve = default_reserve
        self._number = 0
        self.failed_open = self.failed_closed = 0
        shared.hears.on(USED, self._used, tuple[str, int])

    async def reserve(
        self, principal: Principal, prompt_tokens: int, max_tokens: int | None, answers: int = 1
    ) -> Reservation:
        """Take what a generation may need from every limit of its key, or nothing from any."""
        if not principal.limits:
            return UNLIMITED
        charge = price(principal, prompt_tokens, max_tokens, self._default_reserve, answers)
        self._number = number = self._number + 1
        try:
            admitted, tokens, is_open, seen = await self._shared.parent.ask(RESERVE, (number, charge))
        except asyncio.CancelledError:
            self._shared.parent.tell(RELEASE, number)
            raise
        except Unavailable:
            self.failed_closed += 1
            raise
        if is_open:
            self.failed_open += 1
            charge = charge.without_budgets()
        found = Seen(*seen)
        windows = windows_at(found.now, self._calendar)
        if not admitted:
            raise exceeded(charge, found, windows)
        return ParentReservation(self._shared, number, charge, tokens, standings(charge, found, windows))

    async def look(self, principal: Principal) -> Sequence[Standing]:
        """How a key stands with its limits at this moment."""
        if not principal.limits:
            return ()
        charge = nothing(principal)
        seen = Seen(*await self._shared.parent.ask(LOOK, charge))
        return standings(charge, seen, windows_at(seen.now, self._calendar))

    async def take(self, principal_id: str, route: str, cost: int, room: int) -> tuple[int, int] | None:
        """Take `cost` from a route's rate if it fits: the time and the arrival time found."""
        now, found = await self._shared.parent.ask(TAKE, (principal_id, route, cost, room))
        return now, found

    async def _used(self, _: object, asked: tuple[str, int]) -> int:
        principal_id, start = asked
        return await self._seeds.used(principal_id, start)
