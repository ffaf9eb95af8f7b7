"""A PostgreSQL that refuses the tables is told in one line; one that is only away is waited for."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from mlops_backend.config import ConfigError, load_settings
from mlops_backend.services.other.database import Database, UnusableDatabase
from mlops_backend.setting_stores import database_url as with_driver
from tests.databases import Postgres


@pytest.fixture
def role(postgres: Postgres) -> str:
    """A role that may connect, and nothing else."""
    name = f"role_{uuid4().hex}"
    postgres.execute(f"CREATE ROLE {name} LOGIN")
    return name


def database_of(url: str) -> str:
    """The name of a database."""
    return urlsplit(url).path.removeprefix("/")


def opened(url: str) -> str:
    """Open a database and close it; what was wrong with it."""

    async def open_and_close() -> str:
        database = Database(with_driver(url))
        try:
            await database.open()
            return database.trouble
        finally:
            await database.aclose()

    return asyncio.run(open_and_close())


def refusal_of(url: str) -> str:
    """Why a database is never used."""
    with pytest.raises(UnusableDatabase) as refused:
        opened(url)
    return str(refused.value)


def test_a_role_that_may_not_make_tables(postgres: Postgres, role: str) -> None:
    """PostgreSQL's own words, the setting's name, and what to do."""
    told = refusal_of(postgres.url_of(database_of(postgres.empty()), role))
    assert told == (
        "DATABASE_URL: PostgreSQL refuses the tables: permission denied for schema public;"
        " make the role the owner of the database or of a schema in its search_path"
    )


def test_a_role_without_any_schema(postgres: Postgres, role: str) -> None:
    """A search_path that leads nowhere."""
    postgres.execute(f"ALTER ROLE {role} SET search_path = nowhere")
    told = refusal_of(postgres.url_of(database_of(postgres.empty()), role))
    assert told.startswith("DATABASE_URL: PostgreSQL refuses the tables: no schema has been selected to create in;")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_has_not_every_letter(postgres: Postgres, encoding: str) -> None:
    """Its encoding is named; nothing is made in it."""
    name = f"narrow_{uuid4().hex}"
    postgres.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    told = refusal_of(postgres.url_of(name))
    assert told.startswith(f"DATABASE_URL: the database's encoding is {encoding}, which has not every letter")
    assert "\n" not in told


def test_a_database_that_is_not_there_yet_is_waited_for(postgres: Postgres) -> None:
    """Somebody may be about to make it; until then it is told as away, with PostgreSQL's words."""
    name = f"later_{uuid4().hex}"
    assert opened(postgres.url_of(name)) == f'the database is away: database "{name}" does not exist'


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite://", "sqlite+aiosqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end with each connection; the line names the setting."""
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ConfigError, match=r"^DATABASE_URL: [^\n]+$"):
        load_settings(None)
