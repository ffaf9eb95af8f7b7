"""Counters that several processes share."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from redis.exceptions import RedisError

from mlops_backend.days import UTC_DAYS, Calendar
from mlops_backend.errors import AppError, LimitsUnavailable
from mlops_backend.principal import Principal
from mlops_backend.redis_clients import REDIS_ERRORS
from mlops_backend.redis_link import Steps
from mlops_backend.services.other.limits import script
from mlops_backend.services.other.limits.charge import Charge, cost_of, nothing, whole_tokens
from mlops_backend.services.other.limits.decision import Standing, exceeded, standings
from mlops_backend.services.other.limits.limiter import UNLIMITED, NoSeed, Reservation, Seed
from mlops_backend.services.other.limits.pricing import price
from mlops_backend.services.other.limits.redis_store import LIFE, Answer, RedisStore, Settlement
from mlops_backend.services.other.limits.seeds import Seeds
from mlops_backend.services.other.limits.upkeep import Upkeep
from mlops_backend.services.other.limits.windows import Windows, windows_at

# One for each window that has to be begun, one for a clock that is not Redis's, and some to spare.
_ATTEMPTS: Final = 8
_Ask: TypeAlias = Callable[[Charge, Windows], Awaitable[Answer]]
_Begin: TypeAlias = Callable[[Charge, Windows, Sequence[str]], Awaitable[Charge]]
_UNREACHABLE: Final = "The budget of this key cannot be checked at present: its counters cannot be reached."


class RedisReservation:
    """What one generation took; how it ends is sent to Redis later."""

    def __init__(
        self, upkeep: Upkeep, charge: Charge, reservation: str, tokens: int, known: Sequence[Standing]
    ) -> None:
        self.standings = known
        self.output = charge.cut_output(tokens)
        self._upkeep, self._charge, self._id = upkeep, charge, reservation
        self._open = True
        upkeep.opened(reservation, charge.principal_id)

    def settle(self, tokens: int) -> None:
        """The generation took so many tokens."""
        used = whole_tokens(tokens)
        cost = cost_of(self._charge.limits.tokens, used)
        self._end(Settlement(self._charge.principal_id, self._id, used, cost))

    def release(self) -> None:
        """The generation never began."""
        self._end(Settlement(self._charge.principal_id, self._id, released=True))

    def _end(self, settlement: Settlement) -> None:
        if self._open:
            self._open = False
            self._upkeep.ended(settlement)


class RedisLimiter:
    """Limits of all processes together: exact while Redis answers.

    While it does not, rates and `concurrent` let everything pass, and budgets nothing unless `budgets_fail_open`.
    """

    def __init__(
        self,
        url: str,
        seed: Seed | None = None,
        *,
        default_reserve: int,
        budgets_fail_open: bool = False,
        clock: Callable[[], int] | None = None,
        life: int = LIFE,
        calendar: Calendar = UTC_DAYS,
    ) -> None:
        self._calendar = calendar
        self._store = RedisStore(url, clock=clock, life=life)
        self._upkeep = Upkeep(self._store)
        self._seeds = Seeds(seed or NoSeed())
        self._default_reserve = default_reserve
        self._budgets_fail_open = budgets_fail_open
        self._steps = Steps()
        self.failed_open = self.failed_closed = 0

    @property
    def redis_up(self) -> bool:
        """Whether Redis is asked at present."""
        return self._upkeep.up

    @property
    def redis_trouble(self) -> str:
        """Why not, in words for the operator; empty while it is."""
        return self._upkeep.trouble

    @property
    def pending_settlements(self) -> int:
        """Ends of reservations that Redis doesn't know of yet."""
        return self._upkeep.pending

    @property
    def dropped_settlements(self) -> int:
        """Ends of reservations that Redis will never be told."""
        return self._upkeep.dropped

    async def open(self) -> None:
        """Look for Redis, and start what runs beside the requests."""
        await self._upkeep.start()

    async def aclose(self) -> None:
        """Settle what is left, and close the connections."""
        await self._steps.finish()
        await self._upkeep.aclose()
        await self._store.aclose()

    async def reserve(
        self, principal: Principal, prompt_tokens: int, max_tokens: int | None, answers: int = 1
    ) -> Reservation:
        """Take what a generation may need from every limit of its key, or nothing from any."""
        if not principal.limits:
            return UNLIMITED
        charge = price(principal, prompt_tokens, max_tokens, self._default_reserve, answers)
        if not self._upkeep.up:
            return self._without_redis(charge)
        taking = self._steps.start(self._reserved(charge))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(_release)
            raise

    async def look(self, principal: Principal) -> Sequence[Standing]:
        """How a key stands with its limits at this moment."""
        if not principal.limits:
            return ()
        if not self._upkeep.up:
            raise LimitsUnavailable(_UNREACHABLE)
        try:
            return await asyncio.shield(self._steps.start(self._looked(nothing(principal))))
        except REDIS_ERRORS as error:
            self._upkeep.failed(error)
            raise LimitsUnavailable(_UNREACHABLE) from error

    async def _looked(self, charge: Charge) -> Sequence[Standing]:
        _, answer = await self._answer(charge, self._store.look, self._begun)
        if answer.seen is None:
            raise LimitsUnavailable(_UNREACHABLE)
        return standings(charge, answer.seen, self._windows(answer.now))

    async def take(self, principal_id: str, route: str, cost: int, room: int) -> tuple[int, int] | None:
        """Take `cost` from a route's rate if it fits: the time and the arrival time found; `None`: nobody knows."""
        if self._upkeep.up:
            try:
                return await asyncio.shield(self._steps.start(self._taken(principal_id, route, cost, room)))
            except REDIS_ERRORS as error:
                self._upkeep.failed(error)
        self.failed_open += 1
        return None

    async def _taken(self, principal_id: str, route: str, cost: int, room: int) -> tuple[int, int]:
        async with self._steps.turns:
            return await self._store.take(principal_id, route, cost, room)

    async def _reserved(self, charge: Charge) -> Reservation:
        reservation = secrets.token_hex(8)

        async def ask(asked: Charge, windows: Windows) -> Answer:
            return await self._store.reserve(asked, reservation, windows)

        try:
            charge, answer = await self._answer(charge, ask, self._seeded)
        except REDIS_ERRORS as error:
            self._upkeep.ended(Settlement(charge.principal_id, reservation, released=True, given_up=True))
            self._upkeep.failed(error)
            return self._without_redis(charge)
        if answer.seen is None:
            return self._without_redis(charge)
        if answer.code == script.REFUSED:
            raise exceeded(charge, answer.seen, self._windows(answer.now))
        known = standings(charge, answer.seen, self._windows(answer.now))
        return RedisReservation(self._upkeep, charge, reservation, answer.tokens, known)

    def _windows(self, now: int) -> Windows:
        return windows_at(now, self._calendar)

    async def _answer(self, charge: Charge, ask: _Ask, begin: _Begin) -> tuple[Charge, Answer]:
        """What Redis says, once the counters of the windows exist in it; and the charge that it was asked for."""
        windows = self._windows(self._store.now())
        for _ in range(_ATTEMPTS):
            async with self._steps.turns:
                if not self._upkeep.up:
                    raise RedisError("went down while this waited for its turn")
                answer = await ask(charge, windows)
            if answer.code == script.OTHER_WINDOWS:
                windows = self._windows(answer.now)
            elif answer.code == script.UNSEEDED:
                charge = await begin(charge, windows, answer.missing)
            else:
                return charge, answer
        raise RedisError("the counters of a window vanish as soon as they are made")

    async def _seeded(self, charge: Charge, windows: Windows, missing: Sequence[str]) -> Charge:
        """The same charge once its counters exist; one without budgets where they can't, if that is wanted."""
        try:
            return await self._begun(charge, windows, missing)
        except AppError:
            if self._budgets_fail_open:
                self.failed_open += 1
                return charge.without_budgets()
            self.failed_closed += 1
            raise

    async def _begun(self, charge: Charge, windows: Windows, missing: Sequence[str]) -> Charge:
        for name in missing:
            start = getattr(windows, name).start
            tokens = whole_tokens(await self._seeds.used(charge.principal_id, start))
            async with self._steps.turns:
                await self._store.seed(charge.principal_id, name, start, tokens)
        return charge

    def _without_redis(self, charge: Charge) -> Reservation:
        limits = charge.limits
        budgeted = limits.tokens_per_day is not None or limits.tokens_per_month is not None
        if budgeted and not self._budgets_fail_open:
            self.failed_closed += 1
            raise LimitsUnavailable(_UNREACHABLE)
        self.failed_open += 1
        return UNLIMITED


def _release(taking: asyncio.Task[Reservation]) -> None:
    if not taking.cancelled() and taking.exception() is None:
        taking.result().release()
