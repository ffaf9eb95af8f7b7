"""How late the event loop is: what everybody waits for who is served by this process."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from mlops_backend.telemetry.metrics import Metrics

_EVERY: Final = 0.5
_LATE: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class LoopLag:
    """Sleeps, and notes by how much it was woken too late.

    Args:
        metrics: where that is told.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._late = metrics.histogram(
            "mlops_event_loop_lag_seconds", "By how much the event loop was late, looked at twice a second.", (), _LATE
        )
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            began = perf_counter()
            await asyncio.sleep(_EVERY)
            self._late.observe(max(0.0, perf_counter() - began - _EVERY))
