"""A log that nobody reads, or that cannot be written: felt by no client, and by no row of the ledger."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import REPOSITORY, clean_environment, free_port
from tests.e2e.server_process import COMMAND, KEY, put_tables
from tests.fakes.ollama import FakeOllama

GENERATIONS = 300
# The trial, a part of which runs in each run too, has logs like these.
IN_THE_TRIAL = pytest.mark.long


def gone(folder: Path) -> int:
    """A pipe whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    return write


def unread(folder: Path) -> int:
    """A pipe that nobody reads; the reading end stays open with the test."""
    read, write = os.pipe()
    os.set_inheritable(read, False)
    return write


def full(folder: Path) -> int:
    """A disk that is full."""
    return os.open("/dev/full", os.O_WRONLY)


def bounded(folder: Path) -> int:
    """A file that may not grow: the process may write no file beyond a megabyte, and this one has it already."""
    (folder / "log").write_bytes(b"\n" * 1024 * 1024)
    return os.open(folder / "log", os.O_WRONLY | os.O_APPEND)


def lower_limit() -> None:
    """Let a child write a megabyte into one file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, resource.RLIM_INFINITY))


@asynccontextmanager
async def serving(folder: Path, fake: FakeOllama, output: int) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """The service with a standard output of the test's choice."""
    port = free_port()
    put_tables(folder / "data" / "mlops_backend.db")
    environment = clean_environment(
        PYTHONPATH=str(REPOSITORY),
        HOST="127.0.0.1",
        PORT=str(port),
        API_KEY=KEY,
        EMBEDDED_ENGINE="off",
        OLLAMA_BASE_URL=fake.url,
    )
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=lower_limit,
    )
    os.close(output)
    client = httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": KEY}, timeout=10, trust_env=False, verify=False
    )
    try:
        async with client, asyncio.timeout(60):
            while True:
                with suppress(httpx.TransportError):
                    await client.get("/health")
                    break
                await asyncio.sleep(0.1)
            yield process, client
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
@pytest.mark.parametrize(
    ("output", "loses", "count"),
    [
        pytest.param(gone, True, GENERATIONS, marks=IN_THE_TRIAL),
        pytest.param(unread, False, GENERATIONS, marks=IN_THE_TRIAL),
        (full, True, GENERATIONS // 3),
        (bounded, True, GENERATIONS // 3),
    ],
)
async def test_a_log_that_fails_is_felt_by_nobody(
    tmp_path: Path, fake: FakeOllama, output: Callable[[Path], int], loses: bool, count: int
) -> None:
    """Every generation is answered and has its row, lost lines are counted, and a signal ends the process."""
    async with serving(tmp_path, fake, output(tmp_path)) as (process, client):
        for _ in range(count):
            answer = await client.post("/api/llm/generate", json={"model": "llama3", "prompt": "Hi"})
            assert answer.status_code == 200
        await asyncio.sleep(0.2)
        metrics = (await client.get("/metrics")).text
        dropped = float(metrics.partition("\nmlops_log_lines_dropped_total ")[2].split()[0])
        assert dropped >= count if loses else dropped == 0
        assert "mlops_ledger_dropped_total 0.0" in metrics
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    with sqlite3.connect(tmp_path / "data/mlops_backend.db") as database:
        assert database.execute("select count(*) from generations").fetchone() == (count,)
