"""The clock and the stop button of one generation.

Every wait of a generation goes through one `Watch`: it may take only so long, and it can be ended from outside
(the drain does). One timer serves all waits: it is armed once and looks, when it rings, whether the wait of that
moment is late, so that a streamed token costs no timer of its own. The deadline covers only the wait itself,
never the time a slow client takes to read (PEP 789: no timeout may span a `yield`).

An error that was raised knows the frames that it passed, and they know the watch and all that was asked. So a watch
that is over forgets its error: else a request's body would stay until the garbage collector comes, which is calmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mlops_backend.errors import AppError

T = TypeVar("T")


class Watch:
    """Guards the waits of one task, one at a time."""

    __slots__ = ("_cancels", "_deadline", "_error", "_late", "_loop", "_task", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: AppError | None = None
        self._deadline = 0.0
        self._cancels = 0
        self._late: Callable[[], AppError] | None = None

    async def wait(self, start: Callable[[], Awaitable[T]], seconds: float, late: Callable[[], AppError]) -> T:
        """Await what `start` returns for at most `seconds`; once interrupted nothing is started any more.

        Raises:
            AppError: what `late` makes when time runs out, or what `interrupt` was given.
        """
        self._arm(seconds, late)
        try:
            if self._error is not None:
                raise self._error
            return await start()
        except asyncio.CancelledError:
            if self._error is None or not self._was_ours():
                raise
            raise self._error from None
        finally:
            self._task = None

    def moved(self, seconds: float) -> None:
        """What is waited for has shown itself: the wait of this moment may take so long again."""
        self._deadline = self._loop.time() + seconds

    def began(self, seconds: float) -> None:
        """What is waited for begins only now, after a wait with a clock of its own: it may take so long from now on.

        Other than `moved` it heeds that the timer may have been put off meanwhile, beyond what is left now.
        """
        self.moved(seconds)
        if self._timer is not None and self._deadline < self._timer.when():
            self._stop_timer()
            self._timer = self._loop.call_at(self._deadline, self._ring)

    def interrupt(self, error: AppError) -> None:
        """End the wait of this moment, or else the next one, with `error`; the first call wins."""
        if self._error is None:
            self._error = error
            if self._task is not None:
                self._task.cancel()

    def close(self) -> None:
        """Stop the timer and forget the error; the watch is not used afterwards."""
        self._stop_timer()
        self._error = self._late = None

    def _arm(self, seconds: float, late: Callable[[], AppError]) -> None:
        self._task = task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        self._cancels = task.cancelling()
        self._late = late
        self._deadline = deadline = self._loop.time() + seconds
        if self._timer is None or deadline < self._timer.when():
            self._stop_timer()
            self._timer = self._loop.call_at(deadline, self._ring)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._task is None or self._late is None:
            return
        if self._loop.time() >= self._deadline:
            self.interrupt(self._late())
        else:
            self._timer = self._loop.call_at(self._deadline, self._ring)

    def _was_ours(self) -> bool:
        """Take our own cancel back; false when somebody else cancelled the task as well."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        return task.cancelling() <= self._cancels or task.uncancel() <= self._cancels
