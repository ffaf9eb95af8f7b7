"""What one process does at a time, of all that have the same database."""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Turn(IntEnum):
    """PostgreSQL's advisory locks: numbers that nobody else takes."""

    MIGRATION = 0x6D6C6F70
    ROLLING_UP = 0x6D6C6F71
    ADDING_UP = 0x6D6C6F72


async def take_turn(connection: AsyncConnection, turn: Turn) -> None:
    """Wait for a turn, which ends with the transaction; SQLite's writers have theirs already."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": int(turn)})
