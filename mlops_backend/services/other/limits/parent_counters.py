"""Counters of all workers of one service, kept by their parent: the parent's side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from mlops_backend.days import UTC_DAYS, Calendar
from mlops_backend.services.other.limits.account import MemoryReservation
from mlops_backend.services.other.limits.charge import Charge
from mlops_backend.services.other.limits.decision import Seen
from mlops_backend.services.other.limits.limiter import Seed
from mlops_backend.services.other.limits.memory import MemoryLimiter
from mlops_backend.services.other.limits.windows import wall_clock
from mlops_backend.shared import Hears

RESERVE: Final = "limits.reserve"
SETTLE: Final = "limits.settle"
RELEASE: Final = "limits.release"
TAKE: Final = "limits.take"
LOOK: Final = "limits.look"
USED: Final = "limits.used"

# Whether it was admitted, its tokens, whether budgets were passed over, and the counters.
Answer: TypeAlias = tuple[bool, int, bool, Seen]


class ParentCounters:
    """A limiter in memory that workers ask; it knows what each of them holds, and takes it back when one is gone.

    Args:
        hears: takes the handlers of what workers ask and tell; who says it is known by the first argument of each.
        seed: what a key has used before.
        budgets_fail_open: pass over budgets that cannot be checked.
        clock: microseconds since the epoch.
        calendar: the days and months of budgets.
    """

    def __init__(
        self,
        hears: Hears,
        seed: Seed,
        *,
        budgets_fail_open: bool = False,
        clock: Callable[[], int] = wall_clock,
        calendar: Calendar = UTC_DAYS,
    ) -> None:
        # What to reserve where nothing is named is for the workers to say.
        choices: dict[str, Any] = {"budgets_fail_open": budgets_fail_open, "clock": clock, "calendar": calendar}
        self.limiter = MemoryLimiter(seed, default_reserve=0, **choices)
        self._held: defaultdict[object, dict[int, MemoryReservation]] = defaultdict(dict)
        self._waiting: defaultdict[object, set[int]] = defaultdict(set)
        hears.on(RESERVE, self._reserve, tuple[int, Charge])
        hears.on(SETTLE, self._settle, tuple[int, int])
        hears.on(RELEASE, self._release, int)
        hears.on(TAKE, self._take, tuple[str, str, int, int])
        hears.on(LOOK, self._look, Charge)

    def lose(self, worker: object) -> None:
        """A worker is gone: what its generations hold comes back, and their requests stay counted."""
        self._waiting.pop(worker, None)
        for reservation in self._held.pop(worker, {}).values():
            reservation.settle(0)

    def _reserve(self, worker: object, asked: tuple[int, Charge]) -> Answer | Coroutine[Any, Any, Answer]:
        number, charge = asked
        found = self.limiter.at_once(charge)
        if found is not None:
            return self._noted(worker, number, *found)
        self._waiting[worker].add(number)  # a release may come before the other way begins
        return self._reserve_later(worker, number, charge)

    async def _reserve_later(self, worker: object, number: int, charge: Charge) -> Answer:
        """Once the counters are begun; for whoever has left meanwhile nothing is taken in the end."""
        asked, waiting = charge, self._waiting[worker]
        try:
            while (found := self.limiter.at_once(charge)) is None:
                charge = await self.limiter.begun(charge)
            answer = self._noted(worker, number, *found, is_open=charge is not asked)
            if number not in waiting:
                self._release(worker, number)
            return answer
        finally:
            waiting.discard(number)

    def _noted(
        self, worker: object, number: int, reservation: MemoryReservation | None, seen: Seen, *, is_open: bool = False
    ) -> Answer:
        if reservation is None:
            return False, 0, is_open, seen
        self._held[worker][number] = reservation
        return True, reservation.tokens, is_open, seen

    def _settle(self, worker: object, ended: tuple[int, int]) -> None:
        number, tokens = ended
        if (reservation := self._held[worker].pop(number, None)) is not None:
            reservation.settle(tokens)

    def _release(self, worker: object, number: int) -> None:
        self._waiting[worker].discard(number)
        if (reservation := self._held[worker].pop(number, None)) is not None:
            reservation.release()

    def _take(self, _: object, asked: tuple[str, str, int, int]) -> tuple[int, int]:
        return self.limiter.take_at_once(*asked)

    async def _look(self, _: object, charge: Charge) -> Seen:
        return await self.limiter.seen(charge)
