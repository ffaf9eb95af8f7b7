"""The relay of one stream: first frame awaited, bytes passed on, last frame read, one end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter

from mlops_backend.errors import AppError, FirstByteTimedOut, IdleTimedOut
from mlops_backend.services.llm.admission import Generation, outcome_of
from mlops_backend.services.llm.dialects import ollama


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds until the first byte, and between two frames."""

    first_byte: float
    idle: float


def first_byte_late() -> AppError:
    """`FIRST_BYTE_TIMEOUT` ran out."""
    return FirstByteTimedOut("The backend sent nothing in time.")


def idle_late() -> AppError:
    """`IDLE_TIMEOUT` ran out."""
    return IdleTimedOut("The backend paused for too long in the middle of its answer.")


async def relay(
    generation: Generation, lines: AsyncGenerator[bytes, None], clocks: Clocks
) -> AsyncGenerator[bytes, None]:
    """Pass a stream's lines on; once the first has left, a failure becomes one last line of its own.

    Raises:
        AppError: before the first line, while the failure can still have a status.
    """
    watch, record = generation.watch, generation.record
    async with aclosing(lines):
        last = await watch.wait(lambda: anext(lines, b""), clocks.first_byte, first_byte_late)
        ollama.check_first(last)
        record.first_byte = perf_counter()
        yield last
        try:
            while True:
                try:
                    last = await watch.wait(lines.__anext__, clocks.idle, idle_late)
                except StopAsyncIteration:
                    break
                yield last
            ollama.read_last(last, record)
        except AppError as error:
            record.outcome, record.error = outcome_of(error), error.code
            yield ollama.error_line(error, record.id)


async def primed(stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Pull the first chunk now, while an error still has a status; give the whole stream back.

    A generator that has started is cleaned up however its owner ends; one that never started is not.
    """
    first = await anext(stream, b"")

    async def whole() -> AsyncGenerator[bytes, None]:
        async with aclosing(stream):
            yield first
            async for chunk in stream:
                yield chunk

    return whole()
