"""Looks at backends that nobody asks for: what is known of each stays young, and who comes back is seen soon."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from time import monotonic
from typing import Final

import structlog

from mlops_backend.services.llm.backends.look import Look
from mlops_backend.services.llm.backends.pool import BackendPool

# One that did not answer is looked at so often, while another one is once, but no more often than every two seconds.
_OFTEN: Final = 5
_SOONEST: Final = 2.0
# How much of that a look may come sooner or later, so that several services, and backends, are not all asked at once.
JITTER: Final = 0.25
_TICK: Final = 0.25

log: Final = structlog.get_logger(__name__)


class Lookout:
    """Looks at each of several backends now and then; requests look as well, where what is known is older.

    A backend that is alone is asked whatever is known of it, so nobody looks at it here.

    Args:
        pool: the backends.
        interval: seconds from one look at a backend to the next; `None`: nobody looks.
        draw: gives a number from 0 to 1.
    """

    def __init__(self, pool: BackendPool, interval: float | None, draw: Callable[[], float] = random.random) -> None:
        self._pool = pool
        self._interval = interval
        self._draw = draw
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        if self._interval is not None:
            self._task = asyncio.create_task(self._run(self._interval))

    async def aclose(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look(self, interval: float) -> None:
        """Begin a look at each backend whose time has come, `interval` seconds or so behind the last one."""
        now = monotonic()
        for look in self._pool.looks if self._pool.several else ():
            if not look.is_looking and now >= _due(look, interval):
                look.next_early = self._draw()
                look.refresh()

    async def _run(self, interval: float) -> None:
        while True:
            try:
                self.look(interval)
            except Exception:
                log.exception("looking at the backends failed")
            await asyncio.sleep(min(_TICK, interval / _OFTEN))


def _due(look: Look, interval: float) -> float:
    pause = max(min(interval, _SOONEST), interval / _OFTEN) if look.absent else interval
    return look.at + pause * (1 + JITTER * (2 * look.next_early - 1))
