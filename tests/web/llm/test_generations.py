"""Generations that run are seen by those whose they are, and end when those say so, wherever they are."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import httpx
import pytest

from mlops_backend.services.other.usage import Ledger
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service

OTHER: Final = "key-of-somebody-else"
KEYS: Final = f"tester:{ORDINARY_KEY},other:{OTHER}"
MESSAGES: Final = [{"role": "user", "content": "Hi"}]
SOON: Final = 1.0
FAMILIES: Final[dict[str, tuple[str, dict[str, Any], str]]] = {
    "own": ("/api/llm/stream", {"model": "llama3", "prompt": "Hi"}, '"generation_cancelled"'),
    "ollama": ("/api/chat", {"model": "llama3", "messages": MESSAGES}, '"generation_cancelled"'),
    "openai": ("/v1/chat/completions", {"model": "llama3", "messages": MESSAGES, "stream": True}, "ended by request"),
    "anthropic": (
        "/v1/messages",
        {"model": "llama3", "messages": MESSAGES, "stream": True, "max_tokens": 9},
        "ended by request",
    ),
}


def begun(service: Service, family: str = "own", *, name: str = "mine", key: str = "") -> asyncio.Task[httpx.Response]:
    """A generation under way, with a name."""
    path, body, _ = FAMILIES[family]
    headers = {"X-Request-ID": name, **({"X-API-Key": key} if key else {})}
    return asyncio.create_task(service.client.post(path, json=body, headers=headers))


async def listed(service: Service, key: str = ORDINARY_KEY) -> list[dict[str, Any]]:
    """What a key sees."""
    answer = (await service.client.get("/api/llm/generations", headers={"X-API-Key": key})).json()
    assert answer["count"] == len(answer["generations"])
    return list(answer["generations"])


async def until(service: Service, *states: str) -> None:
    """Until one's own are in these states."""
    async with asyncio.timeout(20):
        while [each["state"] for each in await listed(service)] != list(states):
            await asyncio.sleep(0.005)


async def end(service: Service, name: str = "mine", key: str = ORDINARY_KEY) -> httpx.Response:
    """End one by its name."""
    return await service.client.delete(f"/api/llm/generations/{name}", headers={"X-API-Key": key})


async def test_each_sees_their_own(serve: ServeFactory, fake: FakeOllama) -> None:
    """In the state that they are in; the administrator sees all, and where they run."""
    fake.hold()
    async with serve(fake.url, max_concurrency=1, api_keys=KEYS) as service:
        tasks = [begun(service)]
        await until(service, "asked")
        fake.release(1)
        await until(service, "answering")
        tasks += [begun(service, "openai", name="second")]
        await until(service, "answering", "queued")
        tasks += [begun(service, name="theirs", key=OTHER)]
        first, second = await listed(service)
        assert (first["id"], first["route"], first["model"]) == ("mine", "/api/llm/stream", "llama3")
        assert (second["id"], second["class"], "backend" in second) == ("second", "interactive", False)
        while len(everything := await listed(service, ADMIN_KEY)) < 3:
            await asyncio.sleep(0.005)
        assert [each["key_id"] for each in everything] == ["settings:tester", "settings:tester", "settings:other"]
        assert [each["key_name"] for each in everything] == ["tester", "tester", "other"]
        assert everything[0]["backend"] == fake.url
        fake.release()
        await asyncio.gather(*tasks)
        assert await listed(service, ADMIN_KEY) == []


@pytest.mark.parametrize("family", FAMILIES)
async def test_one_ends_amid_its_answer(serve: ServeFactory, fake: FakeOllama, family: str) -> None:
    """The backend is let go of at once, and the client is told in its own words; the ledger says what it was."""
    fake.hold()
    async with serve(fake.url) as service:
        task = begun(service, family)
        await until(service, "asked")
        fake.release(1)
        await until(service, "answering")
        leaving = asyncio.create_task(fake.wait_for_disconnect())
        assert (await end(service)).json() == {"ended": 1}
        async with asyncio.timeout(SOON):
            await leaving
        answer = await task
        await service.services.get(Ledger).write_now(20)
        rows = (await service.client.get("/api/usage", params={"group_by": "outcome"})).json()["rows"]
    assert FAMILIES[family][2] in answer.text
    assert [row["outcome"] for row in rows] == ["cancelled"]


@pytest.mark.parametrize("state", ["queued", "asked"])
async def test_one_ends_before_its_answer(serve: ServeFactory, fake: FakeOllama, state: str) -> None:
    """While it waits for a slot it costs nothing; while the backend reads its prompt the backend is let go of."""
    fake.hold()
    async with serve(fake.url, max_concurrency=1) as service:
        others = [begun(service, name="other")] if state == "queued" else []
        if others:
            await until(service, "asked")
        task = begun(service)
        await until(service, *(["asked"] * len(others)), state)
        leaving = asyncio.create_task(fake.wait_for_disconnect())
        assert (await end(service)).json() == {"ended": 1}
        answer = await task
        assert (answer.status_code, answer.json()["code"]) == (499, "generation_cancelled")
        if state == "asked":
            async with asyncio.timeout(SOON):
                await leaving
        leaving.cancel()
        assert len(fake.requests) - sum(request.path in ("/api/version", "/api/tags") for request in fake.requests) == 1
        fake.release()
        await asyncio.gather(*others)


async def test_nobody_ends_what_is_anothers(serve: ServeFactory, fake: FakeOllama) -> None:
    """To others it is as if it were not there; the administrator may."""
    fake.hold()
    async with serve(fake.url, api_keys=KEYS) as service:
        task = begun(service)
        await until(service, "asked")
        for name, key in (("mine", OTHER), ("nobodys", ORDINARY_KEY), ("nobodys", ADMIN_KEY)):
            refused = await end(service, name, key)
            assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
        assert (await end(service, key=ADMIN_KEY)).json() == {"ended": 1}
        assert json.loads((await task).text)["code"] == "generation_cancelled"
