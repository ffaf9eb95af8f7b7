"""Coroutines that run at once as far as they can: what need not wait needs no task.

A task costs its making, a turn of the loop and its context; most of what a request does is here already when it is
asked for. Python 3.12 has eager tasks; this does the same on 3.11, with any event loop, and makes no task at all
where nothing waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Begun(Generic[T]):
    """A coroutine that has run until it first had to wait, in the task that made this.

    It must not ask for the current task (as `asyncio.timeout` does) before its first wait: it goes on in another one.
    """

    __slots__ = ("_rest", "_waits_for", "done")

    def __init__(self, begun: Coroutine[Any, Any, T]) -> None:
        """Run it; raises what it raises."""
        self._rest: Coroutine[Any, Any, T] | None = None
        self._waits_for: Any = None
        self.done = False
        try:
            self._waits_for = begun.send(None)
        except StopIteration:
            self.done = True
        else:
            self._rest = begun

    def task(self) -> asyncio.Task[T]:
        """The rest of it as a task; asked for once, and not when it is done."""
        rest, self._rest = self._rest, None
        assert rest is not None, "there is a rest, and it is asked for once"  # noqa: S101 - a programming error
        going_on = _going_on(rest, self._waits_for)
        going_on.send(None)  # else a task that is cancelled before its first turn would not reach it
        return asyncio.get_running_loop().create_task(going_on)

    def close(self) -> None:
        """End it where it waits; nothing happens where it is done, or is a task."""
        if self._rest is not None:
            self._rest.close()
            self._rest = None


async def _going_on(begun: Coroutine[Any, Any, T], waits_for: Any) -> T:
    return await _steps(begun, waits_for)


@coroutine
def _steps(begun: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """What a task does with a coroutine whose first step has been taken, behind one step that does nothing."""
    is_new, failure = True, None
    while True:
        try:
            yield None if is_new else waits_for
        except GeneratorExit:
            begun.close()
            raise
        except BaseException as error:
            failure = error
        try:
            if failure is not None:
                waits_for = begun.throw(failure)
            elif not is_new:
                waits_for = begun.send(None)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            failure = None  # it knows this frame
        is_new = False
