"""Old days: rolled up into one row for each combination of who and what, and deleted one by one."""

from __future__ import annotations

from typing import Any, Final

import structlog
from sqlalchemy import Integer, Select, Table, cast, delete, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import FromClause

from mlops_backend.days import UTC_DAYS, Calendar
from mlops_backend.errors import DatabaseDown
from mlops_backend.services.other.database import (
    Database,
    Hourly,
    Turn,
    generations,
    insert_into,
    take_turn,
    usage_daily,
)
from mlops_backend.services.other.usage.closed_days import forget

_SECOND: Final = 1000
# Before it there is nothing, wherever one is.
_FIRST: Final = -1
_KEYS: Final = tuple(column.name for column in usage_daily.primary_key if column.name != "day")
_SUMS: Final = ("prompt_tokens", "completion_tokens", "total_ms", "bytes_in", "bytes_out", "price")

log: Final = structlog.get_logger(__name__)


class Retention(Hourly):
    """Rolls up, every hour, the days that are older than they are to be kept in full.

    Several processes may do so at once, and each may be killed at any moment: a day moves in one transaction.

    Args:
        database: what holds them.
        days: `USAGE_RETENTION_DAYS`.
        calendar: what a day is. One that was rolled up by another calendar keeps its number, and gets the rest of its
            rows by this one.
    """

    def __init__(self, database: Database, days: int, calendar: Calendar = UTC_DAYS) -> None:
        super().__init__()
        self._calendar = calendar
        self._database = database
        self._days = days

    async def sweep(self, now: float) -> int:
        """Roll up what is too old at `now`, in seconds since the epoch; how many days that were.

        Raises:
            DatabaseDown: it cannot be reached; days that were rolled up before stay so.
        """
        last = self._calendar.day_at(int(now)) - self._days
        day, done = await self._oldest(_FIRST), 0
        while day is not None and day < last and not self._closing.is_set():
            done += await self._roll_up(day)
            day = await self._oldest(day + 1)
        return done

    def _tell(self, done: int) -> None:
        log.info("old days of the ledger are rolled up", days=done)

    def _tell_failed(self) -> None:
        log.exception("old days of the ledger cannot be rolled up")

    async def _oldest(self, since: int) -> int | None:
        """The first day from `since` on that has rows."""
        begin = self._calendar.start(since) * _SECOND
        query = select(func.min(generations.c.started_at)).where(generations.c.started_at >= begin)
        async with self._database.reading() as connection:
            moment = (await connection.execute(query)).scalar()
        return None if moment is None else self._calendar.day_at(int(moment) // _SECOND)

    async def _roll_up(self, day: int) -> bool:
        """Move one day; a day whose sums do not fit stays, and keeps no other back."""
        try:
            async with self._database.writing() as connection:
                span = (self._calendar.start(day) * _SECOND, self._calendar.start(day + 1) * _SECOND)
                await (_move if self._database.is_sqlite else _move_at_once)(connection, day, *span)
                await forget(connection, *span)
        except DatabaseDown:
            raise
        except Exception:
            log.exception("a day of the ledger cannot be rolled up", day=day)
            return False
        return True


async def _move(connection: AsyncConnection, day: int, start: int, end: int) -> None:
    """SQLite: nobody else writes during a writer's transaction."""
    await connection.execute(_adding("sqlite", _rolled_up(generations, day).where(*_range(start, end))))
    await connection.execute(delete(generations).where(*_range(start, end)))


async def _move_at_once(connection: AsyncConnection, day: int, start: int, end: int) -> None:
    """PostgreSQL: one statement deletes and counts the very same rows, though others write beside it."""
    await take_turn(connection, Turn.ROLLING_UP)
    gone = delete(generations).where(*_range(start, end)).returning(generations).cte("gone")
    await connection.execute(_adding("postgresql", _rolled_up(gone, day)).add_cte(gone))


def _range(start: int, end: int) -> list[Any]:
    return [generations.c.started_at >= start, generations.c.started_at < end]


def _rolled_up(rows: FromClause, day: int) -> Select[Any]:
    """Rows of a day as rows of `usage_daily`."""
    keys = [rows.c[name] for name in _KEYS]
    counts = [func.count().label("generations"), func.sum(cast(rows.c.estimated, Integer)).label("estimated")]
    sums = [func.sum(rows.c[name]).label(name) for name in _SUMS]
    return select(literal(day, Integer).label("day"), *keys, *counts, *sums).group_by(*keys)


def _adding(dialect: str, rows: Select[Any]) -> Any:
    """Insert rows of a day; what is there already, since a generation came late, grows by them."""
    table: Table = usage_daily
    insertion = insert_into(table, dialect).from_select([column.name for column in rows.selected_columns], rows)
    added = {name: table.c[name] + insertion.excluded[name] for name in ("generations", "estimated", *_SUMS)}
    return insertion.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=added)
