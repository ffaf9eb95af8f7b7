"""SQLite's driver: a statement is one visit to the connection's thread, and is what SQLAlchemy's own makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.sqlite_driver import sqlite_driver


@pytest.fixture(params=["ours", "SQLAlchemy's"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """An engine with a table of one row, over each of the two."""
    options: dict[str, Any] = {"module": sqlite_driver()} if request.param == "ours" else {}
    made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'file.db'}", **options)
    async with made.begin() as connection:
        await connection.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"))
        await connection.execute(text("INSERT INTO things (name) VALUES ('one')"))
    yield made
    await made.dispose()


async def test_results_are_the_same(engine: AsyncEngine) -> None:
    """Rows, counts, values given back, many values at once, rows that are streamed."""
    many = [{"name": str(number)} for number in range(5)]
    async with engine.begin() as connection:
        added = await connection.execute(text("INSERT INTO things (name) VALUES ('two') RETURNING id"))
        assert added.scalar_one() == 2
        assert (await connection.execute(text("UPDATE things SET name = name || '!'"))).rowcount == 2
        assert (await connection.execute(text("INSERT INTO things (name) VALUES (:name)"), many)).rowcount == 5
        rows = await connection.execute(text("SELECT id, name FROM things WHERE id < :most"), {"most": 3})
        assert [tuple(row) for row in rows] == [(1, "one!"), (2, "two!")]
        async with connection.stream(text("SELECT id FROM things")) as streamed:
            assert [row.id async for row in streamed] == list(range(1, 8))


async def test_faults_are_the_same(engine: AsyncEngine) -> None:
    """A statement's own fault keeps its kind, and the transaction is taken back."""

    async def twice() -> None:
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO things (name) VALUES ('gone')"))
            await connection.execute(text("INSERT INTO things (name) VALUES ('one')"))

    with pytest.raises(IntegrityError):
        await twice()
    async with engine.connect() as connection:
        with pytest.raises(OperationalError):
            await connection.execute(text("SELECT nothing FROM nowhere"))
        assert (await connection.execute(text("SELECT count(*) FROM things"))).scalar_one() == 1


class Counting:
    """Stands before the queue of a connection's thread, and counts what goes in."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.visits = 0

    def put_nowait(self, item: Any) -> None:
        """Count it, and pass it on."""
        self.visits += 1
        self.queue.put_nowait(item)


async def test_a_statement_is_one_visit(tmp_path: Path) -> None:
    """However many rows it has."""
    made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'file.db'}", module=sqlite_driver())
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n LIMIT 500) SELECT i FROM n"
    async with made.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        driver._tx = counting = Counting(driver._tx)
        assert len((await connection.execute(text(many))).all()) == 500
        assert counting.visits == 1
        driver._tx = counting.queue
    await made.dispose()


async def test_threads_are_waited_for(tmp_path: Path) -> None:
    """A connection that is broken off within a statement has ended when the database is closed."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'file.db'}")
    await database.open()
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000) SELECT count(*) FROM n"

    async def ask() -> None:
        async with database.reading() as connection:
            await connection.execute(text(many))

    asked = asyncio.create_task(ask())
    await asyncio.sleep(0.01)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await database.aclose()
    assert database._driver is not None
    assert not [thread for thread in database._driver._threads if thread.is_alive()]
