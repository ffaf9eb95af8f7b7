"""The memory that bodies may take: counted as they arrive, given back at the end of their requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from mlops_backend.services.other.limits import ByteBudget
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service

MEGABYTE = 1024 * 1024


@asynccontextmanager
async def arriving(service: Service, size: int, key: str = ORDINARY_KEY) -> AsyncIterator[asyncio.StreamReader]:
    """A generation whose body comes, but for its end."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/llm/generate HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: {size + 100}\r\n\r\n"
    writer.write(head.encode() + b'{"prompt":"' + b"x" * size)
    try:
        yield reader
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def held(service: Service, size: int) -> None:
    """Wait until so many bytes are counted."""
    async with asyncio.timeout(20):
        while service.services.get(ByteBudget).held < size:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["/api/llm/generate", "/api/chat", "/v1/chat/completions", "/v1/messages"])
async def test_a_key_takes_no_more_than_its_share(serve: ServeFactory, fake: FakeOllama, path: str) -> None:
    """One body too many is refused while it comes; a small one of another key is served; all comes back."""
    limits = {"max_body_bytes": MEGABYTE, "body_memory_per_key": MEGABYTE, "body_memory": 2 * MEGABYTE}
    async with serve(fake.url, **limits) as service:
        budget = service.services.get(ByteBudget)
        body = {"model": "llama3", "prompt": "Hi", "max_tokens": 9}
        body["messages"] = [{"role": "user", "content": "x" * 700_000}]
        async with arriving(service, 600_000):
            await held(service, 600_000)
            refused = await service.client.post(path, json=body)
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            other = await service.client.post(path, json=body, headers={"X-API-Key": ADMIN_KEY})
            assert other.status_code == 200
        async with asyncio.timeout(20):
            while budget.held:
                await asyncio.sleep(0.01)
        assert (await service.client.post(path, json=body)).status_code == 200


async def test_all_keys_together_have_a_bound(serve: ServeFactory, fake: FakeOllama) -> None:
    """What is too much for all is refused with 503; a small body still comes through."""
    limits = {"max_body_bytes": MEGABYTE, "body_memory_per_key": MEGABYTE, "body_memory": MEGABYTE}
    async with serve(fake.url, **limits) as service, arriving(service, 1_000_000):
        await held(service, 1_000_000)
        large, small = ({"prompt": "x" * size} for size in (400_000, 10))
        admin = {"X-API-Key": ADMIN_KEY}
        refused = await service.client.post("/api/llm/generate", json=large, headers=admin)
        assert (refused.status_code, refused.json()["code"]) == (503, "bodies_full")
        assert (await service.client.post("/api/llm/generate", json=small, headers=admin)).status_code == 200


async def test_what_its_limits_refuse_is_not_taken_in(serve: ServeFactory, fake: FakeOllama) -> None:
    """A key without room hears so before its large body has come; a small one is counted once."""
    async with serve(fake.url, rate_limit_requests="1/hour") as service:
        assert (await service.client.post("/api/llm/generate", json={"prompt": "Hi"})).status_code == 200
        async with arriving(service, 100_000) as reader:
            assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 429")


async def test_a_stream_counts_once(serve: ServeFactory, fake: FakeOllama) -> None:
    """It is one of its key's requests when it is begun, and not when it is read; a large body is one like others."""
    async with serve(fake.url, rate_limit_requests="1/hour") as service:
        begun = await service.client.post("/api/llm/streams", json={"prompt": "x" * 9 * MEGABYTE})
        assert begun.status_code == 201
        assert begun.headers["ratelimit"].startswith('"requests";r=0')
        assert (await service.client.post("/api/llm/streams", json={"prompt": "Hi"})).status_code == 429
        read: httpx.Response = await service.stranger.get(begun.json()["url"])
        assert json.loads(read.text.rpartition("data: ")[2])["done"] is True


async def test_a_body_of_very_many_values_is_refused(service: Service) -> None:
    """A few bytes of text become hundreds in memory: 15 MB of empty lists are refused, 4 MB of text are not."""
    told = await service.client.post("/api/llm/generate", content=b'{"prompt":"x","a":[' + b"[]," * 5_000_000 + b"[]]}")
    assert (told.status_code, told.json()["code"]) == (400, "invalid_json")
    text = json.dumps({"prompt": "{'a': [1, 2]}" * 300_000}).encode()
    assert (await service.client.post("/api/llm/generate", content=text)).status_code == 200
