"""Leases of all workers of one service: their parent gives them, so that a backend's bound holds over all.

A question of a worker is answered at once, for who asks its parent waits only so long; what has to wait in the queue is
told when it comes to it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from itertools import count
from typing import Any, Final

from mlops_backend.errors import AppError, KeyQueueFull, NoUsableBackend, QueueFull, QueueTimedOut
from mlops_backend.services.llm.leases.leases import Leases
from mlops_backend.services.llm.leases.lessor import Asking, Bounds, Lease, Place, Standing, View
from mlops_backend.shared import Hears, Shared

USE: Final = "leases.use"
TAKE: Final = "leases.take"
HOLD: Final = "leases.hold"
WAIT: Final = "leases.wait"
GRANTED: Final = "leases.granted"
REFUSED: Final = "leases.refused"
GIVEN_BACK: Final = "leases.given_back"
VIEW: Final = "leases.view"
_REFUSALS: Final = {kind.code: kind for kind in (QueueFull, KeyQueueFull, QueueTimedOut, NoUsableBackend)}

_Wait = tuple[int, list[str], str, float, bool, float, float]


class LeasesForWorkers:
    """The parent's side.

    Args:
        hears: takes the handlers of what workers ask and tell; who it is comes as the first argument of each.
        bounds: of the queue.
    """

    def __init__(self, hears: Hears, bounds: Bounds) -> None:
        self.leases = Leases(bounds)
        self._held: defaultdict[Any, dict[int, Lease]] = defaultdict(dict)
        self._waiting: defaultdict[Any, dict[int, asyncio.Task[None]]] = defaultdict(dict)
        hears.on(USE, lambda _, most: self.leases.use(most), dict[str, int | None])
        hears.on(TAKE, self._take, tuple[int, list[str]])
        hears.on(HOLD, self._hold, tuple[int, str])
        hears.on(WAIT, self._wait, _Wait)
        hears.on(GIVEN_BACK, self._given_back, int)
        hears.on(VIEW, self._view, str | None)

    def lose(self, worker: Any) -> None:
        """A worker is gone: what it held comes back, and nobody of it waits."""
        for task in self._waiting.pop(worker, {}).values():
            task.cancel()
        for lease in self._held.pop(worker, {}).values():
            lease.give_back()

    def _take(self, worker: Any, asked: tuple[int, list[str]]) -> str | None:
        number, names = asked
        lease = self.leases.at_once(names)
        return None if lease is None else self._keep(worker, number, lease)

    def _hold(self, worker: Any, told: tuple[int, str]) -> None:
        number, name = told
        self._keep(worker, number, self.leases.hold(name))

    def _wait(self, worker: Any, asked: _Wait) -> str | None:
        """The slot that has come free meanwhile, or `None`: it is in the queue now.

        Raises:
            QueueFull, KeyQueueFull: see `Leases.take`.
        """
        number, names, key, cost, batch, weight, waited = asked
        if (lease := self.leases.at_once(names)) is not None:
            return self._keep(worker, number, lease)
        self.leases.check_room(names, key)
        waiting = self._until_granted(worker, number, names, Asking(key, lambda: cost, batch, weight, waited))
        self._waiting[worker][number] = asyncio.create_task(waiting)
        return None

    async def _until_granted(self, worker: Any, number: int, names: Sequence[str], asking: Asking) -> None:
        try:
            lease = await self.leases.take(names, asking)
        except AppError as error:
            worker.tell(REFUSED, (number, error.code, error.message, error.headers))
        else:
            worker.tell(GRANTED, (number, self._keep(worker, number, lease)))
        finally:
            self._waiting.get(worker, {}).pop(number, None)  # of one that is lost nothing is kept

    def _keep(self, worker: Any, number: int, lease: Lease) -> str:
        self._held[worker][number] = lease
        return lease.name

    def _given_back(self, worker: Any, number: int) -> None:
        """What it holds, or waits for."""
        if (task := self._waiting[worker].pop(number, None)) is not None:
            task.cancel()
        if (lease := self._held[worker].pop(number, None)) is not None:
            lease.give_back()

    def _view(self, _: Any, key: str | None) -> tuple[int, list[Any], list[Any]]:
        places = [astuple(place) for place in self.leases.places(key)]
        backends = [(each.name, each.taken, each.most, each.waiting) for each in self.leases.standing()]
        return len(self.leases), places, backends


class WorkersLeases:
    """A worker's side. What has no bound needs no parent.

    Args:
        bounds: of the queue.
        shared: leads to the parent.
    """

    def __init__(self, bounds: Bounds, shared: Shared) -> None:
        self.bounds = bounds
        self._parent = shared.parent
        self._own = Leases(bounds)
        self._unbounded: set[str] = set()
        self._most: dict[str, int | None] = {}
        self._held: Counter[str] = Counter()
        self._numbers = count(1)
        self._granted: dict[int, asyncio.Future[str]] = {}
        self._waiting = 0
        shared.hears.on(GRANTED, self._on_granted, tuple[int, str])
        shared.hears.on(REFUSED, self._on_refused, tuple[int, str, str, dict[str, str]])

    def __len__(self) -> int:
        """How many of this worker wait."""
        return self._waiting

    def use(self, most: dict[str, int | None]) -> None:
        """See `Leases.use`."""
        self._most = dict(most)
        self._unbounded = {name for name, bound in most.items() if bound is None}
        self._own.use(dict.fromkeys(self._unbounded))
        self._parent.tell(USE, most)

    def taken(self, name: str) -> int:
        """How many leases of a backend this worker has."""
        return self._held[name] + self._own.taken(name)

    def most(self, name: str) -> int | None:
        """See `Leases.most`."""
        return self._most.get(name)

    def at_once(self, names: Sequence[str]) -> Lease | None:
        """A lease of the first of these backends if that has no bound; of one that has the parent knows."""
        return self._own.at_once(names[:1]) if self._unbounded.issuperset(names[:1]) else None

    async def take(self, names: Sequence[str], asking: Asking) -> Lease:
        """See `Leases.take`.

        Raises:
            Unavailable: the parent does not answer.
        """
        number = next(self._numbers)
        # No local name is given to it; see `Leases`.
        self._granted[number] = asyncio.get_running_loop().create_future()
        try:
            name = await self._parent.ask(TAKE, (number, list(names)))
            if name is None:
                name = await self._queued(number, names, asking)
        except BaseException:
            self._parent.tell(GIVEN_BACK, number)  # it may have come to it meanwhile
            raise
        finally:
            del self._granted[number]
        return self._given(name, number)

    def hold(self, name: str) -> Lease:
        """See `Leases.hold`."""
        if name in self._unbounded:
            return self._own.hold(name)
        number = next(self._numbers)
        self._parent.tell(HOLD, (number, name))
        return self._given(name, number)

    def _given(self, name: str, number: int) -> Lease:
        self._held[name] += 1
        return Lease(name, partial(self._give_back, name, number))

    def _give_back(self, name: str, number: int) -> None:
        self._held[name] -= 1
        if not self._held[name]:
            del self._held[name]
        self._parent.tell(GIVEN_BACK, number)

    async def view(self, key: str | None) -> View:
        """See `Leases.view`.

        Raises:
            Unavailable: the parent does not answer.
        """
        waiting, places, backends = await self._parent.ask(VIEW, key)
        free = [Standing(name, self.taken(name), None, 0) for name in self._most if name in self._unbounded]
        bounded = [Standing(*each) for each in backends if each[0] not in self._unbounded]
        return View(waiting, [Place(*each) for each in places], [*bounded, *free])

    async def open(self) -> None:
        """The parent is there for as long as the worker."""

    async def aclose(self) -> None:
        """See `open`."""

    async def _queued(self, number: int, names: Sequence[str], asking: Asking) -> str:
        self._waiting += 1
        try:
            cost = max(1.0, asking.cost())
            asked = (number, list(names), asking.key, cost, asking.batch, asking.weight, asking.waited)
            name: str | None = await self._parent.ask(WAIT, asked)
            return await self._granted[number] if name is None else name
        finally:
            self._waiting -= 1

    def _on_granted(self, _: object, told: tuple[int, str]) -> None:
        number, name = told
        if (granted := self._granted.get(number)) is not None and not granted.done():
            granted.set_result(name)

    def _on_refused(self, _: object, told: tuple[int, str, str, dict[str, str]]) -> None:
        number, code, message, headers = told
        if (granted := self._granted.get(number)) is not None and not granted.done():
            granted.set_exception(_REFUSALS[code](message, headers=headers))
