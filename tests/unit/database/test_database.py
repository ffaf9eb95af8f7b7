"""The database: made, upgraded, taken back and awaited, on both kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.errors import DatabaseDown
from mlops_backend.services.other.database import database as database_module
from mlops_backend.services.other.database import engines, upgrade
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import api_key_revision, api_keys

KEY: dict[str, Any] = {
    "id": "key_one",
    "name": "one",
    "owner": "",
    "scopes": ["inference"],
    "models": [],
    "limits": {},
    "metadata": {"team": "é"},
    "enabled": True,
    "created_at": 1,
    "revision": 1,
}


async def test_what_was_committed_is_there_after_a_restart(database_url: str) -> None:
    """A second service on the same database reads what the first one wrote."""
    first = Database(database_url)
    await first.open()
    async with first.writing() as connection:
        await connection.execute(insert(api_keys), [KEY])
    await first.aclose()
    second = Database(database_url)
    await second.open()
    async with second.reading() as connection:
        row = (await connection.execute(select(api_keys.c.id, api_keys.c.metadata))).one()
    await second.aclose()
    assert tuple(row) == ("key_one", {"team": "é"})


async def test_an_error_in_a_transaction_takes_it_back(database_url: str) -> None:
    """Nothing of a transaction that failed stays."""
    database = Database(database_url)
    await database.open()

    async def insert_and_fail() -> None:
        async with database.writing() as connection:
            await connection.execute(insert(api_keys), [KEY])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await insert_and_fail()
    async with database.reading() as connection:
        assert (await connection.execute(select(api_keys))).all() == []
        assert (await connection.execute(select(api_key_revision.c.value))).scalar() == 0
    await database.aclose()
    assert database.up


async def test_steps_that_take_long_are_not_begun_anew(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service starts meanwhile and says why it has no database; no clock ends them, and they are done once."""
    monkeypatch.setattr(database_module, "_OPEN_TIMEOUT", 0.05)
    monkeypatch.setattr(engines, "_COMMAND_TIMEOUT", 0.1)
    monkeypatch.setattr(database_module, "_RETRY_AFTER", 0.01)
    done: list[bool] = []

    async def upgrade_slowly(connection: AsyncConnection) -> None:
        await upgrade(connection)
        done.append(False)
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_sleep(0.5)"))
        else:
            await asyncio.sleep(0.5)
        done.append(True)

    monkeypatch.setattr(database_module, "upgrade", upgrade_slowly)
    database = Database(database_url)
    await database.open()
    assert not database.up
    async with asyncio.timeout(30):
        while not done:
            await asyncio.sleep(0.01)
        assert database.trouble == "the database is away: its tables are being brought up to date"
        while not database.up:
            await asyncio.sleep(0.01)
    await database.aclose()
    assert done == [False, True]


async def test_a_start_that_is_ended_leaves_no_steps_behind(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cancels the opening has them cancelled."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def upgrade_for_ever(connection: AsyncConnection) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    monkeypatch.setattr(database_module, "upgrade", upgrade_for_ever)
    database = Database(database_url)
    opening = asyncio.create_task(database.open())
    await begun.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert ended.is_set()
    await database.aclose()


async def test_waiting_for_a_database_ends_though_a_cancel_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that tidies up after a cancel may fail itself: its error must not make the service wait for ever."""
    monkeypatch.setattr(database_module, "_RETRY_AFTER", 0.01)
    waiting = asyncio.Event()

    class Locked(Database):
        """One that never comes."""

        @asynccontextmanager
        async def migrating(self) -> AsyncIterator[AsyncConnection]:
            """Swallow what ends the waiting."""
            if self._opening is not None:
                waiting.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    raise DatabaseDown("database is locked") from None
            raise DatabaseDown("database is locked")
            yield

    database = Locked("sqlite+aiosqlite:///nowhere/file.db")
    await database.open()
    await waiting.wait()
    async with asyncio.timeout(20):
        await database.aclose()
