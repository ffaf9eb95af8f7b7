"""The relay of one stream: first frame awaited, bytes passed on, last frame read, one end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter

from mlops_backend.errors import AppError, FirstByteTimedOut, IdleTimedOut
from mlops_backend.services.llm.admission import Admission, outcome_of
from mlops_backend.services.llm.dialects import ollama
from mlops_backend.telemetry.record import RequestRecord

Opened = tuple[AsyncGenerator[bytes, None], bytes]


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
    admission: Admission, record: RequestRecord, open_stream: Callable[[], Awaitable[Opened]], clocks: Clocks
) -> AsyncGenerator[bytes, None]:
    """One generation's stream: an empty chunk once its first line has arrived, then the lines.

    The empty chunk is for whoever starts the stream: until it comes, a failure can still have a status. After it a
    failure becomes one last line of its own. One generator does it all, since a token pays for each that it passes.

    Raises:
        AppError: before the empty chunk.
    """
    with admission.admit(record) as generation:
        wait = generation.watch.wait
        lines, last = await wait(open_stream, clocks.first_byte, first_byte_late)
        async with aclosing(lines):
            record.first_byte = perf_counter()
            yield b""
            try:
                while True:
                    yield last
                    try:
                        last = await wait(lines.__anext__, clocks.idle, idle_late)
                    except StopAsyncIteration:
                        break
                ollama.read_last(last, record)
            except AppError as error:
                record.outcome, record.error = outcome_of(error), error.code
                yield ollama.error_line(error, record.id)


async def opened(lines: AsyncGenerator[bytes, None]) -> Opened:
    """A backend's stream and its first chunk, while its failure can still have a status; closed when it fails.

    Raises:
        AppError: the stream did not begin, or not as one.
    """
    try:
        first = await anext(lines, b"")
        ollama.check_first(first)
    except BaseException:
        await lines.aclose()
        raise
    return lines, first
