"""Forwarding: a drop-in request to a backend that can serve it, and the backend's answer to the client."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from enum import IntEnum, auto
from time import perf_counter
from typing import Final

from pydantic_core import from_json

from mlops_backend.aside import LARGE, aside
from mlops_backend.errors import (
    AppError,
    BackendBusy,
    BackendNonsense,
    BackendRefused,
    BackendRejected,
    BackendUnresolvable,
    ConnectTimedOut,
    NotImplementedHere,
    NoUsableBackend,
    StreamIncomplete,
)
from mlops_backend.services.llm.asked import Asked, Place
from mlops_backend.services.llm.backends import Answer, Backend, BackendPool, Candidates
from mlops_backend.services.llm.dialects import (
    MAX_FRAME_BYTES,
    LargeBody,
    check_first,
    generation_ending,
    read_usage,
    tokens_said,
)
from mlops_backend.services.llm.generation.admission import Admission, Generation
from mlops_backend.services.llm.generation.metering import Meter, Metered, metered
from mlops_backend.services.llm.generation.relay import UNTIMED, Clocks, Opened, relay
from mlops_backend.services.llm.generation.token_estimate import estimate_prompt_tokens, prompt_tokens
from mlops_backend.services.llm.generation.token_maximum import output_of
from mlops_backend.services.llm.leases import Asking, Lease, Leases
from mlops_backend.services.llm.upstream import Pairs
from mlops_backend.telemetry.record import RequestRecord

_STREAMED: Final = ("text/event-stream", "application/x-ndjson")
_OK: Final = 200
_REFUSED: Final = 400
_FAILED: Final = 500
# What an answer is taken for in the queue where its request names no maximum.
_UNNAMED: Final = 256


class _Why(IntEnum):
    """Why a backend is passed over; what tells the most comes first."""

    BUSY = auto()
    AWAY = auto()
    LACKING = auto()
    NO_SUCH_ROUTE = auto()


@dataclass(slots=True)
class Forwarded:
    """What the client is answered: a whole body, or the chunks of a stream."""

    status: int = 0
    headers: Pairs = ()
    body: bytes | AsyncGenerator[bytes, None] = b""

    @property
    def content_type(self) -> str:
        """What the answer says it is."""
        return next((value for name, value in self.headers if name.lower() == "content-type"), "")


class Forwarder:
    """Asks the backends, one after the other while no byte has come, and relays the answer of the first that can."""

    def __init__(self, pool: BackendPool, leases: Leases, admission: Admission, meter: Meter, clocks: Clocks) -> None:
        self._pool = pool
        self._leases = leases
        self._meter = meter
        self._admission = admission
        self._clocks = clocks

    async def forward(self, asked: Asked, record: RequestRecord) -> Forwarded:
        """One request, from admission to the first bytes of its answer.

        Raises:
            AppError: whatever kept the answer away.
        """
        record.name_model(asked.model)
        if asked.task.generates:
            if len(content := _in_memory(asked)) > LARGE:  # at the end there is no time for it
                asked = replace(asked, prompt=await aside(len(content), estimate_prompt_tokens, content))
            record.count_prompt = lambda: prompt_tokens(asked)
        answered, sent = Forwarded(), asked

        async def begin() -> Metered:
            nonlocal sent
            begun = await metered(self._meter, asked, record)
            sent = begun.asked
            return begun

        stream = relay(
            self._admission,
            record,
            begin,
            lambda generation, stack: self._open(sent, answered, generation, stack),
            self._clocks_of(asked),
            (asked.ending or generation_ending)(),
        )
        if await anext(stream, None) is not None:
            answered.body = stream
        return answered

    def _clocks_of(self, asked: Asked) -> Clocks:
        if not asked.task.timed:
            return UNTIMED
        clocks = self._clocks
        return Clocks(clocks.first_byte, max(clocks.first_byte, clocks.idle)) if asked.patient else clocks

    async def _open(
        self, asked: Asked, answered: Forwarded, generation: Generation, stack: AsyncExitStack
    ) -> Opened | None:
        record = generation.record
        answer = await self._ask(asked, generation, stack)
        answered.status, answered.headers = answer.status, answer.headers
        if asked.ending is None or answer.status != _OK or not answer.content_type.startswith(_STREAMED):
            answered.body = await answer.whole()
            record.outcome = _outcome(answer.status)
            await aside(len(answered.body), _read_whole, asked, answer, answered.body, record)
            return None
        if answer.is_looked_at:
            return answer.chunks, b"", answer.tap
        first = await anext(answer.chunks, b"")
        if asked.task.checks_first_line:
            first = await _first_line(first, answer.chunks)
            check_first(first)
        if not first:
            raise StreamIncomplete("The backend ended the stream before its first frame.")
        return answer.chunks, first, answer.tap

    async def _ask(self, asked: Asked, generation: Generation, stack: AsyncExitStack) -> Answer:
        """The answer of the first backend that can be reached, has the model and is not busy.

        If there is none, the reason that tells the most: that one is busy or away, which may pass, counts more than
        that others lack the model. Where the last one's own answer tells less, an error of ours stands in its place.
        """
        candidates = await self._backends(asked)
        reasons = [] if candidates.complete else [_Why.AWAY]
        while True:
            backend = await self._leased(candidates.left, asked, generation, stack)
            try:
                answer = await entered(backend, asked, generation.record, stack)
            except AppError as error:
                reason = _why_failed(error)
                if reason is None or (
                    not await candidates.pass_over(backend) and reason <= min(reasons, default=reason)
                ):
                    raise
            else:
                reason = _why_not(answer)
                if reason is None or (
                    not await candidates.pass_over(backend) and reason <= min(reasons, default=reason)
                ):
                    return answer
            await stack.aclose()
            reasons.append(reason)
            if not candidates.left:
                raise _instead(min(reasons), asked.model)

    async def _leased(
        self, backends: Sequence[Backend], asked: Asked, generation: Generation, stack: AsyncExitStack
    ) -> Backend:
        """One of these backends, with a lease for a generation; the first with room, or who comes to have some.

        Raises:
            QueueFull, KeyQueueFull, QueueTimedOut: see `Leases.take`.
        """
        if not asked.task.generates:
            return backends[0]
        names = [backend.address for backend in backends]
        lease = self._leases.at_once(names)
        if lease is None:
            lease = await self._queued(names, asked, generation)
        stack.callback(lease.give_back)
        return backends[names.index(lease.name)]

    async def _queued(self, names: Sequence[str], asked: Asked, generation: Generation) -> Lease:
        """Wait for a lease; the queue's clock runs meanwhile, and the generation's own begins behind it."""
        caller, watch = generation.record.caller, generation.watch
        asking = Asking("" if caller is None else caller.id, lambda: _cost(asked), generation.record.batch)
        watch.moved(math.inf)
        generation.waits = True
        try:
            return await self._leases.take(names, asking)
        finally:
            generation.waits = False
            watch.moved(self._clocks_of(asked).first_byte)
            generation.record.sent_upstream = perf_counter()

    async def _backends(self, asked: Asked) -> Candidates:
        match asked.task.place:
            case Place.HOME:
                return Candidates([self._pool.home])
            case Place.ANY:
                return await self._pool.reachable()
        return await self._pool.candidates(asked.model, in_order=asked.task.place is Place.HOLDER)


def _why_not(answer: Answer) -> _Why | None:
    if answer.lacks_model:
        return _Why.LACKING
    match answer.status:
        case 503:
            return _Why.BUSY
        case 404:  # a router's own is plain text
            return _Why.LACKING if answer.content_type.startswith("application/json") else _Why.NO_SUCH_ROUTE
    return None


def _why_failed(error: AppError) -> _Why | None:
    match error:
        case BackendRefused() | BackendUnresolvable() | ConnectTimedOut():
            return _Why.AWAY
        case BackendBusy():
            return _Why.BUSY
        case BackendRejected(status=404):
            return _Why.LACKING
        case NotImplementedHere():
            return _Why.NO_SUCH_ROUTE
    return None


def _instead(reason: _Why, model: str) -> AppError:
    match reason:
        case _Why.BUSY:
            return BackendBusy("The backend that has this model is busy; try again soon.")
        case _Why.AWAY:
            return NoUsableBackend("A backend that may have this model cannot be reached at present.")
    return BackendRejected(404, f"model '{model}' not found")


async def entered(backend: Backend, asked: Asked, record: RequestRecord, stack: AsyncExitStack) -> Answer:
    """A backend's answer, to be closed with `stack`; raises an `AppError`."""
    record.backend, record.doubted = backend.address, False
    answer = await stack.enter_async_context(backend.forward(asked, record))
    stack.push_async_callback(answer.chunks.aclose)
    return answer


async def _first_line(first: bytes, chunks: AsyncGenerator[bytes, None]) -> bytes:
    """What has come, with at least one line in it unless there is none.

    Raises:
        BackendNonsense: the line is longer than `MAX_FRAME_BYTES`.
    """
    parts, size, more = [first], len(first), first
    while b"\n" not in more and (more := await anext(chunks, b"")):
        parts.append(more)
        size += len(more)
        if size > MAX_FRAME_BYTES:
            raise BackendNonsense("The backend sent an object longer than this service accepts.")
    return b"".join(parts)


def _read_whole(asked: Asked, answer: Answer, body: bytes, record: RequestRecord) -> None:
    """The usage of a whole answer; one that tells none is estimated, one that is an error has none."""
    if not asked.task.generates or answer.status != _OK:
        return
    try:
        told = from_json(body)
    except ValueError:
        told = {"text": body.decode(errors="replace")} if answer.content_type.startswith("text/plain") else None
    if isinstance(told, dict):
        read_usage(told, record)
    if record.lacks_usage:
        record.estimate(tokens_said(told) if isinstance(told, dict) else 0)


def _outcome(status: int) -> str:
    return "done" if status < _REFUSED else "refused" if status < _FAILED else "error"


def _cost(asked: Asked) -> float:
    """The tokens that a generation may take, for its turn in the queue."""
    most = output_of(asked).most
    return prompt_tokens(asked) + (_UNNAMED if most is None else most)


def _in_memory(asked: Asked) -> bytes | LargeBody:
    return asked.content if isinstance(asked.content, bytes | LargeBody) else b""
