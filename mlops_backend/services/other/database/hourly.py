"""What is done every hour to what is old."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from time import time
from typing import Final

from mlops_backend.errors import DatabaseDown

FIRST: Final = 5.0
_EVERY: Final = 3600.0
_CLOSING_TIME: Final = 1.0


class Hourly(ABC):
    """Sweeps, first a while after the start, which has enough to do.

    Several processes may do so, and each may be killed at any moment.
    """

    def __init__(self) -> None:
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start."""
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Stop; what is under way is finished if that takes no more than a second, else left as it was."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_CLOSING_TIME)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @abstractmethod
    async def sweep(self, now: float) -> int:
        """Do it at `now`, in seconds since the epoch; how much there was to do. Raises `DatabaseDown`."""

    @abstractmethod
    def _tell(self, done: int) -> None:
        """So much was done."""

    @abstractmethod
    def _tell_failed(self) -> None:
        """It cannot be done, for the reason that is at hand."""

    async def _run(self) -> None:
        await self._rest(FIRST)
        while not self._closing.is_set():
            try:
                if done := await self.sweep(time()):
                    self._tell(done)
            except DatabaseDown:
                pass  # its going away is told already; there is another hour
            except Exception:
                self._tell_failed()
            await self._rest(_EVERY)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
