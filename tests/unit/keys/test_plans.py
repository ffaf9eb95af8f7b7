"""Ten thousand keys: each page goes over an index, and no sorting is done for it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from sqlalchemy import event, insert, text

from mlops_backend.schemas.keys import ListKeysQuery
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import api_keys
from mlops_backend.services.other.keys.service import ApiKeys

MANY: Final = 10_000
OWNERS: Final = 100
# What the page asks: the first page and a deep one, of all, of an owner, and of a name; both ways.
PAGES: Final[dict[str, dict[str, Any]]] = {
    "all": {},
    "deep": {"after": "key_005000"},
    "an owner's": {"owner": "owner7"},
    "an owner's, deep": {"owner": "owner7", "after": "key_005007"},
    "with revoked ones": {"revoked": True, "after": "key_009000"},
    "by name": {"name": "key 42"},
    "an owner's by name": {"owner": "owner7", "name": "key"},
}


async def nobody_is_told(_: object) -> None:
    """Nothing follows the changes."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One with so many keys, of a hundred owners."""
    opened = Database(database_url)
    await opened.open()
    common = {"scopes": [], "models": [], "limits": {}, "end_user_limits": {}, "metadata": {}, "enabled": True}
    rows = [
        {
            **common,
            "id": f"key_{number:06}",
            "name": f"key {number}",
            "owner": f"owner{number % OWNERS}",
            "created_at": number // 3,
            "revision": number,
        }
        for number in range(MANY)
    ]
    async with opened.writing() as connection:
        await connection.execute(insert(api_keys), rows)
        await connection.execute(text("ANALYZE api_keys" if not opened.is_sqlite else "ANALYZE"))
    yield opened
    await opened.aclose()


def asked(**fields: Any) -> ListKeysQuery:
    """What a page is asked for."""
    return ListKeysQuery.model_validate(fields)


async def plans(database: Database, query: ListKeysQuery) -> str:
    """How each statement of a page is run."""
    seen: list[tuple[str, Any]] = []
    async with database.reading() as connection:
        engine = connection.engine.sync_engine

    def note(_: object, __: object, statement: str, values: Any, *___: object) -> None:
        seen.append((statement, values))

    event.listen(engine, "before_cursor_execute", note)
    found, _ = await ApiKeys(database, nobody_is_told).page(query)
    event.remove(engine, "before_cursor_execute", note)
    assert found
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    lines: list[str] = []
    async with database.reading() as connection:
        for statement, values in (each for each in seen if each[0].startswith("SELECT")):
            lines += [str(row[-1]) for row in await connection.exec_driver_sql(explain + statement, values)]
    return "\n".join(lines)


async def test_a_page_of_many_keys_goes_over_an_index(database: Database) -> None:
    """No page looks through the table or sorts it, first or deep, of an owner or a name, in either order."""
    for newest in (False, True):
        for name, fields in PAGES.items():
            told = await plans(database, asked(newest=newest, **fields))
            if "name" in fields and not database.is_sqlite:
                # A text in the midst of names is looked for in each; in which order is for PostgreSQL to say.
                continue
            # It may rather sort the hundred keys of one owner than follow their order in the index.
            sorting = r"TEMP B-TREE" if "owner" in fields else r"TEMP B-TREE|\bSort\b"
            assert not re.search(rf"SCAN api_keys$|Seq Scan|{sorting}", told, re.MULTILINE), (name, told)
            wanted = "ix_api_keys_owner" if "owner" in fields else "ix_api_keys_created_at"
            assert wanted in told, (name, told)


async def test_both_orders_have_every_key_once(database: Database) -> None:
    """Page by page, keys that were made in one moment included."""
    keys = ApiKeys(database, nobody_is_told)
    for newest in (False, True):
        ids: list[str] = []
        after: str | None = None
        while after is not None or not ids:
            found, after = await keys.page(asked(limit=30, after=after, newest=newest, owner="owner7"))
            ids += [key.id for key in found]
        assert ids == [f"key_{number:06}" for number in sorted(range(7, MANY, OWNERS), reverse=newest)]
