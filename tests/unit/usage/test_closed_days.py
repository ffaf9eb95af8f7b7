"""Sums of days that are over: they are used, they are what their rows are, and they never outlive these."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any, Final

import pytest
from sqlalchemy import delete, func, select, update

from mlops_backend.days import Calendar
from mlops_backend.schemas.usage import Dimension, Interval
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import (
    closed_day_keys,
    closed_day_latencies,
    closed_day_sums,
    closed_days,
    generations,
)
from mlops_backend.services.other.usage import closed_days as module
from mlops_backend.services.other.usage.closed_days import ClosedDays
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.prices import PriceList
from mlops_backend.services.other.usage.queries import DAY, HOUR, Span
from mlops_backend.services.other.usage.retention import Retention
from mlops_backend.services.other.usage.service import Usage
from tests.ledger_rows import insert_rows, opened, row

SUMS: Final = (closed_day_sums, closed_day_keys, closed_day_latencies)
DAYS: Final = 12
NOW: Final = DAYS * DAY / 1000
# Days before the clocks of Lord Howe, half an hour from other zones, changed by half an hour.
STARTS: Final = {"UTC": 0, "Australia/Lord_Howe": 14880}
FILTERS: Final = (
    (),
    ((Dimension.OUTCOME, "error,timeout"),),
    ((Dimension.KEY, "key_1"),),
    ((Dimension.MODEL, "m1"), (Dimension.KEY, "key_2")),
    ((Dimension.BACKEND, "x"), (Dimension.ROUTE, "/api/chat")),
    ((Dimension.END_USER, ""),),
)


def some_rows(start: int, many: int = 120) -> list[dict[str, Any]]:
    """Generations of `DAYS` days from `start` on, in milliseconds."""
    random = Random(14)
    return [
        row(
            number,
            start + random.randrange(DAYS * DAY),
            key_id=f"key_{random.randrange(3)}",
            model=f"m{random.randrange(9)}",
            backend=random.choice("xy"),
            outcome=random.choice(("done", "done", "error", "timeout")),
            route=random.choice(("/api/chat", "/v1/messages")),
            end_user=random.choice(("", "somebody")),
            prompt_tokens=random.randrange(2**40),
            price=random.randrange(2**40),
            estimated=random.random() < 0.3,
            cached=random.random() < 0.1,
            streamed=random.choice((True, False, None)),
            total_ms=random.randrange(10**5),
        )
        for number in range(many)
    ]


def usage_of(database: Database, calendar: Calendar | None = None) -> Usage:
    """What answers."""
    prices = PriceList({})
    return Usage(database, Ledger(database, prices, 10), prices, calendar=calendar or Calendar())


async def answers(usage: Usage, start: int) -> list[Any]:
    """Of spans that begin and end within days: series, the largest groups and latencies, each by another filter."""
    short, long = (start + 5 * HOUR + 17, start + 9 * DAY + HOUR), (start - DAY, start + 40 * DAY)
    spans = [Span(*(short, long)[at % 2], only, usage.calendar) for at, only in enumerate((*FILTERS, ()))]
    by = zip(spans, Dimension, strict=True)
    return [
        *[await usage.table(span, [dimension], Interval.DAY, 1000, 2) for span, dimension in by],
        await usage.table(spans[1], [Dimension.MODEL, Dimension.ROUTE], Interval.MONTH, 1000),
        await usage.table(spans[0], [], Interval.HOUR, 1000),
        await usage.table(spans[0], [Dimension.KEY], Interval.NONE, 3),
        await usage.latency(spans[1], Dimension.MODEL, 2),
        await usage.latency(spans[0], None, 2),
    ]


async def counted(database: Database, table: Any) -> int:
    """How many rows a table has."""
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with twelve days of 1970 in it."""
    async with opened(database_url) as found:
        await insert_rows(found, some_rows(0))
        yield found


@pytest.mark.parametrize("name", STARTS)
async def test_sums_say_what_rows_say(database_url: str, name: str) -> None:
    """Every answer is the same with the sums and without, as rows come late, are deleted, and as days are rolled up."""
    calendar, start = Calendar(name), STARTS[name] * DAY
    now = start / 1000 + NOW
    async with opened(database_url) as database:
        await insert_rows(database, some_rows(start))
        usage = usage_of(database, calendar)
        before = await answers(usage, start)
        assert await ClosedDays(database, 90, calendar).sweep(now) >= DAYS - 1
        assert await answers(usage, start) == before
        await insert_rows(database, [row(5000, start + 4 * DAY), row(5001, start + 4 * DAY + 1, model="late")])
        async with database.writing() as connection:
            await connection.execute(delete(generations).where(generations.c.started_at < start + DAY // 2))
        changed = await answers(usage, start)
        assert changed != before
        async with database.writing() as connection:
            await connection.execute(delete(closed_days))
        assert await answers(usage, start) == changed


async def test_sums_are_used(database: Database) -> None:
    """Wrong ones would be told: no question that they answer goes over the rows of their days."""
    await ClosedDays(database, 90).sweep(NOW)
    async with database.writing() as connection:
        for table in (closed_day_sums, closed_day_keys):
            await connection.execute(update(table).values(bytes_in=0))
        await connection.execute(update(closed_day_latencies).values(count=0))
    span, usage = Span(DAY, 11 * DAY), usage_of(database)
    for dimensions in ([], [Dimension.MODEL], [Dimension.KEY], [Dimension.OUTCOME, Dimension.BACKEND]):
        assert (await usage.table(span, dimensions, Interval.DAY, 1000)).total.bytes_in == 0
    assert (await usage.table(span.of_key("key_1"), [Dimension.MODEL], Interval.DAY, 1000, 7)).total.bytes_in == 0
    assert (await usage.latency(span, Dimension.MODEL, 7)).total.generations == 0
    assert (await usage.table(span, [Dimension.END_USER], Interval.DAY, 1000)).total.bytes_in > 0


async def test_a_day_that_has_changed_is_added_up_anew(database: Database) -> None:
    """At the next sweep, and no other day with it."""
    days = ClosedDays(database, 90)
    assert [await days.sweep(NOW), await days.sweep(NOW)] == [DAYS, 0]
    await insert_rows(database, [row(5000, 4 * DAY)])
    assert [await days.sweep(NOW), await days.sweep(NOW)] == [1, 0]


async def test_a_question_that_is_at_the_sums_of_a_day_finds_them(database: Database) -> None:
    """While the day is added up anew it has its old ones; nobody is told of a day without generations."""
    seen = []

    class Watched(ClosedDays):
        async def _add_up(self, began: int, until: int) -> None:
            seen.append([await counted(database, table) for table in (closed_days, *SUMS)])
            await super()._add_up(began, until)

    await ClosedDays(database, 90).sweep(NOW)
    before = [await counted(database, table) for table in (closed_days, *SUMS)]
    await insert_rows(database, [row(5000, 4 * DAY)])
    assert await Watched(database, 90).sweep(NOW) == 1
    assert seen == [before]


async def test_no_sums_outlive_their_rows(database: Database) -> None:
    """They go with the day that is rolled up, and at the next sweep with rows that somebody deleted."""
    days = ClosedDays(database, 90)
    await days.sweep(NOW)
    await Retention(database, 2).sweep(NOW)
    assert await counted(database, closed_days) == 2
    async with database.writing() as connection:
        await connection.execute(delete(generations))
    await days.sweep(NOW)
    assert [await counted(database, table) for table in (closed_days, *SUMS)] == [0] * 4


async def test_another_zone_has_sums_of_its_own(database: Database) -> None:
    """Those of other days are not used, and replaced by the first sweep."""
    await ClosedDays(database, 90).sweep(NOW)
    calendar = Calendar("Asia/Kathmandu")
    usage = usage_of(database, calendar)
    before = await answers(usage, 0)
    assert await ClosedDays(database, 90, calendar).sweep(NOW) >= DAYS - 1
    assert await answers(usage, 0) == before
    async with database.reading() as connection:
        starts = (await connection.execute(select(closed_days.c.started_at))).scalars().all()
    assert {calendar.start(calendar.day_at(start // 1000)) * 1000 for start in starts} == set(starts)


async def test_a_day_with_too_many_sums_has_none(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told from its rows, and not tried again."""
    before = await answers(usage_of(database), 0)
    monkeypatch.setattr(module, "_MOST_SUMS", 5)
    days = ClosedDays(database, 90)
    assert [await days.sweep(NOW), await days.sweep(NOW)] == [DAYS, 0]
    assert [await counted(database, table) for table in SUMS] == [0] * 3
    assert await answers(usage_of(database), 0) == before


async def test_a_day_whose_sums_do_not_fit_has_none(database: Database) -> None:
    """Its rows are told to the last digit."""
    await insert_rows(database, [row(6000 + number, 3 * DAY, price=2**62) for number in range(3)])
    days = ClosedDays(database, 90)
    assert [await days.sweep(NOW), await days.sweep(NOW)] == [DAYS, 0]
    table = await usage_of(database).table(Span(3 * DAY, 4 * DAY), [], Interval.NONE, 10)
    assert table.total.price > 3 * 2**62


async def test_a_sweep_ends_when_it_is_told_to_stop(database: Database) -> None:
    """Days that are left are for the next; what is there is whole."""
    days = ClosedDays(database, 90)
    await days.aclose()
    assert await days.sweep(NOW) == 0
    assert await counted(database, closed_days) == 0
