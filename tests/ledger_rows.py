"""Generations for tests of the ledger: records as requests leave them, and a look at what is written of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter, time
from typing import Any

from sqlalchemy import insert, select

from mlops_backend.principal import Principal
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import generations
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.prices import PriceList
from mlops_backend.services.other.usage.queries import DAY
from mlops_backend.telemetry.record import RequestRecord

TESTER = Principal("tester", "settings:tester")


def finished(number: int = 0, **values: Any) -> RequestRecord:
    """What is known of a generation at its end."""
    known = {
        "id": f"request-{number}",
        "method": "POST",
        "route": "/api/chat",
        "caller": TESTER,
        "generates": True,
        "status": 200,
        "outcome": "done",
        "model": "llama3",
        "backend": "http://ollama:11434",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        **values,
    }
    return RequestRecord(**known)


def row(number: int, started_at: int, **values: Any) -> dict[str, Any]:
    """A row of the ledger as it is stored; `started_at` in milliseconds."""
    return {
        "id": f"{number:032x}",
        "request_id": f"request-{number}",
        "started_at": started_at,
        "key_id": TESTER.id,
        "route": "/api/chat",
        "dialect": "ollama",
        "model": "llama3",
        "backend": "http://ollama:11434",
        "outcome": "done",
        "status": 200,
        "error": "",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "estimated": False,
        "first_byte_ms": 20,
        "total_ms": 100,
        "bytes_in": 50,
        "bytes_out": 500,
        "price": 0,
        "requested_model": "",
        "passed_over": "",
        "end_user": "",
        "streamed": True,
        **values,
    }


def midnight(days_ago: int) -> int:
    """The beginning of a day of UTC, in milliseconds."""
    return (int(time() * 1000) // DAY - days_ago) * DAY


def note(ledger: Ledger, *records: RequestRecord) -> None:
    """These generations have ended now."""
    for record in records:
        ledger.note(record, perf_counter())


async def insert_rows(database: Database, rows: Sequence[dict[str, Any]]) -> None:
    """Put rows where the ledger would."""
    async with database.writing() as connection:
        await connection.execute(insert(generations), list(rows))


async def stored(database: Database) -> list[dict[str, Any]]:
    """Everything that is written, oldest first."""
    async with database.reading() as connection:
        found = await connection.execute(select(generations).order_by(generations.c.started_at, generations.c.id))
        return [dict(row) for row in found.mappings()]


async def until_written(ledger: Ledger, count: int, seconds: float = 5) -> None:
    """Wait for the ledger to have written so many rows."""
    async with asyncio.timeout(seconds):
        while ledger.written < count:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """A database until the block ends."""
    database = Database(url)
    await database.open()
    try:
        yield database
    finally:
        await database.aclose()


@asynccontextmanager
async def writing_to(
    database: Database, capacity: int = 1000, prices: PriceList | None = None
) -> AsyncIterator[Ledger]:
    """A ledger that writes until the block ends."""
    ledger = Ledger(database, prices or PriceList({}), capacity)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.aclose()
