"""Many stored exchanges at once, over sockets: written together, and each as if it were alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

from mlops_backend.services.other.conversations import Turns
from mlops_backend.services.other.database import Database
from tests.conftest import ServeFactory
from tests.e2e.raw_client import RawClient
from tests.fakes.ollama import FakeOllama
from tests.service import ORDINARY_KEY, Service
from tests.stored_conversations import heard
from tests.web.conversations.stored_replies import ask, begun, consistent, kept

MANY: Final = 24


async def _asked(service: Service, scope: AsyncExitStack, address: str) -> RawClient:
    client = await scope.enter_async_context(await RawClient.connect(service.url))
    await client.request("POST", f"{address}/messages", {"content": f"Hi {address}"}, X_API_Key=ORDINARY_KEY)
    return client


async def _until(it_is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not it_is_so():
            await asyncio.sleep(0.01)


async def test_many_exchanges_take_few_transactions(
    serve: ServeFactory, fake: FakeOllama, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some clients leave in the middle; the others have their whole replies, and each question is there."""
    async with serve(fake.url, database_url=database_url, log_level="error") as service, AsyncExitStack() as scope:
        addresses = [await begun(service) for _ in range(MANY)]
        transactions = 0
        transaction, go = Database.transaction, asyncio.Event()

        async def counted(database: Database, work: Callable[[Any], Awaitable[Any]]) -> Any:
            nonlocal transactions
            transactions += 1
            await go.wait()
            return await transaction(database, work)

        monkeypatch.setattr(Database, "transaction", counted)
        fake.hold()
        clients = [await _asked(service, scope, address) for address in addresses]
        waiting = service.services.get(Turns)._together._waiting
        await _until(lambda: sum(map(len, waiting.values())) == MANY - 1)
        go.set()
        await _until(lambda: sum(request.path == "/api/chat" for request in fake.requests) == MANY)
        assert transactions == 2
        for client in clients[::3]:
            await client.leave()
        await _until(lambda: sum(request.disconnected_at is not None for request in fake.requests) == len(clients[::3]))
        fake.release()
        for place, client in enumerate(clients):
            if place % 3:
                assert await client.head() == 200
                assert heard(b"\n".join(await client.lines())).place["stored"] is True
        assert await consistent(service)
        for place, address in enumerate(addresses):
            question, *replies = await kept(service, address)
            assert question["content"] == f"Hi {address}"
            # Of those who left there is what had come, if anything had.
            assert [reply["outcome"] for reply in replies] in ([["done"]] if place % 3 else [[], ["client_gone"]])


async def test_a_history_is_the_same_read_along_or_by_itself(
    serve: ServeFactory, fake: FakeOllama, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a model is shown of a short conversation, with a system's words, tools and replaced replies."""
    call = {"function": {"name": "look", "arguments": {"at": "é\0"}}}
    said: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [call]},
        {"role": "tool", "content": "two\0\x10", "tool_name": "look"},
    ]
    async with serve(fake.url, database_url=database_url, log_level="error") as service:
        addresses = [await begun(service, *said) for _ in range(2)]
        shown = []
        for few, address in zip((50, 0), addresses, strict=True):
            monkeypatch.setattr("mlops_backend.services.other.conversations.lots._FEW_MESSAGES", few)
            first = await ask(service, address, "Three")
            assert (await service.client.post(f"{address}/regenerate", json={})).status_code == 200
            last = await ask(service, address, "Four", options={"num_ctx": 100})
            requests = [request.json()["messages"] for request in fake.requests if request.path == "/api/chat"]
            shown.append((requests[-3:], first.place["omitted_messages"], last.place["omitted_messages"]))
        assert shown[0] == shown[1]
        assert shown[0][1] == 0
        assert shown[0][0][0][2]["tool_calls"] == [call]
