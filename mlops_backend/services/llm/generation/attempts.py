"""Attempts: which backend is asked, with a lease of its slot, and which one next, while no byte has come."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from enum import IntEnum, auto
from time import perf_counter
from typing import Final, TypeVar

from mlops_backend.errors import (
    AppError,
    BackendBusy,
    BackendRefused,
    BackendRejected,
    BackendUnresolvable,
    BackendVanished,
    ConnectTimedOut,
    NotImplementedHere,
    NoUsableBackend,
)
from mlops_backend.services.llm.asked import Asked, Place
from mlops_backend.services.llm.backends import Answer, Backend, BackendPool, Candidates
from mlops_backend.services.llm.generation.admission import Generation
from mlops_backend.services.llm.generation.breakers import Breakers
from mlops_backend.services.llm.generation.retry_budget import RetryBudget
from mlops_backend.services.llm.generation.router import UNHEARD, Asking, LeftAlone, Router
from mlops_backend.services.llm.generation.targets import first_of
from mlops_backend.services.llm.generation.token_estimate import prompt_tokens
from mlops_backend.services.llm.generation.token_maximum import output_of
from mlops_backend.services.llm.leases import Asking as AskingFor
from mlops_backend.services.llm.leases import Lease, Lessor
from mlops_backend.services.llm.pins import Pins
from mlops_backend.telemetry.record import RequestRecord

T = TypeVar("T")

# What an answer is taken for in the queue where its request names no maximum.
_UNNAMED: Final = 256
# More than any generation takes. One of 1e30 would move the queue's virtual time so far that what all others cost is
# rounded off.
_DEAREST: Final = 1_000_000
# How often one generation is asked for again of those that may have begun it.
_MOST_REPEATS: Final = 2
# What a proxy before a backend says of one that it does not reach.
_UNREACHED: Final = (502, 504)


class _Why(IntEnum):
    """Why a backend is passed over; what tells the most comes first."""

    BUSY = auto()
    AWAY = auto()
    LACKING = auto()
    NO_SUCH_ROUTE = auto()


class Attempts:
    """Asks backends until one can answer.

    Args:
        pool: tells which can.
        leases: of their slots.
        pins: what is pinned of models.
        breakers: of the backends.
    """

    def __init__(self, pool: BackendPool, leases: Lessor, pins: Pins, breakers: Breakers | None = None) -> None:
        self._pool = pool
        self._pins = pins
        self._leases = leases
        self._router = Router(pool, leases, breakers)
        self._retries = RetryBudget()

    async def first(
        self,
        asked: Asked,
        generation: Generation,
        stack: AsyncExitStack,
        use: Callable[[Answer], Awaitable[T]],
        first_byte: float,
    ) -> T:
        """What `use` makes of the answer of the first backend that can be reached, has the model and is not busy.

        A generation is asked for again where a backend closed the connection before the first byte of its answer, or
        a proxy could not reach it; for so many as the budget has, and each twice at most. What else is done to a model
        may have been done.

        Where the model is a name that stands for several, the next one is asked for when one cannot be had.

        If no backend answers, the reason that tells the most: that one is busy or away, which may pass, counts more
        than that others lack the model. Where the last one's own answer tells less, an error of ours stands in its
        place.

        Args:
            asked: what is asked.
            generation: whose the wait and the log line are.
            stack: what is to be closed at the end is left there.
            use: reads the beginning of an answer.
            first_byte: seconds that a backend has for it, once it is asked.

        Raises:
            AppError: whatever kept the answer away.
        """
        self._retries.asked()
        if not (asked.targets or self._pins):
            return await self._of_one_model(asked, generation, stack, use, first_byte, spare=False)
        return await first_of(
            asked,
            generation.record,
            self._pins,
            lambda meant, spare: self._of_one_model(meant, generation, stack, use, first_byte, spare=spare),
        )

    async def _of_one_model(
        self,
        asked: Asked,
        generation: Generation,
        stack: AsyncExitStack,
        use: Callable[[Answer], Awaitable[T]],
        first_byte: float,
        *,
        spare: bool,
    ) -> T:
        """The same for one model; with a `spare` one a refusal that may pass it on is an error, be it the last one."""
        candidates = await self._backends(asked)
        reasons = [] if candidates.complete else [_Why.AWAY]
        while True:
            backend = await self._leased(candidates, asked, generation, stack, first_byte)
            reason: _Why | None = _Why.AWAY
            try:
                with self._asking(backend, asked, candidates) as asking:
                    answer = await _entered(backend, asked, generation.record, stack)
                    asking.answered(answer.status)
                    reason = self._why_not(answer, asked, generation)
                    if reason is None or not (await _goes_on(candidates, backend, reason, reasons) or spare):
                        return await use(answer)
            except LeftAlone:
                await candidates.pass_over(backend)
            except AppError as error:
                reason = self._why_failed(error, asked, generation)
                if reason is None or not (await _goes_on(candidates, backend, reason, reasons) or spare):
                    raise
            assert reason is not None  # noqa: S101 - else it has returned
            await stack.aclose()
            reasons.append(reason)
            generation.record.passed_over += (backend.address,)
            generation.record.translated = ""
            if not candidates.left:
                raise _instead(min(reasons), asked.model)

    def _asking(self, backend: Backend, asked: Asked, candidates: Candidates) -> Asking:
        """The time until the first byte; of what is no generation, and of an only backend, nothing is learnt.

        Raises:
            LeftAlone: when entered; its breaker lets nobody through, and there are others.
        """
        if not asked.task.generates or not self._pool.several:
            return UNHEARD
        name = self._pool.name_of(backend)
        return self._router.asking(name, asked.model, anyway=len(candidates.left) == 1)

    async def _backends(self, asked: Asked) -> Candidates:
        match asked.task.place:
            case Place.HOME:
                return Candidates([self._pool.home])
            case Place.ANY:
                return await self._pool.reachable()
        return await self._pool.candidates(asked.model, in_order=asked.task.place is Place.HOLDER)

    async def _leased(
        self,
        candidates: Candidates,
        asked: Asked,
        generation: Generation,
        stack: AsyncExitStack,
        first_byte: float,
    ) -> Backend:
        """One of those that are left, with a lease for a generation; the first with room, or who comes to have some.

        Those that were taken away meanwhile are not asked; where all were, others that have the model are.

        Raises:
            QueueFull, KeyQueueFull, QueueTimedOut: see `Leases.take`.
            NoUsableBackend: there is none any more.
        """
        if not asked.task.generates:
            return candidates.left[0]
        lease = None
        while lease is None:
            candidates.left = self._pool.still_there(candidates.left) or (await self._backends(asked)).left
            named = {self._pool.name_of(backend): backend for backend in candidates.left}
            first, last = self._router.order(candidates.left, asked)
            lease = self._leases.at_once([choice.name for choice in (*first, *last)])
            if lease is None:
                names = [choice.name for choice in first or last]
                with suppress(NoUsableBackend):  # they were taken away, or are called otherwise now
                    lease = await self._queued(names, asked, generation, first_byte)
        stack.callback(lease.give_back)
        generation.record.leased = perf_counter()
        reason = next(choice.reason for choice in (*first, *last) if choice.name == lease.name)
        _tell(generation.record, lease.name, reason)
        return named[lease.name]

    async def _queued(self, names: Sequence[str], asked: Asked, generation: Generation, first_byte: float) -> Lease:
        """Wait for a lease; the queue's clock runs meanwhile, and the generation's own begins behind it."""
        record, watch = generation.record, generation.watch
        key, weight = ("", 1.0) if record.caller is None else (record.caller.id, record.caller.weight)
        asking = AskingFor(key, lambda: _cost(asked), record.gives_way, weight, generation.waited)
        since = perf_counter()
        watch.moved(math.inf)
        record.waits = True
        record.queued = record.queued or since
        try:
            return await self._leases.take(names, asking)
        finally:
            record.waits = False
            generation.waited += perf_counter() - since
            watch.began(first_byte)
            record.sent_upstream = perf_counter()

    def _why_not(self, answer: Answer, asked: Asked, generation: Generation) -> _Why | None:
        if answer.lacks_model:
            return _Why.LACKING
        if answer.status in _UNREACHED:
            return self._again(asked, generation)
        match answer.status:
            case 503:
                return _Why.BUSY
            case 404:  # a router's own is plain text
                return _Why.LACKING if answer.content_type.startswith("application/json") else _Why.NO_SUCH_ROUTE
        return None

    def _why_failed(self, error: AppError, asked: Asked, generation: Generation) -> _Why | None:
        match error:
            case BackendRefused() | BackendUnresolvable() | ConnectTimedOut():
                return _Why.AWAY
            case BackendVanished():
                return self._again(asked, generation)
            case BackendBusy():
                return _Why.BUSY
            case BackendRejected(status=404):
                return _Why.LACKING
            case NotImplementedHere():
                return _Why.NO_SUCH_ROUTE
        return None

    def _again(self, asked: Asked, generation: Generation) -> _Why | None:
        """Why another backend may do again what this one may have begun; not all may, for it may be what ends them."""
        may = asked.task.generates and asked.can_be_repeated and generation.repeats < _MOST_REPEATS
        if not (may and self._retries.take()):
            return None
        generation.repeats += 1
        return _Why.AWAY


def _tell(record: RequestRecord, name: str, reason: str) -> None:
    """Say in the log why it is this backend, where there were several, and to administrators in the answer."""
    if reason != "only":
        record.route_reason = reason
    if record.caller is not None and record.caller.admin:
        record.answer_headers = {**record.answer_headers, "X-Backend": name, "X-Route-Reason": reason}


async def _goes_on(candidates: Candidates, backend: Backend, reason: _Why, reasons: Sequence[_Why]) -> bool:
    """Whether something tells more than this backend's own answer: another one, or an error of ours."""
    return await candidates.pass_over(backend) or reason > min(reasons, default=reason)


async def _entered(backend: Backend, asked: Asked, record: RequestRecord, stack: AsyncExitStack) -> Answer:
    """A backend's answer, to be closed with `stack`; raises an `AppError`."""
    record.backend, record.provider, record.doubted = backend.address, backend.kind, False
    answer = await stack.enter_async_context(backend.forward(asked, record))
    stack.push_async_callback(answer.chunks.aclose)
    return answer


def _instead(reason: _Why, model: str) -> AppError:
    match reason:
        case _Why.BUSY:
            return BackendBusy("The backend that has this model is busy; try again soon.")
        case _Why.AWAY:
            return NoUsableBackend("A backend that may have this model cannot be reached at present.")
    return BackendRejected(404, f"model '{model}' not found")


def _cost(asked: Asked) -> float:
    """The tokens that a generation may take, for its turn in the queue."""
    most = output_of(asked).most
    return min(_DEAREST, prompt_tokens(asked) + (_UNNAMED if most is None else most))
