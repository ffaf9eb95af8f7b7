"""How many connections to PostgreSQL there are, and in which schema they work, also behind a pooler."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from sqlalchemy import insert, select, text

from mlops_backend.services.other.database import Database
from mlops_backend.services.other.database.tables import api_keys
from mlops_backend.setting_stores import database_url as with_driver
from tests.databases import Postgres
from tests.e2e.page_blocks import read_blocks
from tests.fakes.pgbouncer import PgBouncer
from tests.unit.database.test_migrations import KEY


@pytest.mark.parametrize("connections", [3, 7])
def test_there_are_never_more_connections_than_there_may_be(postgres: Postgres, connections: int) -> None:
    """Those who need one more wait for it."""
    database = Database(with_driver(postgres.fresh()), connections=connections)
    counted = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")

    async def count() -> int:
        async with database.reading() as connection:
            await connection.execute(text("SELECT pg_sleep(0.05)"))
            return int((await connection.execute(counted)).scalar_one())

    async def count_often() -> list[int]:
        await database.open()
        try:
            return await asyncio.gather(*(count() for _ in range(3 * connections)))
        finally:
            await database.aclose()

    assert max(asyncio.run(count_often())) == connections


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
def test_the_tables_are_in_the_schema_of_the_role(postgres: Postgres, pooled: bool) -> None:
    """A role that may do nothing in `public` has a schema of its own: the page's commands say so to the server."""
    role, url = f"role_{uuid4().hex}", postgres.empty()
    name = urlsplit(url).path.removeprefix("/")
    page = read_blocks()["schema-postgresql"].text
    for word, meant in (("AUTHORIZATION", role), ("ROLE", role), ("DATABASE", name)):
        page = page.replace(f"{word} mlops", f"{word} {meant}")
    postgres.execute(f"CREATE ROLE {role} LOGIN; {page}", name)

    async def use(address: str) -> tuple[set[str], list[str]]:
        for _ in range(2):  # as a service that is started again
            database = Database(with_driver(address))
            await database.open()
            assert database.up, database.trouble
            async with database.writing() as connection:
                await connection.execute(insert(api_keys), [{**KEY, "id": f"key_{uuid4().hex[:20]}"}])
            async with database.reading() as connection:
                schemas = text("SELECT table_schema FROM information_schema.tables WHERE table_name = 'messages'")
                found = set((await connection.execute(schemas)).scalars())
                keys = list((await connection.execute(select(api_keys.c.id))).scalars())
            await database.aclose()
        return found, keys

    if pooled:
        with PgBouncer(url, user=role) as pooler:
            found, keys = asyncio.run(use(pooler.url))
    else:
        found, keys = asyncio.run(use(postgres.url_of(name, role)))
    assert found == {"mlops"}
    assert len(keys) == 2
