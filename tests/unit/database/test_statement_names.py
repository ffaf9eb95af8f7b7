"""Prepared statements behind a real PgBouncer in its mode `transaction`, and without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import func, insert, select, text
from structlog.testing import capture_logs

from mlops_backend.errors import DatabaseDown
from mlops_backend.services.other.database import Database, api_keys
from mlops_backend.setting_stores import database_url as with_driver
from tests.databases import Postgres
from tests.fakes.pgbouncer import PgBouncer
from tests.unit.database.test_database import KEY

NAMED = text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")
CLIENTS = 12
EACH = 8
LOG = "a pooler stands before the database: statements get no names"


@pytest.fixture
def pooler(postgres: Postgres) -> Iterator[PgBouncer]:
    """A pooler before a database without tables."""
    with PgBouncer(postgres.empty()) as running:
        yield running


@pytest.fixture
def address(postgres: Postgres) -> str:
    """A database with tables, and nobody before it."""
    return postgres.fresh()


@asynccontextmanager
async def opened(url: str, parameters: str = "") -> AsyncIterator[Database]:
    """A service's database at `url`."""
    database = Database(with_driver(url + parameters))
    await database.open()
    try:
        yield database
    finally:
        await database.aclose()


async def named(database: Database) -> bool:
    """Whether statements have names: the second of two equal ones finds the first, on the same connection."""
    async with database.reading() as connection:
        for _ in range(2):
            found = (await connection.execute(NAMED)).scalar_one()
    return bool(found)


async def lose_a_name(database: Database) -> None:
    """Use a statement that is there no more, as where the second is asked of another server."""
    async with database.reading() as connection:
        await connection.execute(NAMED)
        await connection.execute(text("DEALLOCATE ALL"))
        await connection.execute(NAMED)


async def write_and_read(database: Database, client: int) -> None:
    """What a client does: a transaction of several statements, and another one that reads what it wrote."""
    for number in range(EACH):
        key = {**KEY, "id": f"key_{client}_{number}"}
        async with database.writing() as connection:
            await connection.execute(insert(api_keys), [key, {**key, "id": f"{key['id']}_more"}])
            await connection.execute(select(func.count()).select_from(api_keys))
        async with database.reading() as connection:
            found = await connection.execute(select(api_keys.c.metadata).where(api_keys.c.id == key["id"]))
            assert found.scalar_one() == KEY["metadata"]


async def test_behind_a_pooler_everything_works(pooler: PgBouncer) -> None:
    """The tables are made and many write at once: nothing fails, no row is missing, and the log says it once."""
    with capture_logs() as logs:
        async with opened(pooler.url) as database:
            assert database.up
            async with asyncio.TaskGroup() as group:
                for client in range(CLIENTS):
                    group.create_task(write_and_read(database, client))
            async with database.reading() as connection:
                streamed = await connection.stream(select(api_keys.c.id).execution_options(yield_per=10))
                assert len({row.id async for row in streamed}) == CLIENTS * EACH * 2
            assert not await named(database)
    assert [line["event"] for line in logs].count(LOG) == 1


async def test_two_services_start_at_once_behind_a_pooler(pooler: PgBouncer) -> None:
    """The lock that lets one of them make the tables belongs to its transaction, and ends with it."""
    async with opened(pooler.url) as one, opened(pooler.url) as other:
        await asyncio.gather(write_and_read(one, 1), write_and_read(other, 2))
        async with other.reading() as connection:
            assert (await connection.execute(select(func.count()).select_from(api_keys))).scalar() == EACH * 4


async def test_without_a_pooler_statements_have_names(address: str) -> None:
    """PostgreSQL itself keeps them, so that each is prepared once."""
    with capture_logs() as logs:
        async with opened(address) as database:
            assert await named(database)
    assert LOG not in [line["event"] for line in logs]


@pytest.mark.parametrize(("size", "wanted"), [(0, False), (50, True)])
async def test_the_address_decides_where_it_says_so(address: str, size: int, wanted: bool) -> None:
    """`prepared_statement_cache_size` of 0 takes the names away; another keeps them, whoever stands before it."""
    parameter = f"prepared_statement_cache_size={size}"
    async with opened(address, f"&{parameter}") as database:
        assert await named(database) is wanted
    with PgBouncer(address, connections=1) as pooler:
        async with opened(pooler.url, f"&{parameter}") as database:
            assert await named(database) is wanted


async def test_a_lost_name_is_the_last_one(address: str) -> None:
    """A pooler that did not show itself costs one 503, and every statement is nameless from then on."""
    async with opened(address) as database:
        assert await named(database)
        with pytest.raises(DatabaseDown):
            await lose_a_name(database)
        for _ in range(3):
            assert not await named(database)
        assert database.reading_state.up


async def test_a_name_lost_between_two_transactions_costs_nothing(address: str) -> None:
    """A connection is tried before it is used, and another one takes its place."""
    async with opened(address) as database:
        assert await named(database)
        async with database.reading() as connection:
            await connection.execute(text("DEALLOCATE ALL"))
        assert not await named(database)
