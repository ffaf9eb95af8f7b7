"""Replies of stored conversations in tests: asked for, read back, and cut in the middle."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any, Final

import httpx

from mlops_backend.services.other.conversations.kept_replies import KeptReplies
from mlops_backend.services.other.database.database import Database
from tests.databases import Postgres
from tests.e2e.raw_client import RawClient
from tests.fakes.ollama import FakeOllama
from tests.service import ORDINARY_KEY, Service
from tests.stored_conversations import CONVERSATIONS, Heard, contradictions, heard

NDJSON: Final = {"Accept": "application/x-ndjson"}
SSE: Final = {"Accept": "text/event-stream"}


async def begun(service: Service, *messages: dict[str, Any]) -> str:
    """The address of a new conversation."""
    made = await service.client.post(CONVERSATIONS, json={"messages": list(messages)})
    assert made.status_code == 201, made.text
    return f"{CONVERSATIONS}/{made.json()['id']}"


async def ask(service: Service, address: str, content: str = "Hi", **body: Any) -> Heard:
    """Say something, and hear the whole reply."""
    answer = await service.client.post(f"{address}/messages", json={"content": content, **body})
    assert answer.status_code == 200, answer.text
    return heard(answer.content)


async def kept(service: Service, address: str) -> list[dict[str, Any]]:
    """Every message that is kept, replaced ones too."""
    answer = await service.client.get(address, params={"replaced": "true"})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["messages"])


async def until_kept(service: Service, address: str, message_id: str, seconds: float = 5) -> dict[str, Any]:
    """The message, once it is kept."""
    async with asyncio.timeout(seconds):
        while True:
            found = [message for message in await kept(service, address) if message["id"] == message_id]
            if found:
                return found[0]
            await asyncio.sleep(0.01)


async def in_ledger(service: Service, answer: httpx.Response) -> dict[str, Any]:
    """The ledger's row of a request."""
    address = f"/api/usage/generations/{answer.headers['X-Request-ID']}"
    while (shown := await service.client.get(address)).status_code == 404:
        await asyncio.sleep(0.02)
    return dict(shown.json())


async def consistent(service: Service) -> bool:
    """Whether nothing runs and waits any more, and what is stored agrees with itself."""
    async with asyncio.timeout(20):
        while service.admission.running or service.services.get(KeptReplies).waiting:
            await asyncio.sleep(0.01)
    found = await contradictions(service.services.get(Database))
    assert found == []
    return True


@asynccontextmanager
async def streaming(
    service: Service, fake: FakeOllama, path: str, body: Any, tokens: int, **headers: str
) -> AsyncIterator[RawClient]:
    """A client that has read so many tokens of a reply, behind which the backend pauses."""
    fake.hold()
    async with await RawClient.connect(service.url) as client:
        await client.request("POST", path, body, X_API_Key=ORDINARY_KEY, **headers)
        fake.release(tokens)
        assert await client.head() == 200
        read = 0
        while read < tokens:
            read += (await client.chunk()).count(b'"message"')
        yield client


@asynccontextmanager
async def away(service: Service, postgres: Postgres) -> AsyncIterator[None]:
    """A time in which nothing can be written."""
    database = service.services.get(Database)
    if database.is_sqlite:
        with closing(sqlite3.connect(str(database._url.database))) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
        return
    await asyncio.to_thread(postgres.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(postgres.start)
