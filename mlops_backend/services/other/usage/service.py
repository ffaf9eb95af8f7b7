"""Usage: what the ledger knows, added up or row by row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from time import time
from typing import Any, Final

from sqlalchemy import Row, Select

from mlops_backend.days import UTC_DAYS, Calendar
from mlops_backend.errors import NotFound, Unavailable
from mlops_backend.principal import person_in
from mlops_backend.schemas.usage import Dimension, Interval
from mlops_backend.services.other.database import Database
from mlops_backend.services.other.usage.closed_days import chosen, fitting_table, right
from mlops_backend.services.other.usage.generation_row import LONGEST_ID, fitting, row_of
from mlops_backend.services.other.usage.latency import Latency, distributions, read
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.prices import PriceList
from mlops_backend.services.other.usage.queries import (
    DAY,
    Amounts,
    Closed,
    Group,
    Span,
    amounts,
    column_of,
    largest,
    last_rolled_up,
    names_of,
    tokens_since,
)
from mlops_backend.services.other.usage.whole_rows import newest, one, page
from mlops_backend.shares import ASKING, NoTurn, Shares

_PAGE: Final = 1000
# The pool has 15 connections, and the keys and the ledger need some of them whatever is asked here.
AT_ONCE: Final = 4
_EACH: Final = 1
_PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class UsageTable:
    """Usage by groups.

    `total` is of the whole span, whether or not all of it is in `groups`. `truncated`: there are more groups.
    `names` are of keys, by their ids. `hourly_from` is where a series of hours can begin, in milliseconds. `has_rest`:
    only the largest groups are told apart.
    """

    groups: Sequence[Group]
    total: Amounts
    truncated: bool
    names: dict[str, str]
    hourly_from: int | None
    has_rest: bool = False


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """How long generations took, all of them and by groups, the largest first.

    `truncated`: there are more groups. `known_from` is where they are known one by one, in milliseconds.
    """

    total: Latency
    groups: Sequence[Latency]
    truncated: bool
    known_from: int


class Usage:
    """Answers questions about past generations.

    Args:
        database: what is asked.
        ledger: what is not there yet.
        prices: what that costs.
        others: comes back when other workers of this service have written what they know.
        calendar: the operator's days.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        prices: PriceList,
        others: Callable[[], Awaitable[None]] | None = None,
        calendar: Calendar = UTC_DAYS,
    ) -> None:
        self.calendar: Final = calendar
        self._database = database
        self._ledger = ledger
        self._prices = prices
        self._others = others
        self._turns = Shares(AT_ONCE, _EACH, _PATIENCE)

    async def table(
        self,
        span: Span,
        dimensions: Sequence[Dimension],
        interval: Interval,
        limit: int,
        top: int | None = None,
    ) -> UsageTable:
        """Usage by groups, `limit` of them at most; with `top` the largest of them, and all others as one.

        Raises:
            Unavailable: too many others ask.
            DatabaseDown: it cannot be reached.
        """
        await self._others_wrote()
        until = int(time() * 1000) + DAY
        closed = await self._closed(span, dimensions)
        # The first time that decades are asked for, their days are looked up one by one.
        apart = None if top is None else [row[0] for row in await self._all(largest(span, dimensions[0], top, closed))]
        used = None if interval is Interval.HOUR else closed
        query = await asyncio.to_thread(amounts, span, dimensions, interval, limit + 1, until, apart, used)
        found = await self._all(query)
        groups = await asyncio.to_thread(lambda: [_group(row, dimensions) for row in found[:limit]])
        if len(found) > limit or interval is Interval.HOUR:
            (whole,) = await self._all(amounts(span, (), Interval.NONE, 1, closed=await self._closed(span, ())))
            total = Amounts.of(whole)
        else:
            total = _sum([group.amounts for group in groups])
        ids = {key_id for group in groups if (key_id := group.values.get(Dimension.KEY)) is not None}
        hourly_from = await self._hourly_from(span) if interval is Interval.HOUR else None
        return UsageTable(groups, total, len(found) > limit, await self._names(ids), hourly_from, top is not None)

    async def latency(self, span: Span, dimension: Dimension | None, limit: int) -> LatencyTable:
        """How long generations took; of the largest groups, `limit` of them at most.

        Raises:
            Unavailable: too many others ask.
            DatabaseDown: it cannot be reached.
        """
        await self._others_wrote()
        dimensions = () if dimension is None else (dimension,)
        closed = await self._closed(span, dimensions, latencies=True)
        found = await self._all(distributions(span, dimension, limit + 1, closed))
        total, groups = await asyncio.to_thread(read, found)
        return LatencyTable(total, groups[:limit], len(groups) > limit, await self._hourly_from(span))

    async def newest(
        self, span: Span, before: tuple[int, str] | None, limit: int
    ) -> tuple[list[dict[str, Any]], tuple[int, str] | None]:
        """A page of generations, the newest first, and before which one the next page begins.

        Raises:
            Unavailable: too many others ask.
            DatabaseDown: it cannot be reached.
        """
        await self._others_wrote()
        rows = [_named(row) for row in await self._all(newest(span, before, limit + 1))]
        page = rows[:limit]
        return page, (page[-1]["started_at"], page[-1]["id"]) if len(rows) > limit else None

    async def generation(self, known_as: str, key_id: str | None) -> dict[str, Any]:
        """One generation, by our id of it or by its request's: of a key, or of all; of several the newest.

        What this process has not written yet is found, too.

        Raises:
            NotFound: there is none, or it is another key's.
            DatabaseDown: it cannot be reached.
        """
        for generation in reversed(self._ledger.unwritten()):
            mine = key_id is None or generation.key_id == key_id
            if mine and known_as in {generation.id, generation.request_id}:
                names = await self._names({generation.key_id})
                return {**row_of(generation, self._prices), "name": names[generation.key_id]}
        await self._others_wrote()
        for column in ("id", "request_id") if fitting(known_as, LONGEST_ID) == known_as else ():
            for row in await self._all(one(column, known_as, key_id)):
                return _named(row)
        raise NotFound("There is no such generation.")

    async def pages(self, span: Span) -> AsyncGenerator[list[dict[str, Any]], None]:
        """All generations of a span, oldest first, some at a time; nothing is held between one page and the next.

        Raises:
            DatabaseDown: it cannot be reached, at any page.
        """
        await self._others_wrote()
        after: tuple[int, str] | None = None
        while rows := [_named(row) for row in await self._all(page(span, after, _PAGE))]:
            yield rows
            after = rows[-1]["started_at"], rows[-1]["id"]

    async def used(self, principal_id: str, since: datetime) -> int:
        """Prompt and completion tokens of what a key, or one of its people, started at `since`, a midnight, or later.

        Those that this process has not written yet count; nothing is counted twice.

        Raises:
            DatabaseDown: it cannot be reached.
        """
        start = round(since.timestamp() * 1000)
        key_id, person = person_in(principal_id)
        async with self._ledger.still():
            ((written,),) = await self._read(tokens_since(key_id, start, self.calendar, person))
            unwritten = self._ledger.unwritten()
        mine = [row for row in unwritten if row.key_id == key_id and row.started_at >= start]
        return int(written) + sum(row.tokens for row in mine if person is None or row.end_user == person)

    async def _others_wrote(self) -> None:
        if self._others is not None:
            await self._others()

    async def _closed(self, span: Span, dimensions: Sequence[Dimension], *, latencies: bool = False) -> Closed | None:
        """The days whose sums answer a question, if any do."""
        table = fitting_table(span, dimensions, latencies=latencies)
        if table is None or span.end - span.start < DAY:
            return None
        return chosen(table, span, await self._all(right(span)))

    async def _hourly_from(self, span: Span) -> int:
        ((day,),) = await self._all(last_rolled_up(span))
        return span.start if day is None else max(span.start, span.calendar.start(int(day) + 1) * 1000)

    async def _names(self, ids: set[str]) -> dict[str, str]:
        found = {row.id: row.name for row in await self._all(names_of(sorted(ids)))} if ids else {}
        return {key_id: key_name(key_id, found.get(key_id)) for key_id in ids}

    async def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """Ask when it is one's turn: whoever asks much must not keep the database from those who check keys."""
        try:
            async with self._turns.turn(ASKING.get()):
                return await self._read(query)
        except NoTurn:
            raise Unavailable("Too many questions about usage are asked at present; try again soon.") from None

    async def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        async with self._database.reading() as connection:
            return (await connection.execute(query)).all()


def key_name(key_id: str, name: str | None) -> str:
    """What a key is called: one of the settings carries its name in its id, one that was deleted has only that."""
    return name if name is not None else key_id.removeprefix("settings:")


def _named(row: Row[Any]) -> dict[str, Any]:
    told = dict(row._mapping)
    return {**told, "name": key_name(told["key_id"], told["name"])}


def _group(row: Row[Any], dimensions: Sequence[Dimension]) -> Group:
    told = row._mapping
    start = int(told["bucket"]) if "bucket" in told else None
    return Group(start, {dimension: told[column_of(dimension)] for dimension in dimensions}, Amounts.of(row))


def _sum(parts: Sequence[Amounts]) -> Amounts:
    return Amounts(*(sum(getattr(part, field.name) for part in parts) for field in fields(Amounts)))
