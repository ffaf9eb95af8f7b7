"""Carrying everything over into another database, such as from SQLite to PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from sqlalchemy import RowMapping, Table, delete, exists, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.services.other.database.migrating import upgrade
from mlops_backend.services.other.database.tables import api_key_revision, images, messages, metadata, responses

# Rows held in memory at once. A message may have some MB of text, an image and a response many more.
_CHUNK: Final = 1000
_LARGE: Final[Mapping[Table, int]] = {messages: 50, images: 2, responses: 5}


class NotEmpty(Exception):
    """The database to copy into has something already."""


async def copy_all(source: AsyncConnection, target: AsyncConnection) -> Mapping[str, int]:
    """Copy every table into a database that has nothing yet; both connections stand in a transaction.

    Returns:
        How many rows each table got.

    Raises:
        NewerDatabase: the target is at a step that is not known here.
        NotEmpty: the target has rows.
    """
    await upgrade(target)
    for table in metadata.sorted_tables:
        if table is not api_key_revision and (await target.execute(select(exists(select(table))))).scalar():
            raise NotEmpty(f"The target is not empty: it has rows in {table.name}. Nothing was copied.")
    await target.execute(delete(api_key_revision))  # the steps put a row there
    copied = {table.name: await _copy(table, source, target) for table in metadata.sorted_tables}
    await _count_on(target)
    return copied


async def _copy(table: Table, source: AsyncConnection, target: AsyncConnection) -> int:
    copied = 0
    async with aclosing(_large(table, source) if table in _LARGE else _ordinary(table, source)) as chunks:
        async for chunk in chunks:
            values: list[Mapping[str, Any]] = [dict(row) for row in chunk]
            await target.execute(insert(table), values)
            copied += len(values)
    return copied


async def _ordinary(table: Table, source: AsyncConnection) -> AsyncGenerator[Sequence[RowMapping], None]:
    async with source.stream(select(table)) as rows:
        async for chunk in rows.mappings().partitions(_CHUNK):
            yield chunk


async def _large(table: Table, source: AsyncConnection) -> AsyncGenerator[Sequence[RowMapping], None]:
    """By their only key, as many at once as one says: what streams from PostgreSQL has fifty rows in hand at least."""
    (key,) = table.primary_key
    query = select(table).order_by(key).limit(_LARGE[table])
    rows = (await source.execute(query)).mappings().all()
    while rows:
        yield rows
        rows = (await source.execute(query.where(key > rows[-1][key]))).mappings().all()


async def _count_on(target: AsyncConnection) -> None:
    """Let PostgreSQL number what comes behind what was copied; SQLite does so by itself."""
    if target.dialect.name == "postgresql":
        sequence = func.pg_get_serial_sequence(messages.name, messages.c.number.name)
        await target.execute(select(func.setval(sequence, func.max(messages.c.number))))
