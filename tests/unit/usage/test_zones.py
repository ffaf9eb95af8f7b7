"""Reports by the operator's days: a series has what happened between two midnights there, rolled up or not."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import pytest

from mlops_backend.days import Calendar
from mlops_backend.schemas.usage import Dimension, Interval
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.prices import PriceList
from mlops_backend.services.other.usage.queries import Span
from mlops_backend.services.other.usage.retention import Retention
from mlops_backend.services.other.usage.service import Usage
from tests.ledger_rows import insert_rows, opened, row

HOUR: Final = 3_600_000
NAMES: Final = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu")
FIRST: Final = datetime(2010, 10, 20, 3, tzinfo=UTC)
DAYS: Final = 450  # in which every one of them that changes its clocks did so, and Apia left a day out


def in_milliseconds(moment: datetime) -> int:
    """Since the epoch."""
    return round(moment.timestamp() * 1000)


def moments() -> list[int]:
    """Some hundred moments, most of them about where days begin."""
    random = Random(28)
    near = [
        FIRST + timedelta(days=random.randrange(DAYS), hours=random.choice((10, 11, 13, 14, 22, 23)))
        for _ in range(160)
    ]
    return sorted({in_milliseconds(each + timedelta(minutes=random.randrange(0, 60))) for each in near})


def begun(calendar: Calendar, interval: Interval, moment: int) -> int:
    """Where the interval begins that a moment lies in, as Python's own dates have it."""
    number = calendar.day_at(moment // 1000)
    match interval:
        case Interval.HOUR:
            start = calendar.start(number) * 1000
            return start + (moment - start) // HOUR * HOUR
        case Interval.MONTH:
            number, _ = calendar.month_of(number)
    return calendar.start(number) * 1000


async def series(usage: Usage, span: Span, interval: Interval) -> dict[int | None, int]:
    """How many generations each row of a series has."""
    table = await usage.table(span, [Dimension.MODEL], interval, 1000)
    return {group.start: group.amounts.generations for group in table.groups}


async def stored_generations(database: Database, found: list[int]) -> None:
    """A generation at each of these moments."""
    await insert_rows(database, [row(number, moment) for number, moment in enumerate(found)])


def usage_of(database: Database, calendar: Calendar) -> Usage:
    """What answers."""
    prices = PriceList({})
    return Usage(database, Ledger(database, prices, 10), prices, calendar=calendar)


@pytest.mark.parametrize("name", NAMES)
async def test_a_series_goes_by_the_zone(database_url: str, name: str) -> None:
    """Hours, days and months; rolled up, days and months are what they were, and a budget begins with the same."""
    calendar, found = Calendar(name), moments()
    start = (FIRST + timedelta(days=100)).astimezone(calendar.zone)
    span = Span(
        calendar.start(calendar.day_at(int(start.timestamp()))) * 1000, in_milliseconds(FIRST) * 2, (), calendar
    )
    within = [moment for moment in found if moment >= span.start]
    expected = {
        interval: Counter(begun(calendar, interval, moment) for moment in within)
        for interval in (Interval.DAY, Interval.MONTH, Interval.HOUR)
    }
    async with opened(database_url) as database:
        await stored_generations(database, found)
        usage = usage_of(database, calendar)
        for interval, counts in expected.items():
            assert await series(usage, span, interval) == counts, interval
        kept = (FIRST + timedelta(days=300)).timestamp()
        assert await Retention(database, 1, calendar).sweep(kept) > 30
        for interval in (Interval.DAY, Interval.MONTH):
            assert await series(usage, span, interval) == expected[interval], interval
        table = await usage.table(span, [], Interval.HOUR, 1000)
        whole = calendar.start(calendar.day_at(int(kept)) - 1) * 1000
        last = calendar.day_at(max(moment for moment in found if moment < whole) // 1000)
        assert table.hourly_from == calendar.start(last + 1) * 1000 <= whole
        assert table.total.generations == len(within)
        since = datetime.fromtimestamp(span.start / 1000, UTC)
        assert await usage.used("settings:tester", since) == 15 * len(within)


async def test_another_zone_takes_over_what_was_rolled_up(database_url: str) -> None:
    """Nothing is counted twice or lost: sums keep their dates, and the rest of the day at the seam joins them."""
    found = moments()
    async with opened(database_url) as database:
        await stored_generations(database, found)
        kept = (FIRST + timedelta(days=300)).timestamp()
        for name in ("UTC", "Pacific/Apia", "America/St_Johns"):
            calendar = Calendar(name)
            await Retention(database, 1, calendar).sweep(kept)
            kept += 40 * 86_400
            everything = Span(0, in_milliseconds(FIRST) * 2, (), calendar)
            days = await series(usage_of(database, calendar), everything, Interval.DAY)
            assert sum(days.values()) == len(found)
            assert all(start == begun(calendar, Interval.DAY, start or 0) for start in days)
