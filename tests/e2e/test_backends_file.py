"""A file of backends under the service as its users run it: its start, SIGHUP, and several workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.server_process import COMMAND, ServerProcess, running, serving_process
from tests.e2e.test_workers import number
from tests.fakes.ollama import FakeOllama

GENERATE = {"model": "llama3", "prompt": "Hi", "stream": False}
ROUTE = "/api/admin/backends"
ASKED = 16


@pytest.fixture
async def other() -> AsyncIterator[FakeOllama]:
    """Another Ollama with the same model."""
    async with FakeOllama() as server:
        yield server


def table(name: str, fake: FakeOllama) -> str:
    """A backend in a file."""
    return f'[[backend]]\nname = "{name}"\nurl = "{fake.url}"\nkind = "ollama"\n'


async def seen(client: httpx.AsyncClient) -> set[str]:
    """What the workers say that the backends are: each question is a connection, and so anybody's."""
    answers = await asyncio.gather(*(client.get(ROUTE) for _ in range(ASKED)))
    return {
        ",".join(f"{each['name']}{'-' * each['drained']}" for each in answer.json()["backends"]) for answer in answers
    }


async def until(client: httpx.AsyncClient, wanted: str) -> None:
    """Wait until all say the same."""
    async with asyncio.timeout(20):
        while await seen(client) != {wanted}:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
async def test_a_file_is_read_again(fake: FakeOllama, other: FakeOllama, tmp_path: Path, workers: str) -> None:
    """On SIGHUP and when it changes, by every worker, while a stream runs; a drain is every worker's too."""
    file = tmp_path / "backends.toml"
    file.write_text(table("a", fake))
    fake.hold()
    fake.release(1)
    settings = {"BACKENDS_FILE": str(file), "WORKERS": workers, "EMBEDDED_ENGINE": "off"}
    async with serving_process(tmp_path, **settings) as service, service.client() as client:
        async with client.stream("POST", "/api/generate", json={"model": "llama3", "prompt": "Hi"}) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            file.write_text(table("b", other))
            service.signal(signal.SIGHUP)
            await until(client, "b")
            file.write_text(table("b", other) + table("a", fake))
            await until(client, "b,a")
            assert (await client.post(f"{ROUTE}/a/drain")).status_code == 200
            assert await seen(client) == {"b,a-"}
            statuses = [(await client.post("/api/generate", json=GENERATE)).status_code for _ in range(ASKED)]
            assert set(statuses) == {200}
            assert sum(request.path == "/api/generate" for request in fake.requests) == 1
            fake.release()
            rest = [json.loads(line) async for line in lines]
            assert rest[-1]["done"] is True
        if workers == "2":
            await _another_worker_knows_it(service, client, file)
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0
    assert "Traceback" not in service.report()


async def _another_worker_knows_it(service: ServerProcess, client: httpx.AsyncClient, file: Path) -> None:
    """One that takes a dead one's place has its drains, and the last file that could be used."""
    await asyncio.to_thread(file.write_text, "nonsense")
    async with asyncio.timeout(20):
        while not (await client.get(ROUTE)).json()["file_error"]:
            await asyncio.sleep(0.05)
    victim = psutil.Process(service.pid).children()[0].pid
    os.kill(victim, signal.SIGKILL)
    async with asyncio.timeout(30):
        while victim in [each.pid for each in psutil.Process(service.pid).children()]:
            await asyncio.sleep(0.05)
        while await number(client, "mlops_workers") < 2:
            await asyncio.sleep(0.05)
    assert await seen(client) == {"b,a-"}


async def test_a_file_that_cannot_be_used_is_a_line(fake: FakeOllama, tmp_path: Path) -> None:
    """And the end of the start."""
    file = tmp_path / "backends.toml"
    file.write_text(f"{table('a', fake)}weight = 0\n")
    async with running(tmp_path, COMMAND, {"BACKENDS_FILE": str(file), "PORT": "0"}) as service:
        assert await service.ended() != 0
    assert service.errors.count("\n") == 1
    assert service.errors.startswith("BACKENDS_FILE: backends.toml, line 5: weight must be a number larger than 0")


async def test_without_a_file_sighup_ends_the_service(fake: FakeOllama, tmp_path: Path) -> None:
    """As it always did: who closes a terminal leaves nothing behind."""
    async with serving_process(tmp_path, fake.url) as service:
        service.signal(signal.SIGHUP)
        assert await service.ended() == -signal.SIGHUP
