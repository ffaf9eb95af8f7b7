"""A hundred thousand conversations of one key: each page goes over an index and costs as with a thousand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.services.other.conversations.reads import messages_of, page
from mlops_backend.services.other.conversations.search import found
from mlops_backend.services.other.conversations.search_words import parsed
from mlops_backend.services.other.conversations.writes import in_order_of_id, locked_some
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import conversations, messages
from mlops_backend.setting_stores import database_url as with_driver
from tests.databases import KINDS, Postgres, sqlite_template

pytestmark = pytest.mark.asyncio(loop_scope="module")

Question = Callable[[AsyncConnection, int], Awaitable[Any]]

FEW: Final = 1_000
MANY: Final = 100_000
OWNER: Final = "a" * 32
# Of twelve conversations in a row two are another key's, whose messages have a word that few of ours have. There
# are two messages in each; some words are in ten places of any
# database.
FILL: Final = """
INSERT INTO conversations (id, key_id, owner, title, model, created_at, updated_at, version, next_sequence,
                           message_count, bytes)
{numbers} SELECT {id}, CASE WHEN i % 12 < 2 THEN 'key_b' ELSE 'key_a' END, '', 'title', 'model', i, i, 1, 9, 2, 100
FROM numbers WHERE i <= {conversations};
INSERT INTO messages (number, id, conversation_id, owner, sequence, role, content, thinking, tool_calls, tool_name,
                      model, outcome, error, estimated, omitted, bytes, created_at)
{numbers} SELECT i, {id}, {conversation}, CASE WHEN i / 2 % 12 < 2 THEN {other} ELSE {own} END, i % 2 + 1, 'user',
       'the beginning of '
       || CASE WHEN i / 2 % 12 < 2 OR i % {tenth} = 20 THEN 'foreign' ELSE 'own' END
       || CASE WHEN i % {tenth} IN (0, 1, 10, 11) THEN ' rare' ELSE ' frequent' END,
       '', '', '', 'model', '', '', false, 0, 100, i FROM numbers"""
FORMS: Final = {
    "sqlite": {
        "numbers": "WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < {messages})",
        "id": "printf('%032x', i)",
        "conversation": "printf('%032x', i / 2)",
    },
    "postgresql": {
        "numbers": "WITH numbers AS (SELECT generate_series(0, {messages}) AS i)",
        "id": "lpad(to_hex(i), 32, '0')",
        "conversation": "lpad(to_hex(i / 2), 32, '0')",
    },
}
# One by one what keeps the rows in order costs more than all at the end.
BEFORE: Final = {
    "sqlite": "DROP TRIGGER messages_inserted; PRAGMA defer_foreign_keys = ON",
    "postgresql": """ALTER TABLE message_images SET UNLOGGED; ALTER TABLE messages SET UNLOGGED;
        SET LOCAL session_replication_role = replica; SET LOCAL maintenance_work_mem = '256MB';
        DROP INDEX ix_messages_words""",
}
AFTER: Final = {
    "sqlite": "INSERT INTO message_words (message_words) VALUES ('rebuild'); ANALYZE",
    "postgresql": """CREATE INDEX ix_messages_words ON messages USING gin (words) WITH (fastupdate = off);
        ANALYZE messages, conversations""",
}


def searching(words: str, *, deep: bool = False) -> Question:
    """A page of what is found, the first or one in the middle."""

    async def ask(connection: AsyncConnection, size: int) -> None:
        before = size * 12 // 10 if deep else None
        assert await found(connection, OWNER, "key_a", parsed(words), before, 50)

    return ask


def listing(*, deep: bool = False) -> Question:
    """A page of the list, the first or one in the middle."""

    async def ask(connection: AsyncConnection, size: int) -> None:
        after = (size // 2, f"{size // 2:032x}") if deep else None
        assert len(await page(connection, "key_a", after, 50)) == 50

    return ask


async def reading(connection: AsyncConnection, size: int) -> None:
    """One conversation."""
    assert len(await messages_of(connection, f"{size // 2:032x}")) == 2


async def deleting(connection: AsyncConnection, size: int) -> None:
    """Some of a key's conversations, about to be deleted."""
    assert len(await locked_some(connection, "key_b", 50)) == 50


async def exporting(connection: AsyncConnection, size: int) -> None:
    """The ids of the next conversations to export."""
    mine = select(conversations.c.id).where(*in_order_of_id("key_b", f"{size // 2:032x}"))
    ordered = mine.order_by(conversations.c.key_id, conversations.c.id)
    assert len((await connection.execute(ordered.limit(50))).all()) == 50


QUESTIONS: Final[dict[str, Question]] = {
    "the first page": listing(),
    "a deep page": listing(deep=True),
    "one conversation": reading,
    "some to delete": deleting,
    "some to export": exporting,
    "a frequent word": searching("the"),
    "a frequent word, deep": searching("the", deep=True),
    "a rare word": searching("rare"),
    "a rare word, deep": searching("rare", deep=True),
    "a frequent beginning": searching("beg*"),
    "a frequent beginning, deep": searching("beginn*", deep=True),
    "a rare beginning": searching("rar*"),
    "another key's word": searching("foreign"),
    "another key's word, deep": searching("foreign", deep=True),
    "two words": searching("own rare"),
    "a phrase": searching('"the beginning of"', deep=True),
}


@dataclass(frozen=True)
class Filled:
    """A database with so many conversations of `key_a`, and what is asked of it."""

    database: Database
    size: int

    @property
    def kind(self) -> str:
        """Which database it is."""
        return "sqlite" if self.database.is_sqlite else "postgresql"

    async def fill(self) -> None:
        """Put them in."""
        counts = {"conversations": self.size * 12 // 10, "messages": self.size * 12 // 5, "tenth": self.size * 12 // 50}
        forms = FORMS[self.kind]
        numbers = forms["numbers"].format(**counts)
        values = {**counts, **forms, "numbers": numbers, "own": f"'{OWNER}'", "other": f"'{'b' * 32}'"}
        indexes = [*conversations.indexes, *messages.indexes]
        async with self.database.writing() as connection:
            await self._run(connection, BEFORE[self.kind])
            for index in indexes:
                await connection.run_sync(index.drop)
            await self._run(connection, FILL.format(**values))
            for index in indexes:
                await connection.run_sync(index.create)
            await self._run(connection, AFTER[self.kind])

    async def statements(self, question: Question) -> list[tuple[str, Any]]:
        """What the question runs, with its values."""
        seen: list[tuple[str, Any]] = []

        def note(_: object, __: object, statement: str, values: Any, *___: object) -> None:
            seen.append((statement, values))

        async with self.database.reading() as connection:
            engine = connection.engine.sync_engine
            event.listen(engine, "before_cursor_execute", note)
            await question(connection, self.size)
            event.remove(engine, "before_cursor_execute", note)
        return seen

    async def plans(self, question: Question) -> list[Any]:
        """How each of its statements is run."""
        explain = "EXPLAIN QUERY PLAN " if self.kind == "sqlite" else "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
        plans = []
        statements = await self.statements(question)
        async with self.database.reading() as connection:
            if self.kind == "postgresql":  # a small table is read as a whole, which says nothing of a large one
                await connection.exec_driver_sql(f"SET LOCAL enable_seqscan = {self.size >= MANY}")
            for statement, values in statements:
                rows = (await connection.exec_driver_sql(explain + statement, values)).all()
                plans.append([row[-1] for row in rows] if self.kind == "sqlite" else rows[0][0][0]["Plan"])
        return plans

    async def work(self, question: Question) -> int:
        """What it costs: steps of SQLite's machine, pages that PostgreSQL looks at."""
        if self.kind == "postgresql":
            return sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in await self.plans(question))
        async with self.database.reading() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            steps = count()
            await driver.set_progress_handler(lambda: next(steps) < 0, 1)
            await question(connection, self.size)
            await driver.set_progress_handler(lambda: 0, 0)
            return next(steps)

    async def _run(self, connection: AsyncConnection, statements: str) -> None:
        for statement in statements.split(";"):
            await connection.exec_driver_sql(statement)


async def filled(url: str, size: int) -> Filled:
    """A database of that size."""
    database = Database(url)
    await database.open()
    result = Filled(database, size)
    await result.fill()
    return result


@pytest.fixture(scope="module", params=KINDS)
def addresses(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two databases without rows, of each kind."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return [with_driver(server.fresh()) for _ in range(2)]
    folder: Path = tmp_path_factory.mktemp("plans")
    for name in ("few.db", "many.db"):
        (folder / name).write_bytes(sqlite_template())
    return [with_driver(f"sqlite:///{folder / name}") for name in ("few.db", "many.db")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(addresses: list[str]) -> AsyncIterator[tuple[Filled, Filled]]:
    """The two databases: a thousand conversations of one key, and a hundred thousand."""
    few, many = await filled(addresses[0], FEW), await filled(addresses[1], MANY)
    yield few, many
    async with many.database.writing() as connection:
        if many.kind == "postgresql":  # the server would write it all to disk when it stops
            await connection.exec_driver_sql("TRUNCATE conversations, messages, message_images")
    await asyncio.gather(few.database.aclose(), many.database.aclose())


def nodes(plan: dict[str, Any]) -> list[str]:
    """How each table of one of PostgreSQL's plans is read."""
    own = [f"{plan['Node Type']} {plan.get('Relation Name', '')}"]
    return own + [node for inner in plan.get("Plans", []) for node in nodes(inner)]


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_page_goes_over_an_index(both: tuple[Filled, Filled], question: str) -> None:
    """No row of conversations or messages is read that an index did not choose."""
    many = both[1]
    for plan in await many.plans(QUESTIONS[question]):
        if many.kind == "sqlite":
            assert not re.search("SCAN (?!message_words VIRTUAL TABLE INDEX)", "\n".join(plan)), plan
        else:
            assert not {"Seq Scan conversations", "Seq Scan messages"} & {*nodes(plan)}, plan


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_page_costs_the_same_with_many(both: tuple[Filled, Filled], question: str) -> None:
    """A hundred times as many conversations cost nothing more than an index that is a few levels deeper."""
    few, many = [await database.work(QUESTIONS[question]) for database in both]
    assert many <= 4 * few + 100
