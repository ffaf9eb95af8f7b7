"""The ledger while its database is away: everything waits, and is there once when the database is back."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from time import perf_counter

import pytest
from structlog.testing import capture_logs

from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.setting_stores import database_url as with_driver
from tests.databases import Postgres
from tests.ledger_rows import finished, note, opened, stored, until_written, writing_to


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL that the tests here may stop."""
    folder = tempfile.mkdtemp(prefix="pg")
    postgres = Postgres(folder)
    yield postgres
    postgres.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def address(server: Postgres) -> str:
    """A fresh database in it."""
    return with_driver(server.fresh())


async def burst(ledger: Ledger, first: int, count: int) -> None:
    """Generations that end one after the other, with the loop's turns between them."""
    for number in range(first, first + count):
        note(ledger, finished(number))
        if number % 20 == 0:
            await asyncio.sleep(0.001)


async def test_a_burst_over_an_outage_is_written_once(server: Postgres, address: str) -> None:
    """The database stops in the middle of a burst and comes back: each row is there exactly once."""
    with capture_logs() as logs:
        async with opened(address) as database, writing_to(database, capacity=20_000) as ledger:
            await burst(ledger, 0, 1500)
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            await burst(ledger, 1500, 1500)
            await stopping
            await burst(ledger, 3000, 1500)
            await asyncio.sleep(1)
            assert ledger.waiting >= 1500
            assert not database.up
            await asyncio.to_thread(server.start)
            await until_written(ledger, 4500, 10)
            rows = await stored(database)
    assert sorted(row["request_id"] for row in rows) == sorted(f"request-{number}" for number in range(4500))
    assert (ledger.written, ledger.dropped, ledger.waiting) == (4500, 0, 0)
    events = [line["event"] for line in logs if line["event"].startswith("the ledger")]
    assert events == ["the ledger waits for the database", "the ledger is written again"]


async def test_noting_does_not_wait_for_the_database(server: Postgres, address: str) -> None:
    """While the database is away a generation ends as fast as ever, up to the bound and beyond it."""
    async with opened(address) as database, writing_to(database, capacity=2000) as ledger:
        await asyncio.to_thread(server.stop)
        try:
            started = perf_counter()
            note(ledger, *(finished(number) for number in range(5000)))
            assert perf_counter() - started < 1
            assert (ledger.waiting, ledger.dropped) == (2000, 3000)
            await asyncio.sleep(0.7)
        finally:
            await asyncio.to_thread(server.start)
        await until_written(ledger, 2000, 10)
        rows = await stored(database)
    assert {row["request_id"] for row in rows} == {f"request-{number}" for number in range(2000)}


async def test_a_database_that_comes_late_gets_everything(server: Postgres, address: str) -> None:
    """The service may start before its database: what ended until then is written when it comes."""
    await asyncio.to_thread(server.stop)
    async with opened(address) as database, writing_to(database) as ledger:
        note(ledger, *(finished(number) for number in range(10)))
        await asyncio.sleep(0.7)
        assert ledger.waiting == 10
        await asyncio.to_thread(server.start)
        await until_written(ledger, 10, 10)
        assert len(await stored(database)) == 10
