"""Leases: the right to a slot of a backend, for as long as a generation lives, and the queue of those who wait for one.

A backend without a bound gives a lease to whoever asks; then a lease is two additions. One with a bound of its own
(`max_concurrency`) has so many slots, and who finds none free waits in the fair queue. A slot that comes free is handed
to who is next before anybody else can ask for it, so nobody overtakes the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic

from mlops_backend.services.llm.leases.fair_queue import FairQueue, Ticket
from mlops_backend.services.llm.leases.lessor import Asking, Bounds, Lease, Place, Standing, View
from mlops_backend.services.llm.leases.pace import Pace
from mlops_backend.services.llm.leases.refusals import key_queue_full, queue_full, taken_away, timed_out


@dataclass(eq=False, slots=True)
class _Slots:
    """Those of one backend; `most` is `None` where it has no bound."""

    most: int | None = None
    taken: int = 0

    @property
    def has_room(self) -> bool:
        return self.most is None or self.taken < self.most


class Leases:
    """The slots of every backend, and who waits for them.

    Args:
        bounds: of the queue.
        clock: seconds that only grow.
    """

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = monotonic) -> None:
        self.bounds = bounds
        self._clock = clock
        self._slots: dict[str, _Slots] = {}
        self._queue = FairQueue(bounds.aged_after)
        self._granted: dict[Ticket, asyncio.Future[Lease]] = {}
        self._pace = Pace()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._queue)

    def use(self, most: dict[str, int | None]) -> None:
        """Set the bound of each backend, by its name, and take those away that are not named.

        Who has a lease keeps it, who waits may have one now, and who waits for none that is left waits in vain.
        """
        for name in self._slots.keys() - most.keys():
            self._slots[name].most = 0
            self._forget(name)
        for name, bound in most.items():
            self._slots.setdefault(name, _Slots()).most = bound
            self._serve(name)
        for ticket in [ticket for ticket in self._queue.waiting() if not ticket.slots & most.keys()]:
            self._queue.drop(ticket)
            if not (granted := self._granted[ticket]).done():
                granted.set_exception(taken_away())

    def taken(self, name: str) -> int:
        """How many leases a backend has given."""
        slots = self._slots.get(name)
        return slots.taken if slots is not None else 0

    def most(self, name: str) -> int | None:
        """How many leases it may give; `None`: as many as come."""
        slots = self._slots.get(name)
        return slots.most if slots is not None else None

    def has_room(self, name: str) -> bool:
        """Whether a lease of it is to be had at once; of one that is not there who asks for it has yet to hear."""
        slots = self._slots.get(name)
        return slots is not None and slots.has_room

    async def take(self, names: Sequence[str], asking: Asking) -> Lease:
        """A lease of one of these backends, the first that has room; where none has, of the first that comes to have.

        Raises:
            QueueFull: too many wait already.
            KeyQueueFull: too many of this key do.
            QueueTimedOut: it did not come to this one in time.
        """
        return self.at_once(names) or await self._wait(frozenset(names), asking)

    def at_once(self, names: Sequence[str]) -> Lease | None:
        """A lease of the first of these backends that has room; `None` where none has."""
        for name in names:
            if self.has_room(name):
                return self._given(name)
        return None

    def hold(self, name: str) -> Lease:
        """A lease that was given elsewhere; it counts, however many there are."""
        self._slots.setdefault(name, _Slots(0))
        return self._given(name)

    def _gave_back(self, name: str, began: float) -> None:
        self._pace.ended(name, self._clock() - began)
        self._slots[name].taken -= 1
        self._serve(name)
        self._forget(name)

    async def view(self, key: str | None) -> View:
        """The queue, and where a key's own stand, or everybody's with `None`."""
        return View(len(self._queue), self.places(key), list(self.standing()))

    async def open(self) -> None:
        """Nothing is held."""

    async def aclose(self) -> None:
        """See `open`."""

    def places(self, key: str | None) -> list[Place]:
        """Where a key's own stand, or everybody's with `None`."""
        now = self._clock()
        found = []
        for slots in {ticket.slots for ticket in self._queue.waiting() if key in (None, ticket.key)}:
            for ahead, ticket in enumerate(self._queue.in_order(slots)):
                if key in (None, ticket.key) and ticket.slots == slots:
                    expected = self._expected(slots, ahead)
                    found.append(Place(ticket.batch, ahead, now - ticket.since, expected, ticket.key))
        return found

    def standing(self) -> Iterator[Standing]:
        """How each backend's slots are."""
        waiting = list(self._queue.waiting())
        for name, slots in self._slots.items():
            yield Standing(name, slots.taken, slots.most, sum(name in ticket.slots for ticket in waiting))

    def check_room(self, names: Sequence[str], key: str) -> None:
        """See whether one more may wait.

        Raises:
            QueueFull, KeyQueueFull: see `take`.
        """
        self._check_room(frozenset(names), key)

    async def _wait(self, names: frozenset[str], asking: Asking) -> Lease:
        self._check_room(names, asking.key)
        cost, since = max(1.0, asking.cost()), self._clock() - asking.waited
        ticket = Ticket(asking.key, names, cost, since, batch=asking.batch, weight=asking.weight)
        # No local name is given to it: an error that it brings would know itself by this frame, and what was asked.
        self._granted[ticket] = asyncio.get_running_loop().create_future()
        self._queue.put(ticket)
        try:
            async with asyncio.timeout(max(0.0, self.bounds.seconds - asking.waited)):
                return await self._granted[ticket]
        except TimeoutError:
            self._forgo(self._granted[ticket])
            raise timed_out(self._expected(names, len(self._queue))) from None
        except asyncio.CancelledError:
            self._forgo(self._granted[ticket])
            raise
        finally:
            self._queue.drop(ticket)
            del self._granted[ticket]

    def _check_room(self, names: frozenset[str], key: str) -> None:
        if (own := self._queue.of_key(key)) >= self.bounds.of_key:
            raise key_queue_full(self.bounds.of_key, self._expected(names, own))
        if len(self._queue) >= self.bounds.waiting:
            raise queue_full(self._expected(names, len(self._queue)))

    def _given(self, name: str) -> Lease:
        self._slots[name].taken += 1
        return Lease(name, partial(self._gave_back, name, self._clock()))

    def _serve(self, name: str) -> None:
        """Hand the slots that are free to who is next."""
        slots = self._slots[name]
        while slots.has_room and (ticket := self._queue.take(name, self._clock())) is not None:
            granted = self._granted[ticket]
            if not granted.done():
                granted.set_result(self._given(name))

    def _forget(self, name: str) -> None:
        """Let go of a backend that was taken away, once nothing runs there."""
        slots = self._slots[name]
        if slots.most == 0 and not slots.taken:
            del self._slots[name]

    @staticmethod
    def _forgo(granted: asyncio.Future[Lease]) -> None:
        """Give back what was granted to one that left in the same turn of the loop."""
        if granted.done() and not granted.cancelled() and granted.exception() is None:
            granted.result().give_back()

    def _expected(self, names: frozenset[str], ahead: int) -> float:
        """Seconds until it comes to one with so many before it, by what the last generations took."""
        slots = sum(self._slots[name].most or 1 for name in names if name in self._slots)
        return self._pace.expected(names, slots, ahead)
