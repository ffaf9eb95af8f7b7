"""Changes that come while others are being written are written together, in one transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeVar

import structlog

from mlops_backend.errors import AppError, DatabaseBusy
from mlops_backend.services.other.conversations.bounds import Bounds
from mlops_backend.services.other.conversations.lots import Change, NotTogether, written
from mlops_backend.services.other.database import Database, Statements
from mlops_backend.telemetry.exceptions import named

R = TypeVar("R")

_MOST: Final = 200
_MOST_BYTES: Final = 1024 * 1024
_PATIENCE: Final = 10.0
# Who came together is not refused together, which would be one long turn of the event loop.
_SOONEST: Final = 0.5
_CHANCE: Final = Random()  # noqa: S311 - no secret is made of it

log: Final = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    change: Change[Any]
    outcome: asyncio.Future[Any]
    clock: asyncio.TimerHandle

    def take(self) -> bool:
        """Whether it is still wanted; from now on it is not given up."""
        self.clock.cancel()
        return not self.outcome.done()

    def tell(self, outcome: Any) -> None:
        """Let go who waits, if anybody does."""
        if self.outcome.done():
            return
        if isinstance(outcome, BaseException):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)


class Together:
    """Makes changes of conversations, all that wait at a time; keys take turns.

    Args:
        database: where they are.
        bounds: how much may be kept.
    """

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._task: asyncio.Task[None] | None = None

    async def make(self, change: Change[R]) -> R:
        """Make a change; it is stored when this returns.

        Who is cancelled may find it stored all the same.

        Raises:
            AppError: it is refused, or the database is away or busy.
            NotTogether: it was not made, and is to be made in a transaction of its own.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[R] = loop.create_future()
        clock = loop.call_later(_PATIENCE * _CHANCE.uniform(_SOONEST, 1), _give_up, outcome)
        self._waiting.setdefault(change.key_id, deque()).append(_Waiting(change, outcome, clock))
        if self._task is None:
            # In nobody's name: what is written is everybody's.
            self._task = asyncio.create_task(self._write_all(), context=Context())
        try:
            return await outcome
        finally:
            clock.cancel()

    async def _write_all(self) -> None:
        try:
            while lot := self._next():
                await self._write(lot)
        finally:
            self._task = None

    def _next(self) -> list[_Waiting]:
        """Those who are next, one of each key in turn."""
        lot: list[_Waiting] = []
        size = 0
        while self._waiting and len(lot) < _MOST and size < _MOST_BYTES:
            key_id = next(iter(self._waiting))
            line = self._waiting.pop(key_id)
            waiting = line.popleft()
            if line:
                self._waiting[key_id] = line
            if waiting.take():
                lot.append(waiting)
                size += waiting.change.size
        return lot

    async def _write(self, lot: Sequence[_Waiting]) -> None:
        changes = [waiting.change for waiting in lot]

        async def work(connection: Statements) -> list[Any]:
            return await written(connection, changes, self._bounds)

        outcomes: Sequence[Any]
        try:
            outcomes = await self._database.transaction(work)
        except AppError as error:
            outcomes = [type(error)(error.message) for _ in lot]
        except NotTogether:
            outcomes = [NotTogether() for _ in lot]
        except Exception as error:  # one of them is at fault: alone, each finds out whether it is
            log.warning("changes of conversations are made one by one", reason=named(error), number=len(lot))
            outcomes = [NotTogether() for _ in lot]
        except BaseException:
            for waiting in lot:
                waiting.outcome.cancel()
            raise
        for waiting, outcome in zip(lot, outcomes, strict=True):
            waiting.tell(outcome)


def _give_up(outcome: asyncio.Future[Any]) -> None:
    if not outcome.done():
        outcome.set_exception(DatabaseBusy("Too many write to the database at present; try again soon."))
