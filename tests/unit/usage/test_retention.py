"""Rolling up: what is old becomes days, and nothing is counted twice or lost."""

from __future__ import annotations

import asyncio
from time import time
from typing import Any

import pytest
from sqlalchemy import func, select, text
from structlog.testing import capture_logs

from mlops_backend.services.other.database import hourly
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import generations, usage_daily
from mlops_backend.services.other.usage.queries import DAY, HOUR
from mlops_backend.services.other.usage.retention import Retention
from tests.ledger_rows import finished, insert_rows, midnight, opened, row, stored, writing_to


async def days_of(database: Database) -> list[dict[str, Any]]:
    """Everything that was rolled up."""
    async with database.reading() as connection:
        found = await connection.execute(select(usage_daily).order_by(usage_daily.c.day, usage_daily.c.model))
        return [dict(each) for each in found.mappings()]


async def counted(database: Database) -> int:
    """Generations that are known, in full or as parts of days; in one look, as a query of usage has it."""
    rows = select(func.count()).select_from(generations).scalar_subquery()
    days = select(func.coalesce(func.sum(usage_daily.c.generations), 0)).scalar_subquery()
    async with database.reading() as connection:
        return int((await connection.execute(select(rows + days))).scalar_one())


async def test_days_that_are_older_are_rolled_up(database_url: str) -> None:
    """A day goes when all of it is older than the days to keep; its sums are those of its rows."""
    old, kept = midnight(3), midnight(2)
    rows = [
        row(1, old, price=5, estimated=True),
        row(2, old + DAY - 1, price=7, prompt_tokens=2**50),
        row(3, old + HOUR, model="other", bytes_in=1, bytes_out=2, total_ms=3),
        row(4, kept),
        row(5, old - 400 * DAY),
    ]
    async with opened(database_url) as database:
        await insert_rows(database, rows)
        assert await Retention(database, 2).sweep(time()) == 2
        assert [left["request_id"] for left in await stored(database)] == ["request-4"]
        _, first, other = await days_of(database)
    assert first == {
        "day": old // DAY,
        "key_id": "settings:tester",
        "route": "/api/chat",
        "dialect": "ollama",
        "model": "llama3",
        "backend": "http://ollama:11434",
        "outcome": "done",
        "generations": 2,
        "estimated": 1,
        "prompt_tokens": 2**50 + 10,
        "completion_tokens": 10,
        "total_ms": 200,
        "bytes_in": 100,
        "bytes_out": 1000,
        "price": 12,
    }
    assert (other["model"], other["total_ms"], other["bytes_in"], other["bytes_out"]) == ("other", 3, 1, 2)


async def test_a_row_that_comes_late_is_added(database_url: str) -> None:
    """A generation of a day that is rolled up already joins it at the next time."""
    old = midnight(9)
    async with opened(database_url) as database:
        retention = Retention(database, 1)
        await insert_rows(database, [row(1, old, price=5)])
        await retention.sweep(time())
        await insert_rows(database, [row(2, old + HOUR, price=6)])
        await retention.sweep(time())
        assert await retention.sweep(time()) == 0
        (day,) = await days_of(database)
    assert (day["generations"], day["price"], day["prompt_tokens"]) == (2, 11, 20)


async def test_several_at_once_count_once(database_url: str) -> None:
    """Workers that roll up at the same moment, with rows still coming in, neither double a generation nor lose one."""
    rows = [row(number, midnight(10 - number % 5) + number) for number in range(500)]
    late = [row(number, midnight(10 - number % 5) + number) for number in range(500, 700)]
    async with opened(database_url) as one, opened(database_url) as other:
        await insert_rows(one, rows)
        sweeps = [Retention(database, 1).sweep(time()) for database in (one, other, one, other)]
        await asyncio.gather(*sweeps, *(insert_rows(one, late[start : start + 50]) for start in range(0, 200, 50)))
        assert await counted(one) == 700
        await Retention(one, 1).sweep(time())
        assert await stored(one) == []
        assert sum(day["generations"] for day in await days_of(one)) == 700


async def test_a_day_that_fails_is_as_it_was(database_url: str) -> None:
    """A day whose rows cannot be deleted is not added either, and keeps no other day back."""
    refused = "CREATE TRIGGER no_delete BEFORE DELETE ON generations "
    function = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'"
    async with opened(database_url) as database:
        await insert_rows(database, [row(number, midnight(5)) for number in range(9)])
        await insert_rows(database, [row(9, midnight(5), model="kept"), row(10, midnight(4))])
        if database.is_sqlite:
            statements = [f"{refused} WHEN old.model = 'kept' BEGIN SELECT RAISE(ABORT, 'no'); END"]
        else:
            statements = [function, f"{refused} FOR EACH ROW WHEN (old.model = 'kept') EXECUTE FUNCTION refuse()"]
        async with database.writing() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        with capture_logs() as logs:
            assert await Retention(database, 1).sweep(time()) == 1
        assert [line["day"] for line in logs] == [midnight(5) // DAY]
        assert database.up
        assert len(await stored(database)) == 10
        assert [day["day"] for day in await days_of(database)] == [midnight(4) // DAY]


async def test_it_runs_by_itself(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old days are gone soon after the start; closing takes no time."""
    monkeypatch.setattr(hourly, "FIRST", 0.0)
    async with opened(database_url) as database:
        await insert_rows(database, [row(1, midnight(5))])
        retention = Retention(database, 1)
        await retention.open()
        async with asyncio.timeout(20):
            while await stored(database):
                await asyncio.sleep(0.02)
        async with asyncio.timeout(20):
            await retention.aclose()


async def test_a_start_is_left_alone(database_url: str) -> None:
    """The first look is a while after it; who stops before has not looked, and does not wait."""
    async with opened(database_url) as database:
        await insert_rows(database, [row(1, midnight(5))])
        retention = Retention(database, 1)
        await retention.open()
        await asyncio.sleep(0)
        async with asyncio.timeout(4):
            await retention.aclose()
        assert await stored(database)


async def test_the_ledger_goes_on_meanwhile(database_url: str) -> None:
    """Generations that end while old days move are written, once each."""
    async with opened(database_url) as database:
        await insert_rows(database, [row(number, midnight(9 - number % 8) + number) for number in range(2000)])
        async with writing_to(database) as ledger:
            sweeping = asyncio.create_task(Retention(database, 1).sweep(time()))
            for number in range(200):
                ledger.note(finished(number), 0.0)
                await asyncio.sleep(0)
            await sweeping
        assert await counted(database) == 2200
