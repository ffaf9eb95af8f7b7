"""The ledger: every finished generation becomes one row, beside the requests and never in their way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from time import monotonic, time
from typing import Any, Final

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from mlops_backend.errors import DatabaseDown
from mlops_backend.services.other.database import Database, generations, insert_into
from mlops_backend.services.other.usage.generation_row import Noted, noted, row_of
from mlops_backend.services.other.usage.prices import PriceList
from mlops_backend.telemetry.exceptions import named
from mlops_backend.telemetry.record import RequestRecord

INTERVAL: Final = 0.5
_MANY: Final = 1000
_CHUNK: Final = 250
_LOOK: Final = 0.005
_RETRY_AFTER: Final = 1.0
_CLOSING_TIME: Final = 5.0
_QUIET: Final = 60.0
# PostgreSQL's classes of what is wrong with the values of a row: data, integrity, and a row too large.
_FAULTS: Final = ("22", "23", "54")

log: Final = structlog.get_logger(__name__)


class Ledger:
    """Keeps finished generations in memory until they are written, half a second at most while the database answers.

    Args:
        database: where they go.
        prices: what they cost.
        capacity: how many may wait while the database is away; those that come then are lost.

    Attributes:
        heard: is told of each generation, too.
    """

    def __init__(self, database: Database, prices: PriceList, capacity: int) -> None:
        self._database = database
        self._prices = prices
        self._capacity = capacity
        self._waiting: deque[Noted] = deque()
        self._some, self._many, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.heard: Callable[[Noted], None] | None = None
        self._away = False
        self._quiet_until = 0.0
        self._left = 0
        self.written = 0
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many are not written yet."""
        return len(self._waiting)

    @property
    def lag(self) -> float:
        """Seconds since the oldest that is not written has ended."""
        if not self._waiting:
            return 0.0
        oldest = self._waiting[0]
        return max(0.0, time() - oldest.started_at / 1000 - oldest.total)

    def note(self, record: RequestRecord, now: float) -> None:
        """Take down a generation that has just ended; never raises.

        Args:
            record: what is known of it.
            now: its end, in `perf_counter()` seconds.
        """
        if len(self._waiting) >= self._capacity:
            self._drop("the ledger is full: generations go unrecorded")
            return
        try:
            row = noted(record, now)
            self._waiting.append(row)
        except Exception as error:
            self._drop("a generation cannot be recorded", error=type(error).__name__)
            return
        self._some.set()
        if len(self._waiting) >= _MANY:
            self._many.set()
        if self.heard is not None:
            with suppress(Exception):  # who hears of it cannot undo that it was taken down
                self.heard(row)

    async def open(self) -> None:
        """Start writing."""
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Write what waits, within five seconds; the log says what was lost."""
        self._closing.set()
        self._some.set()
        self._many.set()
        if self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=_CLOSING_TIME)
            if not done:
                self._task.cancel()
                with suppress(asyncio.CancelledError):
                    await self._task
        if self._waiting:
            self.dropped += len(self._waiting)
            log.error("generations are lost: the database was away to the end", lost=len(self._waiting))
            self._waiting.clear()
        self._capacity = 0

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Hold the writing for a moment: until the end of the block nothing goes from what waits to the database."""
        async with self._writing:
            yield

    def unwritten(self) -> Sequence[Noted]:
        """What waits, oldest first; a row leaves it when it is in the database, and not before."""
        return tuple(self._waiting)

    async def write_now(self, patience: float) -> None:
        """Have what waits now written, and come back when it is, or when so many seconds have passed."""
        last, until = self._left + len(self._waiting), monotonic() + patience
        while self._left < last and monotonic() < until:
            self._some.set()
            self._many.set()
            await asyncio.sleep(_LOOK)

    async def _run(self) -> None:
        """Sleep until something comes, let more come for a while, write it all; to the end of everything."""
        while not self._closing.is_set() or self._waiting:
            await self._some.wait()
            await _set_within(self._many, INTERVAL)
            if not await self._flush():
                await _set_within(self._closing, _RETRY_AFTER)
                await asyncio.sleep(_RETRY_AFTER / 10)

    async def _flush(self) -> bool:
        """Write what waits now, and nothing that comes meanwhile; whether that worked."""
        if not self._closing.is_set():
            self._some.clear()
            self._many.clear()
        left = self.waiting
        try:
            while left > 0:
                async with self._writing:
                    await self._write(list(islice(self._waiting, min(left, _CHUNK))))
                left -= _CHUNK
        except Exception as error:
            self._some.set()
            self._note_away(error)
            return False
        self._note_back()
        return True

    async def _write(self, rows: Sequence[Noted]) -> None:
        """Write the oldest that wait; a row that the database does not take is given up, and no other with it.

        Raises:
            Exception: nobody can write at present; what was written is not among those that wait any more.
        """
        try:
            await self._insert([row_of(row, self._prices) for row in rows])
        except Exception as error:
            if not _is_fault_of_row(error):
                raise
            if len(rows) > 1:
                await self._write(rows[: len(rows) // 2])
                await self._write(rows[len(rows) // 2 :])
                return
            self._drop("the database does not take a row of the ledger", id=rows[0].id, error=type(error).__name__)
        else:
            self.written += len(rows)
        for _ in rows:
            self._waiting.popleft()
            self._left += 1

    async def _insert(self, rows: list[dict[str, Any]]) -> None:
        """One transaction; a row that is there already, since its commit was not heard of, stays as it is."""
        async with self._database.writing() as connection:
            statement = insert_into(generations, connection.dialect.name).on_conflict_do_nothing(index_elements=["id"])
            await connection.execute(statement, rows)

    def _drop(self, sentence: str, **fields: Any) -> None:
        self.dropped += 1
        if monotonic() >= self._quiet_until:
            self._quiet_until = monotonic() + _QUIET
            log.error(sentence, dropped=self.dropped, waiting=self.waiting, **fields)

    def _note_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            reason = error.code if isinstance(error, DatabaseDown) else named(error)
            log.warning("the ledger waits for the database", waiting=self.waiting, reason=reason)

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            log.info("the ledger is written again", written=self.written, dropped=self.dropped)


def _is_fault_of_row(error: Exception) -> bool:
    """Whether it is the values that cannot be written, rather than anything at all."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return isinstance(error, IntegrityError | DataError) or state.startswith(_FAULTS)
    return isinstance(error, ValueError | TypeError | OverflowError)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
