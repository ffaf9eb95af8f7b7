"""Readers who ask for the same at the same time are answered together: a hundred of one journal cost what one does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from mlops_backend.services.other.journals.journal import Page

_Asked = tuple[str, int, float]


class JointReads:
    """Asks once for all who ask alike; what is under way ends when nobody waits for it any more.

    Args:
        read: see `Journals.read`.
    """

    def __init__(self, read: Callable[[str, int, float], Coroutine[Any, Any, Page]]) -> None:
        self._read = read
        self._under_way: dict[_Asked, asyncio.Task[Page]] = {}
        self._readers: Counter[asyncio.Task[Page]] = Counter()

    async def read(self, journal: str, after: int, wait: float) -> Page:
        """See `Journals.read`."""
        asked = journal, after, wait
        if (task := self._under_way.get(asked)) is None:
            task = self._under_way[asked] = asyncio.create_task(self._read(journal, after, wait))
            task.add_done_callback(partial(self._answered, asked))
        self._readers[task] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._readers[task] -= 1
            if not self._readers[task]:
                del self._readers[task]
                self._leave(asked, task)

    def _leave(self, asked: _Asked, task: asyncio.Task[Page]) -> None:
        if not task.done():
            self._under_way.pop(asked, None)  # whoever comes now asks anew
            task.cancel()

    def _answered(self, asked: _Asked, task: asyncio.Task[Page]) -> None:
        if self._under_way.get(asked) is task:
            del self._under_way[asked]
        if not task.cancelled():
            task.exception()  # whoever has left does not look at it
