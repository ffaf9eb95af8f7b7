"""Everything carried over into another database, from each kind to each."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, String, insert, select, text, update

from mlops_backend.services.other.conversations.search import found
from mlops_backend.services.other.conversations.search_words import parsed
from mlops_backend.services.other.database.copying import NotEmpty, copy_all
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.exact_text import ExactText
from mlops_backend.services.other.database.migrating import NewerDatabase, current
from mlops_backend.services.other.database.tables import (
    api_key_revision,
    api_key_secrets,
    api_keys,
    closed_day_keys,
    closed_day_latencies,
    closed_day_sums,
    closed_days,
    console_sessions,
    conversation_owners,
    conversations,
    generations,
    images,
    message_images,
    messages,
    metadata,
    responses,
    usage_daily,
)
from mlops_backend.setting_stores import database_url as with_driver
from tests.databases import KINDS, Postgres

MANY = 2500
MESSAGES = 120
KEY: dict[str, Any] = {
    "id": "key_one",
    "name": "one",
    "owner": "é",
    "scopes": ["inference"],
    "models": [],
    "limits": {"requests": None},
    "metadata": {"team": "é", "nothing": None},
    "enabled": False,
    "created_at": 2**40,
    "expires_at": None,
    "revoked_at": 7,
    "revision": 5,
}
SECRET: dict[str, Any] = {"hash": bytes(range(32)), "key_id": "key_one", "created_at": 1}
SESSION: dict[str, Any] = {**SECRET, "hash": b"s" * 32, "secret_hash": bytes(range(32)), "expires_at": 2**41}
CONVERSATION: dict[str, Any] = {
    **{column.name: 2**50 for column in conversations.columns if isinstance(column.type, BigInteger)},
    **{"id": "c" * 32, "key_id": "key_one", "owner": "a" * 32, "title": "é", "model": "", "message_count": 3},
}
MESSAGE: dict[str, Any] = {
    **{column.name: "\0\ud800é\x10" for column in messages.columns if isinstance(column.type, ExactText)},
    **{"conversation_id": "c" * 32, "owner": "a" * 32, "role": "user", "model": "", "outcome": "", "error": ""},
    **{"estimated": True, "omitted": 1, "bytes": 2**40, "created_at": 2**40},
}
IMAGE: dict[str, Any] = {"media_type": "image/png", "size": 2**20}
RESPONSE: dict[str, Any] = {
    **{"key_id": "key_one", "previous_id": None, "input": "\0\ud800é\x10", "response": "{}"},
    **dict.fromkeys(("created_at", "expires_at", "bytes"), 2**40),
}
DAY: dict[str, Any] = {column.name: 2**50 for column in usage_daily.columns if not column.primary_key} | {
    **{column.name: "text" for column in usage_daily.primary_key},
    "day": 20000,
}


def generation(number: int) -> dict[str, Any]:
    """One row of the ledger."""
    texts = {column.name: "text" for column in generations.columns if column.type.python_type is str}
    numbers = {column.name: number for column in generations.columns if column.type.python_type is int}
    return {**texts, **numbers, "id": f"{number:032x}", "status": 200, "estimated": True, "first_byte_ms": None}


def message(number: int) -> dict[str, Any]:
    """One message; every other one was replaced."""
    values = {"number": number, "id": f"{number:032x}", "sequence": number, "content": f"word{number} \0\x10"}
    return {**MESSAGE, **values, "prompt_tokens": None, "replaced_at": number % 2 or None}


CLOSED_DAYS = (closed_days, closed_day_sums, closed_day_keys, closed_day_latencies)


async def filled(url: str) -> Database:
    """A database with something in each table."""
    database = Database(url)
    await database.open()
    async with database.writing() as connection:
        await connection.execute(insert(api_keys), [KEY])
        await connection.execute(insert(api_key_secrets), [SECRET])
        await connection.execute(insert(console_sessions), [SESSION])
        await connection.execute(update(api_key_revision).values(value=5))
        await connection.execute(insert(generations), [generation(number) for number in range(MANY)])
        await connection.execute(insert(usage_daily), [DAY])
        for table in CLOSED_DAYS:
            texts = {column.name for column in table.c if isinstance(column.type, String)}
            numbers = {column.name: 2**15 - 1 for column in table.c}
            await connection.execute(insert(table), [numbers | dict.fromkeys(texts, "text")])
        await connection.execute(insert(conversations), [CONVERSATION])
        await connection.execute(
            insert(conversation_owners), [{"key_id": "key_one", "conversations": 1, "bytes": 2**40}]
        )
        await connection.execute(insert(messages), [message(number) for number in range(5, 5 + MESSAGES)])
        await connection.execute(
            insert(images), [{**IMAGE, "hash": digit * 64, "data": b"\0\xff"} for digit in "0123456"]
        )
        await connection.execute(insert(responses), [{**RESPONSE, "id": f"resp_{number}"} for number in range(12)])
        await connection.execute(insert(message_images), [{"message_number": 7, "position": 0, "hash": "6" * 64}])
    return database


async def content(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, in the order of its first column."""
    async with database.reading() as connection:
        return {
            table.name: [tuple(row) for row in await connection.execute(select(table).order_by(*table.primary_key))]
            for table in metadata.sorted_tables
        }


@pytest.fixture
async def source(database_url: str) -> AsyncIterator[Database]:
    """A filled database of each kind."""
    database = await filled(database_url)
    yield database
    await database.aclose()


@pytest.fixture(params=KINDS)
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database without tables, of each kind."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        database = Database(with_driver(await asyncio.to_thread(server.empty)))
    else:
        database = Database(with_driver(f"sqlite:///{tmp_path / 'folder' / 'target.db'}"))
    yield database
    await database.aclose()


async def copied(source: Database, target: Database) -> Mapping[str, int]:
    """Copy as the command does."""
    async with source.reading() as reading, target.migrating() as writing:
        return await copy_all(reading, writing)


async def test_everything_arrives_as_it_was(source: Database, target: Database) -> None:
    """All rows of all tables are the same in the target, which needs no tables before; the counts are told."""
    counts = dict.fromkeys(metadata.tables, 1)
    assert await copied(source, target) == {
        **{**counts, "generations": MANY, "messages": MESSAGES},
        **{"images": 7, "responses": 12},
    }
    await target.open()
    assert await content(target) == await content(source)


async def test_messages_are_found_and_numbered_on(source: Database, target: Database) -> None:
    """What was copied is found there, unless it was replaced; a message that is added gets the next number."""
    await copied(source, target)
    await target.open()
    added = {**message(9999), "content": "added"}
    del added["number"], added["replaced_at"]
    async with target.writing() as connection:
        await connection.execute(insert(messages), [added])
        for word, numbers in (("word6", [6]), ("word7", []), ("added", [5 + MESSAGES])):
            rows = await found(connection, "a" * 32, "key_one", parsed(word), None, 10)
            assert [row.number for row in rows] == numbers


async def test_a_target_numbers_from_the_start_without_messages(database_url: str, target: Database) -> None:
    """Where there is no message to copy, the first one that is added is the first."""
    source = Database(database_url)
    await source.open()
    await copied(source, target)
    await source.aclose()
    await target.open()
    async with target.writing() as connection:
        await connection.execute(insert(conversations), [CONVERSATION])
        added = {key: value for key, value in message(1).items() if key != "number"}
        assert (await connection.execute(insert(messages).values(added))).inserted_primary_key == (1,)


async def test_large_rows_are_not_held_together(database_url: str, target: Database) -> None:
    """Images go over a few at a time: a copy of many takes no more memory than those few."""
    source = Database(database_url)
    await source.open()
    data = bytes(2**20)
    async with source.writing() as connection:
        for number in range(24):
            await connection.execute(insert(images), [{**IMAGE, "hash": f"{number:064x}", "data": data}])
    tracemalloc.start()
    try:
        assert (await copied(source, target))["images"] == 24
        assert tracemalloc.get_traced_memory()[1] < 16 * len(data)
    finally:
        tracemalloc.stop()
        await source.aclose()


async def test_a_target_with_rows_is_refused(source: Database, target: Database) -> None:
    """One generation there is enough: nothing is copied, and what was there stays."""
    await target.open()
    async with target.writing() as connection:
        await connection.execute(insert(generations), [generation(MANY)])
    before = await content(target)
    with pytest.raises(NotEmpty, match="generations"):
        await copied(source, target)
    assert await content(target) == before


async def test_a_copy_that_fails_leaves_nothing(source: Database, target: Database) -> None:
    """It is one transaction: what fails at its end leaves the target as it was, and may be done again."""

    async def copy_and_fail() -> None:
        async with source.reading() as reading, target.migrating() as writing:
            await copy_all(reading, writing)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await copy_and_fail()
    async with target.migrating() as connection:
        assert await current(connection) is None
    assert (await copied(source, target))["generations"] == MANY


async def test_a_newer_target_is_left_alone(source: Database, target: Database) -> None:
    """One that a newer version of the service wrote is not touched."""
    await target.open()
    async with target.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerDatabase, match="9999"):
        await copied(source, target)
