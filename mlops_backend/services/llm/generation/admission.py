"""Admission: which generations run now, and the end of them all when the process stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from mlops_backend.errors import AppError, ClockRanOut, Draining, GenerationCancelled
from mlops_backend.services.llm.generation.watch import Watch
from mlops_backend.telemetry.record import RequestRecord

_LAST_FRAMES: Final = 2.0


@dataclass(eq=False, slots=True)
class Generation:
    """One admitted inference request: its record, its watch, and how long it waited for leases.

    `repeats` says how often another backend was asked for what one may have begun.
    """

    record: RequestRecord
    watch: Watch = field(default_factory=Watch)
    waited: float = 0.0
    repeats: int = 0


class Admission:
    """Counts the running generations and, while the process drains, refuses new ones."""

    def __init__(self) -> None:
        self._running: set[Generation] = set()
        self._told: list[Callable[[], None]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False
        # Still serving, but not for long: readiness says so.
        self.leaving = False

    def when_draining(self, told: Callable[[], None]) -> None:
        """Have somebody told as soon as the process drains."""
        self._told.append(told)

    @property
    def stopping(self) -> bool:
        """Whether no new generation is to be sent here."""
        return self.draining or self.leaving

    @property
    def running(self) -> int:
        """How many generations run now."""
        return len(self._running)

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Those that run now, or wait to."""
        return tuple(self._running)

    @contextmanager
    def admit(self, record: RequestRecord) -> Iterator[Generation]:
        """The life of one generation; writes its outcome into the record, exactly once, however it ends.

        Raises:
            Draining: the process is stopping.
        """
        if self.draining:
            record.count_prompt = None
            raise Draining("The service is stopping; try again soon, or at another instance.")
        generation = Generation(record)
        self._running.add(generation)
        self._idle.clear()
        record.sent_upstream = perf_counter()
        if record.admitted is not None:
            record.admitted()
        try:
            yield generation
        except BaseException as error:
            record.outcome = record.outcome or outcome_of(error)
            raise
        else:
            record.outcome = record.outcome or "done"
        finally:
            generation.watch.close()
            record.count_prompt = None  # it holds the prompt, and a record lives for as long as its connection
            self._running.discard(generation)
            if not self._running:
                self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Refuse new generations, give the running ones `seconds`, then end the rest with `Draining`."""
        self.draining = True
        for told in self._told:
            told()
        if await self._wait_idle(seconds):
            return
        for generation in tuple(self._running):
            generation.watch.interrupt(Draining("The service is stopping; this generation was cut short."))
        await self._wait_idle(_LAST_FRAMES)

    async def _wait_idle(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True


def outcome_of(error: BaseException) -> str:
    """The word for how a request ended; see `RequestRecord`."""
    match error:
        case Draining():
            return "drained"
        case ClockRanOut():
            return "timeout"
        case GenerationCancelled():
            return "cancelled"
        case AppError() if error.status < 500:
            return "refused"
        case asyncio.CancelledError() | GeneratorExit():
            return "client_gone"
    return "error"
