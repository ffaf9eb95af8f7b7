"""What many ask of Redis at the same time goes there together: most of what a step costs is its way there and back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

# Longer than any answer takes.
_LAST_ANSWERS: Final = 2.0
_MOST_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Width:
    """How many lanes there are, and how many steps go together in one."""

    lanes: int
    together: int


@dataclass(eq=False, slots=True)
class _Step:
    asked: Sequence[Any]
    size: int
    answer: asyncio.Future[Any]


class Lanes:
    """Steps in their order, those together that have come while others were under way.

    A step is taken to its end though its client leaves, which must not tear a connection in the middle of an answer; it
    is not begun for one that has left.

    Args:
        take: takes steps, and gives the answer to each, or its error.
        width: at this moment.
    """

    def __init__(self, take: Callable[[list[Sequence[Any]]], Awaitable[Sequence[Any]]], width: Callable[[], Width]):
        self._take, self._width = take, width
        self._waiting: deque[_Step] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, asked: Sequence[Any]) -> Any:
        """The answer to a step.

        Raises:
            Exception: its error.
        """
        size = sum(len(each) for each in asked if isinstance(each, bytes))
        step = _Step(asked, size, asyncio.get_running_loop().create_future())
        self._waiting.append(step)
        if len(self._running) < self._width().lanes:
            self._running.add(asyncio.create_task(self._run()))
        return await step.answer

    async def finish(self) -> None:
        """Wait for what is under way, but not for ever."""
        if self._running:
            await asyncio.wait(self._running, timeout=_LAST_ANSWERS)

    async def _run(self) -> None:
        try:
            await self._go()
        finally:
            # at once, for whoever comes next looks whether a lane is free
            self._running.discard(cast(asyncio.Task[None], asyncio.current_task()))

    async def _go(self) -> None:
        while steps := self._next():
            try:
                answers = await self._take([step.asked for step in steps])
            except Exception as error:
                answers = [error] * len(steps)
            for step, answer in zip(steps, answers, strict=True):
                if step.answer.done():
                    continue
                if isinstance(answer, Exception):
                    step.answer.set_exception(answer)
                else:
                    step.answer.set_result(answer)

    def _next(self) -> list[_Step]:
        steps: list[_Step] = []
        size, most = 0, self._width().together
        while self._waiting and len(steps) < most and (not steps or size + self._waiting[0].size <= _MOST_BYTES):
            step = self._waiting.popleft()
            if not step.answer.done():
                steps.append(step)
                size += step.size
        return steps
