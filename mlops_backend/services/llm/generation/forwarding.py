"""Forwarding: a drop-in request to a backend that can serve it, and the backend's answer to the client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

from pydantic_core import from_json

from mlops_backend.aside import LARGE, aside
from mlops_backend.errors import BackendNonsense, StreamIncomplete
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends import Answer, BackendPool
from mlops_backend.services.llm.dialects import (
    MAX_FRAME_BYTES,
    LargeBody,
    check_first,
    generation_ending,
    read_usage,
    tokens_said,
)
from mlops_backend.services.llm.generation.admission import Admission, Generation
from mlops_backend.services.llm.generation.attempts import Attempts
from mlops_backend.services.llm.generation.breakers import Breakers
from mlops_backend.services.llm.generation.content import Overheard, Watching, note_answer, note_request
from mlops_backend.services.llm.generation.metering import Meter, Metered, metered
from mlops_backend.services.llm.generation.relay import UNTIMED, Clocks, Opened, relay
from mlops_backend.services.llm.generation.token_estimate import estimate_prompt_tokens, prompt_tokens
from mlops_backend.services.llm.leases import Lessor
from mlops_backend.services.llm.pins import Pins
from mlops_backend.services.llm.upstream import Pairs
from mlops_backend.telemetry.record import RequestRecord

_STREAMED: Final = ("text/event-stream", "application/x-ndjson")
_OK: Final = 200
_REFUSED: Final = 400
_FAILED: Final = 500


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

    def __init__(
        self,
        pool: BackendPool,
        leases: Lessor,
        admission: Admission,
        meter: Meter,
        clocks: Clocks,
        pins: Pins,
        breakers: Breakers | None = None,
    ) -> None:
        self._attempts = Attempts(pool, leases, pins, breakers)
        self._meter = meter
        self._admission = admission
        self._clocks = clocks

    async def forward(self, asked: Asked, record: RequestRecord) -> Forwarded:
        """One request, from admission to the first bytes of its answer.

        Raises:
            AppError: whatever kept the answer away.
        """
        record.name_model(asked.model)
        record.asked_path = asked.path
        if asked.task.generates and len(content := _in_memory(asked)) > LARGE:  # at the end there is no time for it
            asked = replace(asked, prompt=await aside(len(content), estimate_prompt_tokens, content))
        answered, sent, ending = Forwarded(), asked, await _watching(asked, record)

        async def begin() -> Metered:
            nonlocal sent
            begun = await metered(self._meter, asked, record)
            sent = begun.asked
            if asked.task.generates:  # not before: what is refused here holds no prompt for as long as its connection
                record.count_prompt = lambda: prompt_tokens(asked)
            return begun

        stream = relay(
            self._admission,
            record,
            begin,
            lambda generation, stack: self._open(sent, answered, generation, stack),
            self._clocks_of(asked),
            ending,
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
        return await self._attempts.first(
            asked,
            generation,
            stack,
            lambda answer: self._begin(asked, answered, answer, generation.record),
            self._clocks_of(asked).first_byte,
        )

    async def _begin(self, asked: Asked, answered: Forwarded, answer: Answer, record: RequestRecord) -> Opened | None:
        """The beginning of an answer; of one that is no stream all of it.

        Raises:
            AppError: it fails before its first piece.
        """
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


async def _watching(asked: Asked, record: RequestRecord) -> Watching:
    """What watches the answer, should it be a stream."""
    ending = (asked.ending or generation_ending)()
    if not (asked.task.generates and record.trace.wants_content):
        return ending
    await note_request(record, asked)
    return Overheard(ending)


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
        if record.trace.wants_content:
            note_answer(record, [told])
    if record.lacks_usage:
        record.estimate(tokens_said(told) if isinstance(told, dict) else 0)


def _outcome(status: int) -> str:
    return "done" if status < _REFUSED else "refused" if status < _FAILED else "error"


def _in_memory(asked: Asked) -> bytes | LargeBody:
    return asked.content if isinstance(asked.content, bytes | LargeBody) else b""
