"""Asking the ledger for the beginning of a counter: once for each, however many wait for it."""

from __future__ import annotations

import asyncio
from typing import Final

from mlops_backend.errors import LimitsUnavailable
from mlops_backend.services.other.limits.limiter import Seed
from mlops_backend.services.other.limits.windows import moment_of

_Question = tuple[str, int]
# A ledger that hangs answers nobody sooner than this; the question itself goes on, and the next one joins it.
PATIENCE: Final = 5.0


class Seeds:
    """The questions under way; one goes on although who asked it has left, for others may wait for it."""

    def __init__(self, seed: Seed) -> None:
        self._seed = seed
        self._asking: dict[_Question, asyncio.Task[int]] = {}

    async def used(self, principal_id: str, start: int) -> int:
        """Tokens used since the start of a window.

        Raises:
            LimitsUnavailable: the ledger does not answer in time.
        """
        question = (principal_id, start)
        task = self._asking.get(question)
        if task is None:
            task = self._asking[question] = asyncio.create_task(self._ask(question))
            task.add_done_callback(lambda done: self._answered(question, done))
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(task)
        except TimeoutError as error:
            raise LimitsUnavailable("The budget of this key cannot be checked at present: a slow ledger.") from error

    async def _ask(self, question: _Question) -> int:
        principal_id, start = question
        try:
            return await self._seed.used(principal_id, moment_of(start))
        except OSError as error:
            raise LimitsUnavailable("The budget of this key cannot be checked at present: no ledger.") from error

    def _answered(self, question: _Question, done: asyncio.Task[int]) -> None:
        del self._asking[question]
        if not done.cancelled():
            done.exception()
