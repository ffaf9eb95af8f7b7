"""Two workers of one real service log at one level."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.server_process import ServerProcess, serving_process
from tests.fakes.ollama import FakeOllama

ROUTE = "/api/admin/log-level"


async def ask_all(service: ServerProcess, name: str) -> None:
    """So many at once that each worker has some."""

    async def one(number: int) -> None:
        async with service.client(**{"X-Request-ID": f"{name}-{number}"}) as client:
            assert (await client.get("/api/llm/models")).status_code == 200

    await asyncio.gather(*map(one, range(12)))


async def put(client: httpx.AsyncClient, **body: object) -> None:
    """Another level."""
    assert (await client.put(ROUTE, json=body)).status_code == 200


@pytest.mark.long
async def test_a_level_holds_in_two_workers_and_in_one_that_comes_later(fake: FakeOllama, tmp_path: Path) -> None:
    """What is quiet is quiet in each, in one that takes a dead one's place too; it goes back in all by itself."""
    async with serving_process(tmp_path, fake.url, WORKERS="2") as service, service.client() as admin:
        await ask_all(service, "before")
        for number in range(12):  # a line is written behind its answer
            await service.printed(f'"request_id":"before-{number}"')
        await put(admin, level="WARNING")
        await ask_all(service, "quiet")
        workers = psutil.Process(service.pid).children()
        os.kill(workers[0].pid, signal.SIGKILL)
        await service.printed(r'"worker_died"')
        async with asyncio.timeout(60):  # until another one serves
            while "\nmlops_workers 2" not in (await admin.get("/metrics")).text:
                await asyncio.sleep(0.05)
        await ask_all(service, "still-quiet")
        await put(admin, level="WARNING", seconds=1)
        await service.printed(r'(?s)("now":"INFO".*){3}')  # two workers and the parent
        await ask_all(service, "after")
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0
        lines = [json.loads(line) for line in service.output.splitlines() if line.startswith("{")]
    ids = [line["request_id"].rpartition("-")[0] for line in lines if line["event"] == "request"]
    assert (ids.count("before"), ids.count("after")) == (12, 12)
    assert not {"quiet", "still-quiet"} & {*ids}
