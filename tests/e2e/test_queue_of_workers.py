"""Two worker processes before a backend with a bound: it is never given more, by its own count."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.server_process import serving_process
from tests.fakes.ollama import FakeOllama, Mode

MOST = 7


@pytest.mark.parametrize("count", [1000, pytest.param(5000, marks=pytest.mark.long)])
async def test_two_workers_never_give_a_backend_more_than_it_takes(
    fake: FakeOllama, tmp_path: Path, count: int
) -> None:
    """Many clients, some of which leave while they wait; every other one is answered, and at the end nobody waits."""
    fake.mode, fake.first_byte_delay, fake.words = Mode.SLOW_FIRST_BYTE, 0.002, ("Hi",)
    variables = {"WORKERS": "2", "MAX_CONCURRENCY": str(MOST), "LOG_LEVEL": "WARNING"}
    async with serving_process(tmp_path, fake.url, **variables) as service, service.client() as client:
        room = asyncio.Semaphore(200)

        async def one(number: int) -> int:
            async with room:
                asking = asyncio.create_task(client.post("/api/generate", json={"model": "llama3", "stream": False}))
                if number % 10 == 0:
                    await asyncio.wait({asking}, timeout=0.02)
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)
                    return 0
                return (await asking).status_code

        statuses = await asyncio.gather(*map(one, range(count)))
        assert {status for status in statuses if status} == {200}
        assert fake.max_active == MOST
        async with asyncio.timeout(20):
            while (seen := (await client.get("/api/llm/queue")).json())["waiting"] or seen["running"]:
                await asyncio.sleep(0.05)
        assert seen["backends"] == [{"name": fake.url, "running": 0, "max_concurrency": MOST, "waiting": 0}]
