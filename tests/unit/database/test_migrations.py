"""The steps of the tables: up and back with what is in them, by one process at a time, to what `tables.py` says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, column, insert, inspect, select, table, text

from mlops_backend.migrations.versions import m0004_folded
from mlops_backend.services.other.conversations.search import found
from mlops_backend.services.other.conversations.search_words import parsed
from mlops_backend.services.other.database import migrating
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.migrating import NewerDatabase, UnknownStep, current, downgrade, upgrade
from mlops_backend.services.other.database.tables import HEAD, api_keys, conversations, generations, messages, metadata
from mlops_backend.setting_stores import database_url as with_driver
from tests.databases import KINDS, Postgres
from tests.ledger_rows import row

OLDER = "0001"
CONVERSATION: dict[str, Any] = {
    **dict.fromkeys(("id", "key_id", "owner", "title", "model"), "c"),
    **dict.fromkeys(("created_at", "updated_at", "version", "next_sequence", "message_count", "bytes"), 1),
}
MESSAGE: dict[str, Any] = {
    **dict.fromkeys(("id", "conversation_id", "owner", "role", "content", "thinking", "tool_calls", "tool_name"), "c"),
    **dict.fromkeys(("model", "outcome", "error"), ""),
    **dict.fromkeys(("sequence", "omitted", "bytes", "created_at"), 1),
    "estimated": False,
}
# What each database has of its own for the search: SQLite's index is a table that keeps itself in others.
SEARCH = {
    ("table", "", "message_words"),
    *(("table", "", f"message_words_{part}") for part in ("config", "data", "idx")),
    ("column", "messages", "words"),
    ("index", "messages", "ix_messages_words"),
}
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


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables, on each kind."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return with_driver(server.empty())
    return with_driver(f"sqlite:///{tmp_path / 'folder' / 'empty.db'}")


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[Database]:
    """A database without tables."""
    database = Database(empty_url)
    yield database
    await database.aclose()


def tables_of(connection: Connection) -> set[str]:
    """The names of the tables that are there."""
    return set(inspect(connection).get_table_names())


def columns_of(connection: Connection, name: str) -> set[str]:
    """The names of the columns of a table."""
    return {described["name"] for described in inspect(connection).get_columns(name)}


def all_of(connection: Connection) -> set[str]:
    """The names of the tables and views that are there."""
    return tables_of(connection) | set(inspect(connection).get_view_names())


def is_described(name: str | None, kind: str, parents: Mapping[str, Any]) -> bool:
    """Whether it is none of those that only one of the databases has, for the search."""
    return (kind, parents.get("table_name", ""), name) not in SEARCH


def differences(connection: Connection) -> Sequence[Any]:
    """What Alembic would change to come from the tables that are there to `tables.py`."""
    context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": is_described})
    found: Sequence[Any] = compare_metadata(context, metadata)
    return found


async def test_what_the_steps_make_is_what_the_tables_are(empty: Database) -> None:
    """After the last step nothing differs from `tables.py`, and `HEAD` names that step."""
    async with empty.migrating() as connection:
        await upgrade(connection)
        assert await connection.run_sync(differences) == []
        assert await current(connection) == HEAD == max(migrating._known_steps())


async def test_data_survives_both_ways(empty: Database) -> None:
    """What an older step stored is there after the next one, and after going back again; the later tables go."""
    async with empty.migrating() as connection:
        await upgrade(connection, OLDER)
        assert "generations" not in await connection.run_sync(tables_of)
        await connection.execute(insert(api_keys), [KEY])
    async with empty.migrating() as connection:
        await upgrade(connection)
        key = (await connection.execute(select(api_keys.c.id, api_keys.c.metadata))).one()
        assert tuple(key) == ("key_one", {"team": "é"})
        assert (await connection.execute(select(generations))).all() == []
    async with empty.migrating() as connection:
        await downgrade(connection, OLDER)
        assert "generations" not in await connection.run_sync(tables_of)
        assert (await connection.execute(select(api_keys.c.id))).scalars().all() == ["key_one"]
        assert await current(connection) == OLDER
    async with empty.migrating() as connection:
        await downgrade(connection, "base")
        assert await connection.run_sync(tables_of) <= {"alembic_version"}
        assert await current(connection) is None


async def test_conversations_go_with_their_step(empty: Database) -> None:
    """Going back behind the step of the conversations takes all of them and what searches them; it may come again."""
    for _ in range(2):
        async with empty.migrating() as connection:
            await upgrade(connection, "0002")
            before = await connection.run_sync(all_of)
            await upgrade(connection)
            await connection.execute(insert(conversations), [CONVERSATION])
            await connection.execute(insert(messages), [MESSAGE])
            assert (await connection.execute(select(messages.c.number))).scalars().all() == [1]
        async with empty.migrating() as connection:
            await downgrade(connection, "0002")
            assert await connection.run_sync(all_of) == before


async def test_texts_from_before_are_folded_and_found(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step folds what is there, some rows at a time; going back the index is of the texts as they are."""
    monkeypatch.setattr(m0004_folded, "_CHUNK", 2)
    contents = ("Cafe\u0301", "plain TEXT", "Stra\u00dfe", "ЛЁД", "日本", "caf\u00e9 \0 \ud800")
    named = {each.name: each for each in messages.columns}
    rows = [
        {**MESSAGE, "id": f"m{place}", "sequence": place, "content": content} for place, content in enumerate(contents)
    ]
    put = insert(table("messages", *(column(name, named[name].type) for name in rows[0])))

    async def finds(words: str) -> list[str]:
        # None of another one's: what was put in belongs to the conversation `c` of the key `c`.
        async with empty.migrating() as connection:
            return [each.excerpt for each in await found(connection, "c", "c", parsed(words), None, 50)]

    async with empty.migrating() as connection:
        await upgrade(connection, "0003")
        await connection.execute(insert(conversations), [CONVERSATION])
        await connection.execute(put, rows)
    async with empty.migrating() as connection:
        await upgrade(connection)
        kept = (await connection.execute(select(messages.c.content, messages.c.folded).order_by("sequence"))).all()
    assert [each.content for each in kept] == list(contents)
    assert [each.folded for each in kept] == ["café", None, "strasse", "лёд", None, None]
    for words in ("CAFÉ", "cafe\u0301", "text", "STRASSE", "ле\u0308д", "日本"):
        assert await finds(words), words
    async with empty.migrating() as connection:
        await downgrade(connection, "0003")
        assert "folded" not in await connection.run_sync(columns_of, "messages")
        assert await current(connection) == "0003"
    assert await finds("text")
    assert not await finds("STRASSE")


async def test_a_ledger_from_before_goes_on(empty: Database) -> None:
    """What is there passed nobody over; a service of the version before writes on; going back all rows are there."""
    known = row(1, 1).keys() - {"requested_model", "passed_over", "end_user", "streamed"}
    older = [{name: value for name, value in row(number, number).items() if name in known} for number in (1, 2)]
    old = insert(table("generations", *map(column, known)))
    told = select(generations.c.id, generations.c.requested_model, generations.c.passed_over)
    async with empty.migrating() as connection:
        await upgrade(connection, "0004")
        await connection.execute(old, older[:1])
    async with empty.migrating() as connection:
        await upgrade(connection)
        await connection.execute(old, older[1:])
        await connection.execute(insert(generations), [row(3, 3, requested_model="fast", passed_over="http://one")])
        rows = (await connection.execute(told.order_by(generations.c.id))).all()
        assert [tuple(each)[1:] for each in rows] == [("", ""), ("", ""), ("fast", "http://one")]
    async with empty.migrating() as connection:
        await downgrade(connection, "0004")
        assert await connection.run_sync(columns_of, "generations") == known
        assert len((await connection.execute(select(generations.c.id))).all()) == 3


async def test_keys_from_before_are_ordinary(empty: Database) -> None:
    """Those that are there, and those that a service of the version before makes; going back none is lost."""
    old = insert(table("api_keys", *(column(name, api_keys.c[name].type) for name in KEY)))
    async with empty.migrating() as connection:
        await upgrade(connection, "0005")
        await connection.execute(old, [KEY])
    async with empty.migrating() as connection:
        await upgrade(connection)
        await connection.execute(old, [{**KEY, "id": "key_two"}])
        await connection.execute(insert(api_keys), [{**KEY, "id": "key_zero", "priority": "batch", "weight": 0.1}])
        told = select(api_keys.c.priority, api_keys.c.weight).order_by(api_keys.c.id)
        rows = [tuple(each) for each in (await connection.execute(told)).all()]
        assert rows == [("interactive", 1), ("interactive", 1), ("batch", 0.1)]
    async with empty.migrating() as connection:
        await downgrade(connection, "0005")
        assert not {"priority", "weight"} & await connection.run_sync(columns_of, "api_keys")
        assert len((await connection.execute(select(api_keys.c.id))).all()) == 3


async def test_what_is_from_before_knows_no_kept_answers(empty: Database) -> None:
    """Keys and rows that are there, and those of a service of the version before, have none; going back all stay."""
    key = insert(table("api_keys", *(column(name, api_keys.c[name].type) for name in KEY)))
    generation = insert(table("generations", *map(column, row(1, 1))))
    for number, step in enumerate(("0012", "head")):
        async with empty.migrating() as connection:
            await upgrade(connection, step)
            await connection.execute(key, [{**KEY, "id": f"key_{number}"}])
            await connection.execute(generation, [row(number, number)])
    async with empty.migrating() as connection:
        await connection.execute(insert(api_keys), [{**KEY, "id": "key_2", "cache": True}])
        await connection.execute(insert(generations), [row(2, 2, cached=True)])
        for told in (api_keys.c.cache, generations.c.cached):
            of = told.table.c.id
            assert list((await connection.execute(select(told).order_by(of))).scalars()) == [False, False, True]
    async with empty.migrating() as connection:
        await downgrade(connection, "0012")
        assert "cache" not in await connection.run_sync(columns_of, "api_keys")
        assert "cached" not in await connection.run_sync(columns_of, "generations")
        assert len((await connection.execute(select(generations.c.id))).all()) == 3


async def test_a_ledger_from_before_names_nobody(empty: Database) -> None:
    """What is there, and what a service of the version before writes; going back, all rows are there."""
    known = row(1, 1).keys() - {"end_user", "streamed"}
    older = [{name: value for name, value in row(number, number).items() if name in known} for number in (1, 2)]
    old = insert(table("generations", *map(column, known)))
    async with empty.migrating() as connection:
        await upgrade(connection, "0006")
        await connection.execute(old, older[:1])
    async with empty.migrating() as connection:
        await upgrade(connection)
        await connection.execute(old, older[1:])
        await connection.execute(insert(generations), [row(3, 3, end_user="alice")])
        told = select(generations.c.end_user).order_by(generations.c.id)
        assert list((await connection.execute(told)).scalars()) == ["", "", "alice"]
    async with empty.migrating() as connection:
        await downgrade(connection, "0006")
        assert await connection.run_sync(columns_of, "generations") == known
        assert len((await connection.execute(select(generations.c.id))).all()) == 3


async def test_nobody_knows_whether_a_ledger_from_before_streamed(empty: Database) -> None:
    """Neither of what is there nor of what a service of the version before writes; going back, all rows are there."""
    known = row(1, 1).keys() - {"streamed"}
    older = [{name: value for name, value in row(number, number).items() if name in known} for number in (1, 2)]
    old = insert(table("generations", *map(column, known)))
    async with empty.migrating() as connection:
        await upgrade(connection, "0009")
        await connection.execute(old, older[:1])
    async with empty.migrating() as connection:
        await upgrade(connection)
        await connection.execute(old, older[1:])
        await connection.execute(insert(generations), [row(3, 3, streamed=False), row(4, 4)])
        told = select(generations.c.streamed).order_by(generations.c.id)
        assert list((await connection.execute(told)).scalars()) == [None, None, False, True]
    async with empty.migrating() as connection:
        await downgrade(connection, "0009")
        assert await connection.run_sync(columns_of, "generations") == known
        assert len((await connection.execute(select(generations.c.id))).all()) == 4


async def test_keys_from_before_limit_no_people(empty: Database) -> None:
    """Those that are there, and those that a service of the version before makes; going back none is lost."""
    old = insert(table("api_keys", *(column(name, api_keys.c[name].type) for name in KEY)))
    async with empty.migrating() as connection:
        await upgrade(connection, "0007")
        await connection.execute(old, [KEY])
    async with empty.migrating() as connection:
        await upgrade(connection)
        await connection.execute(old, [{**KEY, "id": "key_two"}])
        await connection.execute(insert(api_keys), [{**KEY, "id": "key_zero", "end_user_limits": {"concurrent": 1}}])
        told = select(api_keys.c.end_user_limits).order_by(api_keys.c.id)
        assert list((await connection.execute(told)).scalars()) == [{}, {}, {"concurrent": 1}]
    async with empty.migrating() as connection:
        await downgrade(connection, "0007")
        assert "end_user_limits" not in await connection.run_sync(columns_of, "api_keys")
        assert len((await connection.execute(select(api_keys.c.id))).all()) == 3


async def test_a_step_that_fails_leaves_nothing(empty: Database) -> None:
    """The steps are one transaction: a process that dies in the middle leaves the tables as they were."""

    async def upgrade_and_fail() -> None:
        async with empty.migrating() as connection:
            await upgrade(connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await upgrade_and_fail()
    async with empty.migrating() as connection:
        assert await connection.run_sync(tables_of) == set()


async def test_several_start_at_once(empty_url: str) -> None:
    """Workers that start together on an empty database migrate it once, and all of them open it.

    One that SQLite tells of a lock, which it does while another makes the file a journal, tries again in a second.
    """
    workers = [Database(empty_url) for _ in range(4)]
    await asyncio.gather(*(worker.open() for worker in workers))
    async with asyncio.timeout(30):
        while not all(worker.up for worker in workers):
            await asyncio.sleep(0.05)
    async with workers[0].reading() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all() == [HEAD]
    for worker in workers:
        await worker.aclose()


async def test_a_newer_database_is_left_alone(database_url: str) -> None:
    """One that a newer version wrote is neither opened nor changed."""
    database = Database(database_url)
    async with database.migrating() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerDatabase, match="9999"):
        await database.open()

    async def go_back() -> None:
        async with database.migrating() as connection:
            await downgrade(connection, OLDER)

    with pytest.raises(NewerDatabase, match="9999"):
        await go_back()
    await database.aclose()


@pytest.mark.parametrize("target", ["0011", "", "head", "-1", "0002"])
async def test_one_goes_back_to_known_steps_only(empty: Database, target: str) -> None:
    """What is no step, or a later one than the tables are at, is refused in a sentence."""

    async def go_back() -> None:
        async with empty.migrating() as connection:
            await upgrade(connection, OLDER)
            await downgrade(connection, target)

    with pytest.raises(UnknownStep, match="at 0001"):
        await go_back()
