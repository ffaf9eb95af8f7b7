"""The relay of one generation: first frame awaited, bytes passed on, last frame read, one end."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from mlops_backend.errors import AppError, FirstByteTimedOut, IdleTimedOut, StreamIncomplete
from mlops_backend.services.llm.generation.admission import Admission, Generation, outcome_of
from mlops_backend.services.llm.generation.content import Watching
from mlops_backend.services.llm.upstream import Tap
from mlops_backend.telemetry.record import RequestRecord

Chunks = AsyncGenerator[bytes, None]
Opened = tuple[Chunks, bytes, Tap]
Begin = Callable[[], Awaitable[AbstractContextManager[None]]]
Open = Callable[[Generation, AsyncExitStack], Awaitable[Opened | None]]


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds until the first byte, and between two frames."""

    first_byte: float
    idle: float


# What a backend had begun and nobody waited for: its prompt was read, if nothing else.
_UNFINISHED: Final = frozenset({"client_gone", "timeout", "drained", "cancelled"})
UNTIMED: Final = Clocks(math.inf, math.inf)


def first_byte_late() -> AppError:
    """`FIRST_BYTE_TIMEOUT` ran out."""
    return FirstByteTimedOut("The backend sent nothing in time.")


def idle_late() -> AppError:
    """`IDLE_TIMEOUT` ran out."""
    return IdleTimedOut("The backend paused for too long in the middle of its answer.")


async def relay(
    admission: Admission, record: RequestRecord, meter: Begin, open_stream: Open, clocks: Clocks, ending: Watching
) -> Chunks:
    """One generation's stream: an empty chunk once its first chunk has arrived, then the chunks.

    The empty chunk is for whoever starts the stream: until it comes, a failure can still have a status. After it a
    failure becomes one last frame of its own. One generator does it all, since a token pays for each that it passes.

    Args:
        admission: admits it, or does not.
        record: filled in on the way.
        meter: reserves what it may use, in a block whose end settles.
        open_stream: asks a backend, leaves what is to be closed on the stack, and gives the chunks, the first of
            them and a tap of the others; `None` when it has read a whole answer, and no stream follows. A first
            one that is empty says that the backend is at work, and that the first one is still to come.
        clocks: how long it may take.
        ending: watches what passes, and knows how such a stream ends.

    Raises:
        AppError: before the empty chunk.
    """
    with await meter(), admission.admit(record) as generation:
        wait = generation.watch.wait
        async with AsyncExitStack() as stack:
            opened = await _begun(generation, lambda: open_stream(generation, stack), clocks)
            if opened is None:
                return
            chunks, chunk, tap = opened
            step, idle = chunks.__anext__, clocks.idle
            record.streams = True
            yield b""
            try:
                while True:
                    if passed := ending.feed(chunk):
                        yield passed
                    await _straight_on(generation, tap, ending, idle)
                    try:
                        chunk = await wait(step, idle, idle_late)
                    except StopAsyncIteration:
                        break
                if rest := ending.rest():
                    yield rest
                ending.finish(record)
            except AppError as error:
                record.outcome, record.error = outcome_of(error), error.code
                yield ending.failure(error, record.id)
            finally:
                ending.settle(record)


async def _straight_on(generation: Generation, tap: Tap, ending: Watching, idle: float) -> None:
    """Let pieces go the short way while they can; raises what the ordinary way raises.

    They are looked at, counted and sent as the relay and what lies behind it do. Where the short way ends, be it
    because the client is slow or the answer is over, nothing has happened that the ordinary way does not meet next.
    """
    record, straight = generation.record, generation.record.straight
    if straight is None or not tap.is_open or not straight.may_send():
        return
    moved, feed, send = generation.watch.moved, ending.feed, straight.send

    def take(chunk: bytes) -> bool:
        moved(idle)
        passed = feed(chunk)
        if not passed:
            return True
        record.bytes_out += len(passed)
        return send(passed)

    await generation.watch.wait(lambda: tap.run(take), idle, idle_late)


async def _begun(
    generation: Generation, open_stream: Callable[[], Awaitable[Opened | None]], clocks: Clocks
) -> Opened | None:
    record = generation.record
    try:
        wait = generation.watch.wait
        opened = await wait(open_stream, clocks.first_byte, first_byte_late)
        while opened is not None and not opened[1]:
            chunks, _, tap = opened
            opened = chunks, await wait(chunks.__anext__, clocks.idle, idle_late), tap
    except StopAsyncIteration:
        raise StreamIncomplete("The backend ended the stream before its first frame.") from None
    except BaseException as error:
        if record.upstream_url and outcome_of(error) in _UNFINISHED:
            record.estimate(0)
        raise
    record.first_byte = perf_counter()
    return opened
