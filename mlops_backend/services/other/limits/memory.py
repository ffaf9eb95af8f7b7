"""Counters of one process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, TypeVar

from mlops_backend.days import UTC_DAYS, Calendar
from mlops_backend.errors import AppError
from mlops_backend.principal import Principal, person_in
from mlops_backend.services.other.limits.account import Account, MemoryReservation, taken, unseeded
from mlops_backend.services.other.limits.charge import Charge, nothing, whole_tokens
from mlops_backend.services.other.limits.decision import Seen, Standing, exceeded, standings
from mlops_backend.services.other.limits.limiter import UNLIMITED, NoSeed, Reservation, Seed, WithoutRedis
from mlops_backend.services.other.limits.pricing import price
from mlops_backend.services.other.limits.seeds import Seeds
from mlops_backend.services.other.limits.windows import SECOND, Windows, wall_clock, windows_at

# About a kilobyte each.
MOST_PEOPLE: Final = 20_000
_LOOKED_AT: Final = 2
# A clock that goes back by less is waited for.
_STEP: Final = SECOND
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class MemoryLimiter(WithoutRedis):
    """Limits of one process: exact, and gone with it, save what the ledger knows."""

    def __init__(
        self,
        seed: Seed | None = None,
        *,
        default_reserve: int,
        budgets_fail_open: bool = False,
        clock: Callable[[], int] = wall_clock,
        calendar: Calendar = UTC_DAYS,
    ) -> None:
        self._calendar = calendar
        self._seeds = Seeds(seed or NoSeed())
        self._default_reserve = default_reserve
        self._budgets_fail_open = budgets_fail_open
        self._clock = clock
        self._latest = 0
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._people: OrderedDict[str, Account] = OrderedDict()
        self._routes: OrderedDict[tuple[str, str], int] = OrderedDict()
        self.failed_open = self.failed_closed = 0

    def windows(self, now: int) -> Windows:
        """The day and the month of a moment."""
        return windows_at(now, self._calendar)

    async def reserve(
        self, principal: Principal, prompt_tokens: int, max_tokens: int | None, answers: int = 1
    ) -> Reservation:
        """Take what a generation may need from every limit of its key, or nothing from any."""
        if not principal.limits:
            return UNLIMITED
        charge = price(principal, prompt_tokens, max_tokens, self._default_reserve, answers)
        while (found := self.at_once(charge)) is None:
            charge = await self.begun(charge)
        reservation, seen = found
        if reservation is None:
            raise exceeded(charge, seen, self.windows(seen.now))
        reservation.standings = standings(charge, seen, self.windows(seen.now))
        return reservation

    def at_once(self, charge: Charge) -> tuple[MemoryReservation | None, Seen] | None:
        """What comes of a charge, and the counters then; `None` while a counter of its budgets has to be begun."""
        now = self._now()
        account = self._account(charge.principal_id, now)
        windows = self.windows(now)
        return None if unseeded(charge, account, windows) else taken(account, charge, now, windows)

    async def look(self, principal: Principal) -> Sequence[Standing]:
        """How a key stands with its limits at this moment."""
        if not principal.limits:
            return ()
        charge = nothing(principal)
        seen = await self.seen(charge)
        return standings(charge, seen, self.windows(seen.now))

    async def seen(self, charge: Charge) -> Seen:
        """The counters that a charge would count against.

        Raises:
            AppError: those of its budgets cannot be begun.
        """
        while (seen := self._seen_at_once(charge)) is None:
            await self._begin(charge)
        return seen

    def _seen_at_once(self, charge: Charge) -> Seen | None:
        now = self._now()
        account, windows = self._account(charge.principal_id, now), self.windows(now)
        if unseeded(charge, account, windows):
            return None
        account.follow(charge.limits, now)
        return account.seen(now, windows)

    async def begun(self, charge: Charge) -> Charge:
        """The same charge once its counters exist; one without budgets where they can't, if that is wanted.

        Raises:
            AppError: they can't.
        """
        try:
            await self._begin(charge)
        except AppError:
            if self._budgets_fail_open:
                self.failed_open += 1
                return charge.without_budgets()
            self.failed_closed += 1
            raise
        return charge

    async def _begin(self, charge: Charge) -> None:
        now = self._now()
        for window in unseeded(charge, self._account(charge.principal_id, now), self.windows(now)):
            tokens = whole_tokens(await self._seeds.used(charge.principal_id, window.start))
            account = self._account(charge.principal_id, self._now())
            account.used.setdefault(window, tokens)

    async def take(self, principal_id: str, route: str, cost: int, room: int) -> tuple[int, int] | None:
        """Take `cost` from a route's rate if it fits: the time now and the arrival time found."""
        return self.take_at_once(principal_id, route, cost, room)

    def take_at_once(self, principal_id: str, route: str, cost: int, room: int) -> tuple[int, int]:
        """The same, for which nobody waits."""
        now = self._now()
        _sweep(self._routes, lambda tat: tat <= now)
        found = self._routes.get((principal_id, route), 0)
        if found > now + room:  # the rate was another one when it was counted
            found = self._routes[principal_id, route] = now + room
        if max(found, now) + cost <= now + room:
            self._routes[principal_id, route] = max(found, now) + cost
        return now, found

    def _now(self) -> int:
        """The time. A clock that was ahead and is set right would keep keys out until it comes there once more."""
        now = self._clock()
        if (by := self._latest - now) > _STEP:
            self._latest = now
            for account in (*self._accounts.values(), *self._people.values()):
                account.set_back(by)
            for route, arrival in self._routes.items():
                self._routes[route] = max(0, arrival - by)
        self._latest = max(self._latest, now)
        return now

    def _account(self, principal_id: str, now: int) -> Account:
        if person_in(principal_id)[1] is not None:
            _sweep(self._people, lambda account: account.means_nothing(now) or self._are_many(account))
            return self._people.setdefault(principal_id, Account())
        _sweep(self._accounts, lambda account: account.means_nothing(now))
        return self._accounts.setdefault(principal_id, Account())

    def _are_many(self, account: Account) -> bool:
        """Whether an account has to make room: a client may invent people, and the ledger knows what they used."""
        return len(self._people) > MOST_PEOPLE and not account.open


def _sweep(items: OrderedDict[_Key, _Value], idle: Callable[[_Value], bool]) -> None:
    """Look at the next few, and drop the idle: more are looked at than come, so all are in time."""
    for key in list(islice(items, _LOOKED_AT)):
        if idle(items[key]):
            del items[key]
        else:
            items.move_to_end(key)
