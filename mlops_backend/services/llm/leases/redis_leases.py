"""Leases of all processes together, in Redis; while that is away, those of this process or its parent.

Each lease that Redis gives is held at the local lessor too, which therefore knows at any moment what this machine has:
when Redis goes away the local bounds hold at once. Who waits is moved then, and moved back when Redis has come back.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic
from typing import TypeVar

from mlops_backend.redis_clients import REDIS_ERRORS
from mlops_backend.redis_link import Steps
from mlops_backend.services.llm.leases import redis_script as script
from mlops_backend.services.llm.leases.lessor import Asking, Lease, Lessor, View
from mlops_backend.services.llm.leases.pace import Pace
from mlops_backend.services.llm.leases.redis_book import Answer, Forgotten, LeaseBook
from mlops_backend.services.llm.leases.redis_upkeep import Upkeep
from mlops_backend.services.llm.leases.redis_view import view_of
from mlops_backend.services.llm.leases.refusals import key_queue_full, queue_full, taken_away, timed_out

_Clock = Callable[[], float]
_Result = TypeVar("_Result")


@dataclass(eq=False, slots=True)
class _Wish:
    """One who wants a lease: the backends, what is asked of Redis, when, and what it says later."""

    names: Sequence[str]
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    epoch: int = 0
    asked: asyncio.Task[Answer] | None = None
    queued: bool = False
    granted: asyncio.Future[str | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class RedisLeases:
    """A lessor over all processes whose backends are called the same.

    Args:
        url: the address of Redis.
        local: gives leases of what has no bound, and all while Redis is away.
        clock: seconds that only grow.
        redis_clock: the time in seconds, where it is not that of Redis.
    """

    def __init__(
        self, url: str, local: Lessor, *, clock: _Clock = monotonic, redis_clock: _Clock | None = None
    ) -> None:
        self.bounds = local.bounds
        self._local, self._clock = local, clock
        self._most: dict[str, int | None] = {}
        self._unbounded: set[str] = set()
        self._wishes: dict[str, _Wish] = {}
        self._steps = Steps()
        self._pace = Pace()
        self._book = LeaseBook(url, local.bounds, clock=redis_clock)
        self._upkeep = Upkeep(self._book, self)
        self.held: dict[str, str] = {}
        self.without_redis = 0

    def __len__(self) -> int:
        """How many of this process wait."""
        return sum(wish.queued for wish in self._wishes.values()) + len(self._local)

    @property
    def redis_up(self) -> bool:
        """Whether Redis is asked at present."""
        return self._upkeep.up

    async def open(self) -> None:
        """Look for Redis, and start what runs beside the requests."""
        await self._upkeep.start()

    async def aclose(self) -> None:
        """Give back what is left in Redis, and close the connections."""
        await self._steps.finish()
        await self._upkeep.aclose()
        await self._book.aclose()

    def use(self, most: dict[str, int | None]) -> None:
        """See `Leases.use`. Of a bound that processes do not agree about the one that was told last holds."""
        self._most = dict(most)
        self._unbounded = {name for name, bound in most.items() if bound is None}
        self._local.use(most)
        for wish in self._wishes.values():
            if most.keys().isdisjoint(wish.names) and not wish.granted.done():
                wish.granted.set_exception(taken_away())
                wish.granted.exception()  # who has not come to wait for it yet will
        self._upkeep.use(most)

    def taken(self, name: str) -> int:
        """How many leases of a backend this process has."""
        return self._local.taken(name)

    def most(self, name: str) -> int | None:
        """See `Leases.most`."""
        return self._most.get(name)

    def hold(self, name: str) -> Lease:
        """See `Leases.hold`."""
        return self._keep(self._local.hold(name), None)

    def at_once(self, names: Sequence[str]) -> Lease | None:
        """See `Leases.at_once`; of what has a bound Redis knows, while it is there."""
        if self._unbounded.issuperset(names[:1]):
            return self._local.at_once(names[:1])
        if self._upkeep.up or (lease := self._local.at_once(names)) is None:
            return None
        return self._given_here(lease)

    async def take(self, names: Sequence[str], asking: Asking) -> Lease:
        """See `Leases.take`."""
        began, again, lease = self._clock(), False, None
        while lease is None:
            await self._upkeep.settled.wait()
            waits = replace(asking, waited=asking.waited + self._clock() - began) if again else asking
            if (lease := self.at_once(names)) is None:
                if self._upkeep.joined.is_set():
                    lease = await self._from_redis(names, waits, again=again)
                else:
                    lease = await self._from_here(names, waits)
            again = True
        return lease

    async def view(self, key: str | None) -> View:
        """See `Leases.view`."""
        if self._upkeep.joined.is_set():
            epoch = self._book.epoch
            try:
                page = await asyncio.shield(self._steps.start(self._in_turn(self._book.page)))
            except REDIS_ERRORS as error:
                self._failed(error, epoch)
            else:
                return view_of(page, self._most, self._local.taken, self._expected, key)
        return await self._local.view(key)

    def queued(self) -> list[str]:
        """See `Holder`."""
        return [wish.id for wish in self._wishes.values() if wish.queued]

    def granted(self, lease: str, name: str) -> None:
        """See `Holder`."""
        self._answer(lease, name)

    def lost(self, lease: str) -> None:
        """See `Holder`."""
        self._answer(lease, None)

    def _answer(self, lease: str, name: str | None) -> None:
        wish = self._wishes.get(lease)
        if wish is not None and not wish.granted.done():
            wish.granted.set_result(name)

    async def _from_redis(self, names: Sequence[str], asking: Asking, *, again: bool) -> Lease | None:
        """A lease, or `None` where it is to be asked for again: Redis has gone away, or come back as another one."""
        wish = _Wish(names)
        self._wishes[wish.id] = wish
        try:
            answer = await self._asked(wish, asking, again=again)
            name: str | None = answer.name
            if answer.code == script.QUEUED:
                name = await self._come(wish, asking, answer.waiting)
        except REDIS_ERRORS as error:
            self._failed(error, wish.epoch)
            return None
        except BaseException:
            self._forgo(wish)
            raise
        finally:
            del self._wishes[wish.id]
        if answer.code == script.UNBOUNDED:
            return self._local.at_once([answer.name])
        self._raise_for(answer, names)
        if name is None or wish.epoch != self._book.epoch or not self._upkeep.joined.is_set():
            return None
        return self._keep(self._local.hold(name), wish.id)

    async def _asked(self, wish: _Wish, asking: Asking, *, again: bool) -> Answer:
        """What Redis says; what a generation costs is reckoned only where it has to wait."""
        most = {name: self._most[name] for name in wish.names if name in self._most}
        if not most:
            raise taken_away()
        answer = await self._step(wish, lambda: self._book.take(wish.id, most))
        if answer.code == script.NO_ROOM:
            cost = max(1.0, asking.cost())
            answer = await self._step(wish, lambda: self._book.wait(wish.id, most, asking, cost, again=again))
        return answer

    async def _step(self, wish: _Wish, step: Callable[[], Awaitable[Answer]]) -> Answer:
        def asked() -> Awaitable[Answer]:
            wish.epoch = self._book.epoch
            return step()

        wish.asked = self._steps.start(self._in_turn(asked))
        return await asyncio.shield(wish.asked)

    async def _in_turn(self, step: Callable[[], Awaitable[_Result]]) -> _Result:
        async with self._steps.turns:
            if not self._upkeep.joined.is_set():
                raise Forgotten("Redis went away while this waited for its turn")
            return await step()

    def _failed(self, error: BaseException, epoch: int) -> None:
        """What was asked before this process joined again tells of another time."""
        if self._upkeep.joined.is_set() and epoch == self._book.epoch:
            self._upkeep.failed(error)

    async def _come(self, wish: _Wish, asking: Asking, waiting: int) -> str | None:
        """Wait for one's turn."""
        wish.queued = True
        self._upkeep.waits()
        try:
            async with asyncio.timeout(max(0.0, self.bounds.seconds - asking.waited)):
                return await wish.granted
        except TimeoutError:
            raise timed_out(self._expected(wish.names, self._upkeep.waiting or waiting)) from None

    def _forgo(self, wish: _Wish) -> None:
        """Give back what one who left may have been given, once it is known."""
        if wish.asked is not None and wish.asked.done():
            self._forgone(wish, wish.asked)
        elif wish.asked is not None:
            wish.asked.add_done_callback(partial(self._forgone, wish))

    def _forgone(self, wish: _Wish, asked: asyncio.Task[Answer]) -> None:
        """Where no answer came Redis may have given it, or may still do so: it is told anew what there is."""
        if asked.cancelled():
            return
        if (error := asked.exception()) is None:
            self._upkeep.ended(wish.id)
        elif isinstance(error, REDIS_ERRORS):
            self._failed(error, wish.epoch)

    async def _from_here(self, names: Sequence[str], asking: Asking) -> Lease | None:
        """A lease of the local lessor, or `None` where Redis has come back before there was one."""
        taking = asyncio.ensure_future(self._local.take(names, asking))
        back = asyncio.ensure_future(self._upkeep.joined.wait())
        try:
            await asyncio.wait({taking, back}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                taking.cancel()
                await asyncio.wait({taking})
        except BaseException:
            taking.cancel()
            taking.add_done_callback(_give_back)
            raise
        finally:
            back.cancel()
        return None if taking.cancelled() else self._given_here(taking.result())

    def _given_here(self, lease: Lease) -> Lease:
        if lease.name in self._unbounded:
            return lease
        self.without_redis += 1
        return self._keep(lease, None)

    def _keep(self, local: Lease, lease: str | None) -> Lease:
        """A lease that Redis knows by its id, or has to hear of."""
        known = secrets.token_hex(8) if lease is None else lease
        self.held[known] = local.name
        if lease is None:
            self._upkeep.given(known)
        return Lease(local.name, partial(self._gave_back, known, local, self._clock()))

    def _gave_back(self, lease: str, local: Lease, began: float) -> None:
        self._pace.ended(local.name, self._clock() - began)
        del self.held[lease]
        self._upkeep.ended(lease)
        local.give_back()

    def _raise_for(self, answer: Answer, names: Sequence[str]) -> None:
        if answer.code == script.KEY_FULL:
            raise key_queue_full(self.bounds.of_key, self._expected(names, answer.waiting))
        if answer.code == script.FULL:
            raise queue_full(self._expected(names, answer.waiting))

    def _expected(self, names: Sequence[str], ahead: int) -> float:
        return self._pace.expected(names, sum(self._most.get(name) or 1 for name in names), ahead)


def _give_back(taking: asyncio.Task[Lease]) -> None:
    if not taking.cancelled() and taking.exception() is None:
        taking.result().give_back()
