"""Work on what is large, in a thread beside the event loop.

What reads or writes JSON in C keeps the interpreter to itself until it is done, in a thread too. So each such call is
bounded to some tens of milliseconds, and the thread rests behind it: others need several turns to be served.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from time import perf_counter, sleep
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

# What is smaller is worked on at once, where it is.
LARGE: Final = 256 * 1024
# What is larger than this waits for its like; what is smaller does not wait for it.
_VERY_LARGE: Final = 4 * 1024 * 1024
_WORK: Final = 0.005
_REST: Final = 0.005


class _Abandoned(BaseException):
    """Nobody waits for it any more."""


class _Done(Generic[T]):
    """What became of the work; taken from here it is known nowhere else.

    An error knows the frames of its thread. Would the executor hand it on, they knew it too, and a body with it would
    stay until the garbage collector runs.
    """

    result: T
    error: Exception | None = None

    def taken(self) -> T:
        """The result; raises the error."""
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
            result = self.result
            del self.result
            return result
        finally:
            del error


class _Here(threading.local):
    """What is known of the work in this thread."""

    abandoned: threading.Event | None = None
    since = 0.0


_here: Final = _Here()
# One thread each: of two that work at a time the event loop feels more than the sum.
_threads: Final = {
    False: ThreadPoolExecutor(1, thread_name_prefix="large"),
    True: ThreadPoolExecutor(1, thread_name_prefix="very-large"),
}


async def aside(size: int, work: Callable[..., T], *args: Any) -> T:
    """Do what takes time in proportion to `size`: in a thread where that is more than `LARGE` bytes.

    Once its caller is cancelled it ends at its next rest. Raises what `work` raises.
    """
    if size <= LARGE:
        return work(*args)
    abandoned, done = threading.Event(), _Done[T]()
    run = partial(copy_context().run, _worked, done, abandoned, partial(work, *args))
    try:
        await asyncio.get_running_loop().run_in_executor(_threads[size > _VERY_LARGE], run)
    except asyncio.CancelledError:
        abandoned.set()
        raise
    return done.taken()


def rest() -> None:
    """Let others have a turn, where this is a thread that works beside them and has worked for a while."""
    if _here.abandoned is None:
        return
    if _here.abandoned.is_set():
        raise _Abandoned
    if perf_counter() - _here.since >= _WORK:
        sleep(_REST)
        _here.since = perf_counter()


def _worked(done: _Done[T], abandoned: threading.Event, work: Callable[[], T]) -> None:
    if abandoned.is_set():
        return
    _here.abandoned, _here.since = abandoned, perf_counter()
    try:
        done.result = work()
    except _Abandoned:
        pass
    except Exception as error:
        done.error = error
    finally:
        _here.abandoned = None
