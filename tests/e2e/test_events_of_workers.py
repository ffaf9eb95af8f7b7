"""Two workers of one real service: whoever is listened to tells of both, and both end when they are told to."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Final

import httpx
import pytest

from tests.e2e.server_process import ServerProcess, serving_process
from tests.fakes.ollama import FakeOllama, Mode
from tests.web.ear import Ear, listening_by

EARS: Final = 6
WAITING: Final = 7


@pytest.mark.long
async def test_whichever_worker_is_listened_to(fake: FakeOllama, tmp_path: Path) -> None:
    """All hear of all that runs, waits and has failed; a stop is not held up by them."""
    fake.hold()
    async with (
        serving_process(tmp_path, fake.url, WORKERS="2", MAX_CONCURRENCY="1") as service,
        AsyncExitStack() as stack,
    ):
        ears = [await ear_of(service, stack) for _ in range(EARS)]
        asking = [asyncio.create_task(generate(service)) for _ in range(WAITING + 1)]
        for ear in ears:
            await ear.until("queue", lambda told: (told["running"], told["waiting"]) == (1, WAITING))
            await ear.until("generations", lambda told: told["count"] == WAITING + 1)
        fake.mode = Mode.ERROR_500
        fake.release()
        assert {status for status in await asyncio.gather(*asking)} <= {200, 502}
        failed = [status for status in [await generate(service) for _ in range(EARS)] if status == 502]
        assert len(failed) == EARS
        for ear in ears:
            await ear.until("errors", lambda told: len(told["errors"]) >= EARS)
            await ear.until("generations", lambda told: told["count"] == 0)
        began = monotonic()
        service.signal(signal.SIGTERM)
        for ear in ears:
            await ear.end()
        assert await service.ended() == 0
        assert monotonic() - began < 20  # it would be DRAIN_TIMEOUT, thirty seconds, if they were waited for


async def ear_of(service: ServerProcess, stack: AsyncExitStack) -> Ear:
    """One who listens over a connection of its own, to whichever worker takes it."""
    client = await stack.enter_async_context(service.client())
    ear: Ear = await stack.enter_async_context(listening_by(client, {}))
    await ear.all_of({"queue", "generations", "errors", "models", "backends"})
    return ear


async def generate(service: ServerProcess) -> int:
    """The status of one generation, over a connection of its own."""
    async with service.client() as client:
        answer: httpx.Response = await client.post("/api/llm/generate", json={"model": "llama3", "prompt": "Hi"})
        return answer.status_code
