"""Writes that nobody waits for: each in a task of its own, again and again while the database is away."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Final, Generic, TypeVar

from mlops_backend.errors import AppError, DatabaseBusy, DatabaseDown, NotFound

T = TypeVar("T")

_AT_ONCE: Final = 200
_PATIENCE: Final = 60.0
_RETRY_AFTER: Final = 1.0
_MOST_WAITING: Final = 10_000
_MOST_WAITING_BYTES: Final = 64 * 1024 * 1024
_CLOSING_TIME: Final = 5.0
_NO_PROGRESS: Final = 1.5


class PatientWrites(ABC, Generic[T]):
    """What is to be written although its client may be gone, and the database away for a minute.

    Ten thousand may wait, and 64 MiB of them; those that come then are lost. A subclass says so in the log.

    `lost` counts those that could not be written.
    """

    def __init__(self) -> None:
        self._writing: set[asyncio.Task[T | None]] = set()
        self._waiting_bytes = 0
        self._closing = asyncio.Event()
        self._turn_to_write = asyncio.Semaphore(_AT_ONCE)
        self.lost = 0

    @property
    def waiting(self) -> int:
        """How many are not written yet."""
        return len(self._writing)

    async def open(self) -> None:
        """Nothing is needed before the first one."""

    async def aclose(self) -> None:
        """Let those that wait be written, within five seconds and while it goes on; the log says what was lost."""
        self._closing.set()
        until, before = monotonic() + _CLOSING_TIME, len(self._writing) + 1
        while self._writing and len(self._writing) < before and monotonic() < until:
            before = len(self._writing)
            await asyncio.wait(self._writing, timeout=_NO_PROGRESS)
        late = set(self._writing)
        for task in late:
            task.cancel()
        for task in late:
            with suppress(asyncio.CancelledError, AppError):
                await task
        if late:
            self.lost += len(late)
            self._tell_late(len(late))

    def write(self, named: str, size: int, work: Callable[[], Awaitable[T]]) -> asyncio.Task[T | None]:
        """Have something written.

        Args:
            named: for the log.
            size: its bytes.
            work: writes it; it may be called again.

        Returns:
            What gives what `work` gave, or `None` where it could not be written, or has no place any more.
        """
        task = asyncio.create_task(self._written(named, size, work))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    @abstractmethod
    def _tell_late(self, lost: int) -> None:
        """So many could not be written before the end."""

    @abstractmethod
    def _tell_lost(self, named: str) -> None:
        """One could not be written in time."""

    @abstractmethod
    def _tell_failed(self, named: str) -> None:
        """One could not be written at all, for the reason that is at hand."""

    async def _written(self, named: str, size: int, work: Callable[[], Awaitable[T]]) -> T | None:
        self._waiting_bytes += size
        try:
            return await self._patiently(work)
        except NotFound:
            return None  # what it belongs to was deleted meanwhile
        except DatabaseDown:
            self._tell_lost(named)
        except Exception:
            self._tell_failed(named)
        finally:
            self._waiting_bytes -= size
        self.lost += 1
        return None

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        until = monotonic() + _PATIENCE
        if self._is_crowded():
            raise DatabaseBusy("Too much waits to be written.")
        while True:
            try:
                async with self._turn_to_write:
                    return await work()
            except DatabaseDown:
                if monotonic() > until or self._is_crowded():
                    raise
            await asyncio.sleep(_RETRY_AFTER / 10)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _RETRY_AFTER)

    def _is_crowded(self) -> bool:
        return len(self._writing) > _MOST_WAITING or self._waiting_bytes > _MOST_WAITING_BYTES
