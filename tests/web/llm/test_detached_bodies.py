"""The bodies of requests that go on without their clients: held once, by whoever reads them, and counted there."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Final

from mlops_backend.middleware.json_body import JSONRequest
from tests.fakes.ollama import FakeOllama
from tests.service import Service

BODY: Final = json.dumps({"model": "llama3", "prompt": "x" * 1_000_000, "stream": False}).encode()
NAMED: Final = {"Idempotency-Key": "a large one", "Content-Type": "application/json"}
ASKING: Final = 4


def copies() -> int:
    """How many copies of the body there are beside the client's own."""
    seen = {id(inner) for each in gc.get_objects() for inner in gc.get_referents(each) if _is_copy(inner)}
    return len(seen)


def _is_copy(inner: object) -> bool:
    return isinstance(inner, bytes) and len(inner) == len(BODY) and inner is not BODY


def requests() -> int:
    """How many requests the service has."""
    return sum(isinstance(each, JSONRequest) for each in gc.get_objects())


async def test_a_body_is_held_once_however_many_wait_for_its_answer(service: Service, fake: FakeOllama) -> None:
    """Neither the request that began the generation holds it, nor those that join, for nobody counts it there."""
    fake.hold()
    gc.collect()
    before = requests()
    asking = [service.client.post("/api/generate", content=BODY, headers=NAMED) for _ in range(ASKING)]
    tasks = list(map(asyncio.create_task, asking))
    async with asyncio.timeout(20):
        while not fake.active or requests() < before + ASKING + 1:  # each client's, and the one that is detached
            await asyncio.sleep(0.05)
        while copies() != 2:  # the backend has one, too
            await asyncio.sleep(0.05)
    fake.release()
    answers = await asyncio.gather(*tasks)
    assert [answer.status_code for answer in answers] == [200] * ASKING
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == ASKING - 1
