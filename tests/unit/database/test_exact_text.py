"""A text of any kind reads back from both databases as it was."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, insert, select

from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.exact_text import ExactText

ODD = [
    "",
    "plain",
    "é😀日本",
    "\0",
    "a\0b\0",
    "\x10",
    "\x10\x10\0\x10\x0e\x10\x0f",
    "\x10\x0f\x0e",
    "\ud800",
    "\udfff\ud800 \x10\x11d800",
    "\x10\x0f\x11d800",
    "\x10\x0e\x0f\x11",
]


@given(st.text(st.sampled_from("\0\x0e\x0f\x10\x11d80é\ud800\udc00a")) | st.text())
@example("\x10\x11d800")
def test_what_is_kept_has_nothing_that_a_database_refuses(value: str) -> None:
    """Any text becomes one that is UTF-8 without NUL, and comes back."""
    column = ExactText()
    kept = column.process_bind_param(value, None)
    assert kept is not None
    assert b"\0" not in kept.encode()
    assert column.process_result_value(kept, None) == value


async def test_texts_come_back(database_url: str) -> None:
    """Each text, and none, reads back as it was; two different ones are kept as two."""
    table = Table("texts", MetaData(), Column("id", Integer, primary_key=True), Column("value", ExactText))
    database = Database(database_url)
    await database.open()
    rows = [{"id": number, "value": value} for number, value in enumerate([*ODD, None])]
    async with database.writing() as connection:
        await connection.run_sync(table.create)
        await connection.execute(insert(table), rows)
    async with database.reading() as connection:
        read = await connection.execute(select(table).order_by(table.c.id))
        assert [dict(row) for row in read.mappings()] == rows
        for value in ODD:
            assert len((await connection.execute(select(table).where(table.c.value == value))).all()) == 1
    await database.aclose()


@pytest.mark.parametrize("value", ["plain", "é"])
def test_an_ordinary_text_is_kept_as_it_is(value: str) -> None:
    """Other programs read the database too: what needs no change has none."""
    assert ExactText().process_bind_param(value, None) is value
