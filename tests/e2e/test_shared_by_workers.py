"""What two workers of one real service share without Redis: whichever of them is asked, the answer is that of one."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.server_process import ServerProcess, serving_process
from tests.fakes.ollama import FakeOllama

WRONG = "a-key-that-nobody-knows-and-that-is-too-long-to-be-guessed"
SHORT = "short-key"
TWO = {"WORKERS": "2", "AUTH_FAILURE_LIMIT": "3/day", "API_KEYS": f"short:{SHORT}"}
GENERATE = {"model": "llama3", "prompt": "Hi"}


async def statuses(service: ServerProcess, number: int, method: str, path: str, **asked: Any) -> Counter[int]:
    """How often each status came when so many clients ask at once, each over a connection of its own."""

    async def one() -> int:
        async with service.client() as client:
            return (await client.request(method, path, **asked)).status_code

    return Counter(await asyncio.gather(*(one() for _ in range(number))))


def of(key: str) -> dict[str, dict[str, str]]:
    """That key instead of the administrator's."""
    return {"headers": {"X-API-Key": key}}


async def test_two_workers_answer_as_one(fake: FakeOllama, tmp_path: Path) -> None:
    """Limits, keys that change, streams, failed keys, usage and conversations are those of one service."""
    async with serving_process(tmp_path, fake.url, **TWO) as service, service.client() as admin:
        await _limits_are_exact(service, admin)
        await _a_stream_is_read_anywhere(service, admin)
        await _a_conversation_takes_all(service, admin)
        await _failed_keys_are_counted(service)


async def _limits_are_exact(service: ServerProcess, admin: httpx.AsyncClient) -> None:
    made = (await admin.post("/api/admin/keys", json={"name": "k", "limits": {"requests": "9/day"}})).json()
    path, ours = f"/api/admin/keys/{made['id']}", of(made["key"])
    assert await statuses(service, 12, "GET", "/api/key", **ours) == {200: 12}
    assert await statuses(service, 30, "POST", "/api/llm/generate", json=GENERATE, **ours) == {200: 9, 429: 21}
    async with asyncio.timeout(60):
        while (await admin.get("/api/admin/usage", params={"key": made["id"]})).json()["total"]["generations"] != 30:
            await asyncio.sleep(0.1)
    newer = of((await admin.post(f"{path}/rotate", json={})).json()["key"])
    assert await statuses(service, 6, "GET", "/api/key", **newer) == {200: 6}
    assert (await admin.patch(path, json={"limits": {"requests": None}})).status_code == 200
    assert await statuses(service, 12, "POST", "/api/llm/generate", json=GENERATE, **newer) == {200: 12}


async def _a_stream_is_read_anywhere(service: ServerProcess, admin: httpx.AsyncClient) -> None:
    for size in (10, 200_000):
        asked = {"model": "llama3", "prompt": "x" * size}
        url = (await admin.post("/api/llm/streams", json=asked)).json()["url"]
        assert await statuses(service, 8, "GET", url) == {200: 8}


async def _a_conversation_takes_all(service: ServerProcess, admin: httpx.AsyncClient) -> None:
    made = (await admin.post("/api/database/conversations", json={})).json()
    path = f"/api/database/conversations/{made['id']}"
    said = {"content": "Hi", "model": "llama3", "stream": False}
    assert await statuses(service, 6, "POST", f"{path}/messages", json=said) == {200: 6}
    assert await statuses(service, 4, "POST", f"{path}/regenerate", json={"stream": False}) == {200: 4}
    whole = (await admin.get(path, params={"replaced": "true"})).json()
    assert len(whole["messages"]) == 6 + 6 + 4


async def _failed_keys_are_counted(service: ServerProcess) -> None:
    assert await statuses(service, 4, "GET", "/api/key", **of(SHORT)) == {200: 4}
    assert await statuses(service, 20, "GET", "/api/key", **of(WRONG)) == {401: 3, 429: 17}
    assert await statuses(service, 8, "GET", "/api/key", **of(SHORT)) == {429: 8}
