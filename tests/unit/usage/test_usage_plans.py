"""Hundreds of thousands of generations: every question of the routes goes over an index, and SQLite plans alike."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from time import time
from typing import Any, Final

import pytest
import pytest_asyncio
from sqlalchemy import Select, text
from sqlalchemy.dialects import sqlite as of_sqlite

from mlops_backend.schemas.usage import Dimension, Interval
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import closed_day_keys, closed_day_latencies, closed_day_sums
from mlops_backend.services.other.usage.closed_days import right
from mlops_backend.services.other.usage.latency import distributions
from mlops_backend.services.other.usage.queries import DAY, Closed, Span, amounts, largest, tokens_since
from mlops_backend.services.other.usage.whole_rows import newest, one, page
from mlops_backend.setting_stores import database_url as with_driver
from tests.databases import Postgres, sqlite_template

pytestmark = pytest.mark.asyncio(loop_scope="module")

Explain = Callable[[Select[Any]], Awaitable[str]]

COUNTS: Final = [300_000, pytest.param(1_000_000, marks=pytest.mark.long)]
NOW: Final = int(time() * 1000)
TODAY: Final = NOW // DAY * DAY
MONTH: Final = Span(TODAY - 30 * DAY, NOW)
YESTERDAY: Final = Span(TODAY - DAY, TODAY)
FAILED: Final = Span(0, NOW, ((Dimension.OUTCOME, "timeout,error"),))
CLOSED: Final = Closed(closed_day_sums, Span(TODAY - 30 * DAY, TODAY))
# By which index SQLite finds what is asked for, where it has a choice.
CHOSEN: Final = {
    "the newest of a key": "ix_generations_key_id (key_id=? AND started_at>? AND started_at<?)",
    "the last failures": "ix_generations_not_done (started_at>? AND started_at<?)",
    "the last failures of a key": "ix_generations_key_not_done (key_id=? AND started_at>? AND started_at<?)",
    "an end user's month": "ix_generations_end_user (end_user=? AND started_at>? AND started_at<?)",
}
# Ninety days, fifty keys, twenty models.
FILL: Final = """
INSERT INTO generations
SELECT lpad(i::text, 32, '0'), 'r' || i, {now} - ({count} - i) * {apart}::bigint, 'key_' || i % 50,
       '/api/chat', 'ollama', 'model-' || i % 20, 'http://b' || i % 3, CASE i % 10 WHEN 0 THEN 'error' ELSE 'done' END,
       200, '', i % 1000, i % 300, i % 7 = 0, 20, 1000, 100, 1000, i % 100000, '', '',
       CASE i % 3 WHEN 0 THEN 'user-' || i % 500 ELSE '' END, i % 4 > 0
FROM generate_series(1, {count}) i"""
INDEXES: Final = "SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'ix_generations_%'"
QUESTIONS: Final[dict[str, Select[Any]]] = {
    "a key's month": amounts(MONTH.of_key("key_7"), [Dimension.MODEL], Interval.NONE, 1001),
    "a key's month by day": amounts(MONTH.of_key("key_7"), [], Interval.DAY, 1001),
    "a model's day": amounts(
        replace(YESTERDAY, only=((Dimension.MODEL, "model-3"),)), [Dimension.KEY], Interval.NONE, 1001
    ),
    "an end user's month": amounts(
        replace(MONTH, only=((Dimension.END_USER, "somebody"),)), [Dimension.MODEL], Interval.NONE, 1001
    ),
    "a key's month by end user": amounts(MONTH.of_key("key_7"), [Dimension.END_USER], Interval.NONE, 1001),
    "a day by hour": amounts(YESTERDAY, [Dimension.KEY], Interval.HOUR, 1001),
    "a page of a key's export": page(Span(0, NOW).of_key("key_7"), (NOW - 40 * DAY, "5"), 1000),
    "a page of all": page(Span(0, NOW), (NOW - 40 * DAY, "5"), 1000),
    "a key's tokens of the month": tokens_since("key_7", MONTH.start),
    "a key's largest models": largest(MONTH.of_key("key_7"), Dimension.MODEL, 7),
    "the largest keys of a day": largest(YESTERDAY, Dimension.KEY, 7),
    "a key's latencies of the month": distributions(MONTH.of_key("key_7"), Dimension.MODEL, 20),
    "the days whose sums are right": right(MONTH),
    "the month by day and model, but for its closed days": amounts(
        MONTH, [Dimension.MODEL], Interval.DAY, 1001, NOW, ["model-3"], CLOSED
    ),
    "the largest keys of the month, but for its closed days": largest(
        MONTH, Dimension.KEY, 7, replace(CLOSED, table=closed_day_keys)
    ),
    "latencies of the month, but for its closed days": distributions(
        MONTH, Dimension.MODEL, 20, replace(CLOSED, table=closed_day_latencies)
    ),
    "latencies of a day": distributions(YESTERDAY, Dimension.BACKEND, 20),
    "the newest of all": newest(Span(0, NOW), (NOW - DAY, "5"), 51),
    "the newest of a key": newest(Span(0, NOW).of_key("key_7"), None, 51),
    "the newest of a model": newest(Span(0, NOW, ((Dimension.MODEL, "model-3"),)), None, 51),
    "the newest of an end user": newest(Span(0, NOW, ((Dimension.END_USER, "somebody"),)), None, 51),
    "the last failures": newest(FAILED, None, 51),
    "the last failures of a key": newest(FAILED.of_key("key_7"), None, 51),
    "a request's": one("request_id", "r77", "key_7"),
    "an id's": one("id", "77".zfill(32), None),
}


@pytest.fixture(scope="module")
def address(postgres: Postgres) -> str:
    """An empty database at the newest step."""
    return with_driver(postgres.fresh())


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=COUNTS)
async def explain(address: str, request: pytest.FixtureRequest) -> AsyncIterator[Explain]:
    """Tells PostgreSQL's plan of a query over so many generations."""
    count = request.param
    database = Database(address)
    await database.open()
    async with database.writing() as connection:
        await connection.execute(text("ALTER TABLE generations SET UNLOGGED"))
        await connection.execute(text("SET LOCAL maintenance_work_mem = '256MB'"))
        written = (await connection.execute(text(INDEXES))).tuples().all()
        for name, _ in written:
            await connection.execute(text(f"DROP INDEX {name}"))
        await connection.execute(text(FILL.format(now=NOW, count=count, apart=90 * DAY // count)))
        for _, definition in written:
            await connection.execute(text(definition))
        await connection.execute(text("ANALYZE generations"))

    async def plan_of(query: Select[Any]) -> str:
        async with database.reading() as connection:
            written = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
            return "\n".join((await connection.execute(text(f"EXPLAIN {written}"))).scalars())

    yield plan_of
    async with database.writing() as connection:
        await connection.execute(text("TRUNCATE generations"))  # the server would write it all to disk when it stops
    await database.aclose()


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_question_goes_over_an_index(explain: Explain, question: str) -> None:
    """No row of the ledger is read that the index did not choose."""
    plan = await explain(QUESTIONS[question])
    assert "Seq Scan on generations" not in plan, plan
    assert "Index Cond" in plan, plan


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """An empty database in SQLite, which plans by the indexes and not by what is in them."""
    file = tmp_path_factory.mktemp("plans") / "empty.db"
    file.write_bytes(sqlite_template())
    with closing(sqlite3.connect(file)) as connection:
        yield connection


@pytest.mark.parametrize("question", QUESTIONS)
async def test_sqlite_goes_over_an_index(sqlite: sqlite3.Connection, question: str) -> None:
    """It neither reads the whole ledger nor sorts more of it than what has one moment in common."""
    written = QUESTIONS[question].compile(dialect=of_sqlite.dialect(), compile_kwargs={"literal_binds": True})
    plan = [str(row[3]) for row in sqlite.execute(f"EXPLAIN QUERY PLAN {written}")]
    assert not {"SCAN generations"} & {line.partition(" USING")[0] for line in plan}, plan
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan or not question.startswith(("the newest", "the last")), plan
    assert any(CHOSEN.get(question, "USING INDEX") in line for line in plan), plan
