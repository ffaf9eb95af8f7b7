"""Statements that SQLite's own module runs give what SQLAlchemy's way gives, which PostgreSQL takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from mlops_backend.errors import DatabaseDown
from mlops_backend.services.other.conversations.rows import Message
from mlops_backend.services.other.database import Database, Prepared, Statements, conversations, messages, run

OWNER: Final = {"id": "c", "key_id": "k", "owner": "o", "title": "", "model": "m", "created_at": 1, "updated_at": 1}
COUNTS: Final = {"version": 1, "next_sequence": 1, "message_count": 0, "bytes": 0}
# Upper case and marks are what the index has in other words; the last is half of a pair, which UTF-8 cannot say.
TEXTS: Final = ("plain", "Größe ÀÉ", "nul \0 and escape \x10\x0e", "half \ud83d")
COLUMNS: Final = tuple(Message(id="", sequence=0, role="").row("", ""))
ADDED: Final = Prepared(insert(messages), COLUMNS)
OURS: Final = [column for column in messages.c if column is not messages.c.number]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One with a conversation."""
    made = Database(database_url)
    await made.open()

    async def begin(connection: Statements) -> None:
        await connection.execute(insert(conversations), [OWNER | COUNTS])

    await made.transaction(begin)
    yield made
    await made.aclose()


def row(number: int, content: str) -> dict[str, Any]:
    """A message with every kind of value."""
    message = Message(
        id=f"m{number}",
        sequence=number,
        role="user",
        content=content,
        tool_calls=[{"name": content}],
        estimated=bool(number % 2),
        prompt_tokens=number or None,
    )
    return dict(message.row("c", "o"))


async def test_what_is_written_is_what_sqlalchemy_writes(database: Database) -> None:
    """Every text, flag and absence, and what the index has of a text, which nobody gives."""
    rows = [row(number, content) for number, content in enumerate(TEXTS)]

    async def both_ways(connection: Statements) -> list[Any]:
        found: list[Any] = []
        for way in (lambda: run(connection, ADDED, rows), lambda: connection.execute(insert(messages), rows)):
            await way()
            found.append((await connection.execute(select(*OURS).order_by(messages.c.sequence))).all())
            await connection.execute(messages.delete())
        return found

    ours, theirs = await database.transaction(both_ways)
    assert ours == theirs
    assert [each.content for each in ours] == list(TEXTS)
    assert [each.folded is None for each in ours] == [True, False, True, True]


async def test_what_is_read_is_what_sqlalchemy_reads(database: Database) -> None:
    """Values that stand in the statement itself are given too."""
    statement = select(*OURS).where(messages.c.sequence > 0, messages.c.role == bindparam("of")).order_by(messages.c.id)
    prepared = Prepared(statement)

    async def both_ways(connection: Statements) -> tuple[list[Any], list[Any]]:
        await connection.execute(insert(messages), [row(number, content) for number, content in enumerate(TEXTS)])
        theirs = (await connection.execute(statement, {"of": "user"})).all()
        return [tuple(each) for each in await run(connection, prepared, {"of": "user"})], list(map(tuple, theirs))

    ours, theirs = await database.transaction(both_ways)
    assert ours == theirs
    assert len(ours) == 3
    assert {type(each[OURS.index(messages.c.estimated)]) for each in ours} == {bool}


async def test_an_update_sets_what_it_names(database: Database) -> None:
    """Other columns stay, whatever the values say beside; it has no rows to give."""
    mine = update(conversations).where(conversations.c.id == bindparam("mine"))

    async def work(connection: Statements) -> Any:
        none = await run(connection, Prepared(mine, ("title",)), [{"title": "new", "mine": "c"}])
        found = await connection.execute(select(conversations.c.title, conversations.c.model))
        return none, tuple(found.one())

    assert await database.transaction(work) == ([], ("new", "m"))


async def test_what_is_refused_is_refused_as_sqlalchemy_does(database: Database) -> None:
    """The error has its class, and no word of what was to be written; others go on."""

    async def twice(connection: Statements) -> None:
        await run(connection, ADDED, row(1, "first"))
        await run(connection, ADDED, row(1, "a secret"))

    with pytest.raises(IntegrityError) as refused:
        await database.transaction(twice)
    assert "secret" not in str(refused.value)

    async def count(connection: Statements) -> int:
        return len(await run(connection, Prepared(select(messages.c.id)), {}))

    assert await database.transaction(count) == 0


async def test_a_transaction_that_fails_leaves_no_lock(database: Database) -> None:
    """Another connection writes at once, and so does the next transaction of the same thread."""

    async def fail(connection: Statements) -> None:
        await run(connection, ADDED, row(1, "first"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.transaction(fail)
    async with database.writing() as connection:
        await connection.execute(update(conversations).values(title="written"))

    async def title(connection: Statements) -> str:
        return str((await run(connection, Prepared(select(conversations.c.title)), {}))[0][0])

    assert await database.transaction(title) == "written"


async def test_a_statement_that_cannot_run_says_that_the_database_is_away(database: Database) -> None:
    """As it is for every other statement of SQLite's: a table that is gone, a disk that is full."""
    if not database.is_sqlite:
        pytest.skip("PostgreSQL tells such errors from its being away")

    async def work(connection: Statements) -> None:
        await run(connection, Prepared(text("SELECT 1 FROM nowhere")), {})

    with pytest.raises(DatabaseDown):
        await database.transaction(work)
