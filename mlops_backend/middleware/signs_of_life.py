"""Signs of life: a stream that says where its generation is while nothing of its answer has come, for clients that ask.

Nothing is sent for the first moments, so that what fails at once has its status. From then on the answer has begun: it
is 200, and a failure is an error of the stream. In server-sent events a sign is a comment, which every client of
OpenAI's and Anthropic's passes over; in lines of JSON it is a blank before the first one. A line of its own would end
Ollama's clients in Python and Go.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Final

from quart import Response

from mlops_backend.errors import AppError, Unavailable
from mlops_backend.middleware.asgi import STRAIGHT
from mlops_backend.middleware.request_context import at_hand, record, service
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends import raise_for_status
from mlops_backend.services.llm.dialects import Dialect, Ending, generation_ending
from mlops_backend.services.llm.generation import Forwarded, state_of
from mlops_backend.services.llm.leases import Lessor
from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.services.llm.upstream import Reply
from mlops_backend.telemetry.record import RequestRecord

_HEADER: Final = "X-Progress"
_WANTED: Final = ("1", "true", "yes")
# Seconds before the first sign, and between two.
EVERY: Final = 2.0
_STREAMED: Final = re.compile(rb'"stream"\s*:\s*true\b')
_WHOLE: Final = re.compile(rb'"stream"\s*:\s*false\b')
_BLANK: Final = b" "
_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def wants_signs(asked: Asked) -> bool:
    """Whether a client has asked for a stream, and for signs of life in it."""
    if at_hand().headers.get(_HEADER, "").lower() not in _WANTED or not asked.task.generates or asked.ending is None:
        return False
    content = asked.content if isinstance(asked.content, bytes) else b""
    if asked.task.dialect is Dialect.OLLAMA:
        return bool(content) and not _WHOLE.search(content)
    return bool(_STREAMED.search(content))


async def with_signs(asked: Asked) -> Response | Forwarded:
    """What a backend answers, where it does soon; else a stream with signs of life until it does.

    Raises:
        AppError: whatever kept the answer away, where that is known soon.
    """
    noted = record()
    forwarding = asyncio.create_task(service(OllamaService).forward(asked, noted))
    try:
        await asyncio.wait({forwarding}, timeout=EVERY)
    except BaseException:
        await _end(forwarding)
        raise
    if forwarding.done():
        return forwarding.result()
    noted.straight = STRAIGHT.get()
    is_events = asked.task.dialect is not Dialect.OLLAMA
    signs = _Signs(asked, forwarding, noted, service(Lessor))  # type: ignore[type-abstract]
    media_type = "text/event-stream" if is_events else "application/x-ndjson"
    response = Response(signs.chunks(is_events=is_events), content_type=media_type, headers=_HEADERS)
    response.timeout = None  # Quart would cut the body after RESPONSE_TIMEOUT
    return response


class _Signs:
    """One such stream."""

    def __init__(self, asked: Asked, forwarding: asyncio.Task[Forwarded], noted: RequestRecord, leases: Lessor) -> None:
        self._asked = asked
        self._forwarding = forwarding
        self._noted = noted
        self._leases = leases

    async def chunks(self, *, is_events: bool) -> AsyncGenerator[bytes, None]:
        """Signs, and then what comes."""
        ending: Ending = (self._asked.ending or generation_ending)()
        try:
            while not self._forwarding.done():
                yield b": %b\n\n" % (await self._where()).encode() if is_events else _BLANK
                await asyncio.wait({self._forwarding}, timeout=EVERY)
            answered = self._forwarding.result()
            if isinstance(answered.body, bytes):
                yield _frame(answered, answered.body, is_events=is_events)
                return
            async for chunk in answered.body:
                yield chunk
        except AppError as error:
            self._noted.error = self._noted.error or error.code
            yield ending.failure(error, self._noted.id)
        finally:
            await _end(self._forwarding)

    async def _where(self) -> str:
        """A word for where it is, with its place in the queue."""
        state = state_of(self._noted)
        caller = self._noted.caller
        if state != "queued" or caller is None:
            return state
        try:
            own = (await self._leases.view(caller.id)).places
        except Unavailable:  # who gives the leases does not answer just now
            return state
        return f"queued, {min(place.ahead for place in own)} before it" if own else state


async def _end(forwarding: asyncio.Task[Forwarded]) -> None:
    """Have what was begun end, and close a stream that nobody will read."""
    forwarding.cancel()
    await asyncio.wait({forwarding})
    if not forwarding.cancelled() and forwarding.exception() is None:
        body = forwarding.result().body
        if not isinstance(body, bytes):
            await body.aclose()


def _frame(answered: Forwarded, body: bytes, *, is_events: bool) -> bytes:
    """A whole answer as a part of a stream.

    Raises:
        AppError: it is an error of the backend's.
    """
    raise_for_status(Reply(answered.status, answered.content_type, body))
    return b"data: " + body.strip() + b"\n\n" if is_events else body.rstrip() + b"\n"
