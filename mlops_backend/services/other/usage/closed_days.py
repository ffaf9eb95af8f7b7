"""Sums of days that are over, beside their rows: a month of a million generations is added up from some thousand.

Rows of the ledger come, go with their day, and never change. So the sums of a day are right as long as it has as many
rows as they were made of; a day of which that is not so is added up from its rows until the next sweep.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import structlog
from sqlalchemy import Row, RowMapping, Select, Table, delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.days import UTC_DAYS, Calendar
from mlops_backend.schemas.usage import Dimension
from mlops_backend.services.other.database import (
    Database,
    Hourly,
    Turn,
    closed_day_keys,
    closed_day_latencies,
    closed_day_sums,
    closed_days,
    generations,
    take_turn,
)
from mlops_backend.services.other.usage.latency import buckets_of
from mlops_backend.services.other.usage.queries import BILLION, NEVER, Closed, Span, sums_of_rows

_SECOND: Final = 1000
# Older days are added up from their rows.
_MOST_DAYS: Final = 400
# A day with more of them in one table is not worth it.
_MOST_SUMS: Final = 50_000
# So many at once: requests that run beside it have their turn in between.
_CHUNK: Final = 250
# Of a day that stays without: a number of generations that no day has.
_WITHOUT: Final = -1
_LARGEST: Final = 2**63 - 1
_BEGIN: Final = "started_at"
_SUMS: Final = (closed_day_sums, closed_day_keys)
_TABLES: Final = (*_SUMS, closed_day_latencies)

_Day = tuple[int, int]
_Sums = dict[Table, list[dict[str, Any]]]

log: Final = structlog.get_logger(__name__)


def fitting_table(span: Span, dimensions: Sequence[Dimension], *, latencies: bool) -> Table | None:
    """What has the sums that a question asks for, if any table has."""
    tables = (closed_day_latencies,) if latencies else _SUMS
    return next((table for table in tables if span.is_told_by(table, dimensions)), None)


def right(span: Span) -> Select[tuple[int, int]]:
    """From when to when the closed days of a span go whose sums are right, the oldest first."""
    rows, days = generations.c, closed_days.c
    within = rows.started_at >= days.started_at, rows.started_at < days.until
    count = select(func.count()).select_from(generations).where(*within).scalar_subquery()
    whole = days.started_at >= span.start, days.until <= span.end, days.generations == count
    return select(days.started_at, days.until).where(*whole).order_by(days.started_at)


def chosen(table: Table, span: Span, found: Sequence[Row[tuple[int, int]]]) -> Closed | None:
    """The most of these days that lie behind each other and are days of the span's calendar."""
    best, start, end = (0, 0), 0, 0
    for began, until in found:
        if (began, until) == _day(span.calendar, span.calendar.day_at(began // _SECOND)):
            start, end = (start if began == end else began), until
            best = max(best, (start, end), key=lambda each: each[1] - each[0])
    return Closed(table, replace(span, start=best[0], end=best[1])) if best[1] else None


async def forget(connection: AsyncConnection, start: int, end: int) -> None:
    """Delete the sums of all days that have a part in these milliseconds; for who holds a transaction."""
    days = closed_days.c.started_at < end, closed_days.c.until > start
    for table in _TABLES:
        await connection.execute(
            delete(table).where(table.c.started_at.in_(select(closed_days.c.started_at).where(*days)))
        )
    await connection.execute(delete(closed_days).where(*days))


class ClosedDays(Hourly):
    """Adds up, every hour, the days that are over and have no sums that are right.

    Several processes may do so at once, and each may be killed at any moment: the sums of a day come in one
    transaction. No transaction that writes waits for the sums to be made.

    Args:
        database: what holds them.
        days: `USAGE_RETENTION_DAYS`; what is older is rolled up.
        calendar: what a day is. Sums of another calendar's days are deleted.
    """

    def __init__(self, database: Database, days: int, calendar: Calendar = UTC_DAYS) -> None:
        super().__init__()
        self._calendar = calendar
        self._database = database
        self._days = min(days, _MOST_DAYS)

    async def sweep(self, now: float) -> int:
        """Add up what is over at `now`, in seconds since the epoch, the newest first; how many days that were.

        Raises:
            DatabaseDown: it cannot be reached; what was added up before stays so.
        """
        today = self._calendar.day_at(int(now))
        wanted = await self._wanted(today)
        known, all_days = await self._known()
        for stale in all_days - wanted:  # what is added up anew has its old sums until then: a question may be at them
            async with self._writing() as connection:
                await forget(connection, *stale)
        done = 0
        for began, until in sorted(wanted - known, reverse=True):
            if self._closing.is_set():
                break
            await self._add_up(began, until)
            done += 1
        return done

    def _tell(self, done: int) -> None:
        log.info("days of the ledger are added up", days=done)

    def _tell_failed(self) -> None:
        log.exception("days of the ledger cannot be added up")

    async def _wanted(self, today: int) -> set[_Day]:
        """Every day from the first that has rows on, so that they lie behind each other."""
        begin = _day(self._calendar, max(0, today - self._days))[0]
        query = select(func.min(generations.c.started_at)).where(generations.c.started_at >= begin)
        async with self._database.reading() as connection:
            moment = (await connection.execute(query)).scalar()
        first = today if moment is None else self._calendar.day_at(int(moment) // _SECOND)
        days = [_day(self._calendar, day) for day in range(first, today)]
        return {(began, until) for began, until in days if began < until}

    async def _known(self) -> tuple[set[_Day], set[_Day]]:
        """The days that need not be added up, and all that there are."""
        everything = select(closed_days.c.started_at, closed_days.c.until)
        without = everything.where(closed_days.c.generations == _WITHOUT)
        queries = (right(Span(0, NEVER)), without, everything)
        async with self._database.reading() as connection:
            found = [{(row[0], row[1]) for row in await connection.execute(query)} for query in queries]
        return found[0] | found[1], found[2]

    async def _add_up(self, began: int, until: int) -> None:
        count, sums = await self._read(Span(began, until))
        async with self._writing() as connection:
            await forget(connection, began, until)
            await connection.execute(insert(closed_days), [{"started_at": began, "until": until, "generations": count}])
            for table, rows in sums.items():
                for some in range(0, len(rows), _CHUNK):
                    values = [{**row, _BEGIN: began} for row in rows[some : some + _CHUNK]]
                    await connection.execute(insert(table), values)

    async def _read(self, day: Span) -> tuple[int, _Sums]:
        """How many rows a day has, and the sums of these very rows, or none where they are too many or too large."""
        sums: _Sums = {}
        async with self._database.reading() as connection:
            if not self._database.is_sqlite:
                await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            rows = select(func.count()).select_from(generations).where(*day.conditions(generations))
            count = int((await connection.execute(rows)).scalar_one())
            for table in _TABLES:
                sums[table] = []
                async with connection.stream(_summed(table, day).limit(_MOST_SUMS + 1)) as found:
                    async for chunk in found.mappings().partitions(_CHUNK):
                        sums[table] += map(_stored, chunk)
        fit = all(len(rows) <= _MOST_SUMS and all(map(_fits, rows)) for rows in sums.values())
        return (count, sums) if fit else (_WITHOUT, {})

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        """One at a time, so that no day gets the sums of two."""
        async with self._database.writing() as connection:
            await take_turn(connection, Turn.ADDING_UP)
            yield connection


def _day(calendar: Calendar, day: int) -> _Day:
    return calendar.start(day) * _SECOND, calendar.start(day + 1) * _SECOND


def _summed(table: Table, day: Span) -> Select[Any]:
    """What one of the tables is to have of a day."""
    names = [column.name for column in table.primary_key if column.name in generations.c and column.name != _BEGIN]
    return buckets_of(day, names) if table is closed_day_latencies else sums_of_rows(day, names)


def _stored(row: RowMapping) -> dict[str, Any]:
    """With whole numbers, which PostgreSQL's sums are not, and the price as one."""
    told: dict[str, Any] = {name: value if isinstance(value, str) else int(value) for name, value in row.items()}
    if "units" in told:
        told["price"] = told.pop("units") * BILLION + told.pop("billionths")
    return told


def _fits(row: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str) or value <= _LARGEST for value in row.values())
