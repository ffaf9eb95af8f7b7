"""Carrying everything over into another database, such as from SQLite to PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Table, delete, exists, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.services.other.migrating import upgrade
from mlops_backend.services.other.tables import api_key_revision, metadata

_CHUNK: Final = 1000


class NotEmpty(Exception):
    """The database to copy into has something already."""


async def copy_all(source: AsyncConnection, target: AsyncConnection) -> Mapping[str, int]:
    """Copy every table into a database that has no keys and no ledger; both connections stand in a transaction.

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
    return {table.name: await _copy(table, source, target) for table in metadata.sorted_tables}


async def _copy(table: Table, source: AsyncConnection, target: AsyncConnection) -> int:
    copied = 0
    async with source.stream(select(table)) as rows:
        async for chunk in rows.mappings().partitions(_CHUNK):
            values: list[Mapping[str, Any]] = [dict(row) for row in chunk]
            await target.execute(insert(table), values)
            copied += len(values)
    return copied
