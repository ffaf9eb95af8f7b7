"""What a SIGKILL costs: nothing that ended a second before it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import generations
from tests.e2e.server_process import serving_process
from tests.fakes.ollama import FakeOllama

GENERATIONS = 60


@pytest.mark.parametrize("wait", [2.0, pytest.param(None, marks=pytest.mark.long)], ids=["seconds-later", "at-once"])
async def test_a_killed_process_has_written_all_but_the_last_second(
    fake: FakeOllama, database_url: str, tmp_path: Path, wait: float | None
) -> None:
    """Generations that ended a second before are in the ledger; what is newer may be missing, and nothing is double."""
    async with serving_process(tmp_path, fake.url, DATABASE_URL=database_url) as process:
        async with process.client() as client:
            body = {"model": "llama3", "prompt": "Hi"}
            asked = [client.post("/api/llm/generate", json=body) for _ in range(GENERATIONS)]
            answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {200}
        if wait is not None:
            await asyncio.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        assert await process.ended() == -signal.SIGKILL
    database = Database(database_url)
    await database.open()
    async with database.reading() as connection:
        count = select(func.count(), func.count(generations.c.request_id.distinct())).select_from(generations)
        written, distinct = (await connection.execute(count)).one()
        ids = set((await connection.execute(select(generations.c.request_id))).scalars())
    await database.aclose()
    assert written == distinct
    assert ids <= {answer.headers["x-request-id"] for answer in answers}
    assert wait is None or written == GENERATIONS


@pytest.mark.long
async def test_a_locked_database_does_not_keep_the_process(fake: FakeOllama, tmp_path: Path) -> None:
    """Another program holds SQLite's lock: generations go on, and a stop is a stop, if a late one."""
    file = tmp_path / "locked.db"
    async with serving_process(tmp_path, fake.url, DATABASE_URL=f"sqlite:///{file}") as process:
        with closing(sqlite3.connect(file)) as other:
            other.execute("BEGIN EXCLUSIVE")
            async with process.client() as client:
                answer = await client.post("/api/llm/generate", json={"model": "llama3", "prompt": "Hi"})
            assert answer.status_code == 200
            process.signal(signal.SIGTERM)
            await process.ended(20)
