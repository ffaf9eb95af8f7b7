"""A server of the OpenAI API behind the whole service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import ServeFactory
from tests.fakes.http11 import Request
from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_modes import Mode
from tests.fakes.openai_server import MODEL, FakeOpenAI

CHAT: dict[str, Any] = {"model": MODEL["id"], "messages": [{"role": "user", "content": "hi"}]}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


@dataclass(kw_only=True, eq=False)
class SlowOpenAI(FakeOpenAI):
    """Takes its time between two events."""

    pause: float = 0.1

    async def _events(self, request: Request) -> AsyncIterator[bytes]:
        async for event in super()._events(request):
            await asyncio.sleep(self.pause)
            yield event


async def test_its_models_are_described_in_its_own_words(serve: ServeFactory) -> None:
    """In the list, and one by one, slashes or not."""
    async with FakeOpenAI() as server, serve(openai_backends=server.url) as service:
        assert (await service.client.get("/v1/models")).json() == {"object": "list", "data": [MODEL]}
        for name in (MODEL["id"], "Qwen%2FQwen3-8B", "qwen/qwen3-8b:latest"):
            assert (await service.client.get(f"/v1/models/{name}")).json() == MODEL
        assert (await service.client.get("/v1/models/no/such")).status_code == 404


async def test_a_server_at_work_is_not_idle(serve: ServeFactory) -> None:
    """Fragments of a tool call give the client nothing yet: what counts is what the server sends."""
    parts: list[dict[str, Any]] = [{"id": "a", "function": {"name": "f", "arguments": "{"}}]
    parts += [{"function": {"arguments": text}} for text in " " * 8 + "}"]
    deltas: list[dict[str, Any]] = [{"content": "Let me see"}]
    deltas += [{"tool_calls": [{"index": 0, **part}]} for part in parts]
    server = SlowOpenAI(deltas=deltas)
    async with server, serve(openai_backends=server.url, idle_timeout=0.5) as service:
        answer = await service.client.post("/api/chat", json=CHAT)
        assert '"tool_calls"' in answer.text
        assert answer.text.splitlines()[-1].count('"done":true') == 1


@pytest.mark.parametrize(("more", "code"), [({}, "idle_timeout"), ({"tools": TOOLS}, ""), ({"format": "json"}, "")])
async def test_with_tools_or_a_format_a_pause_may_be_long(
    serve: ServeFactory, fake: FakeOllama, more: dict[str, Any], code: str
) -> None:
    """A plain Ollama says nothing while it writes a call: then the clock is the longer one."""
    fake.mode = Mode.HANG_MID_STREAM
    async with serve(fake.url, idle_timeout=0.1, first_byte_timeout=30) as service:
        asked = service.client.post("/api/chat", json={**CHAT, "model": "llama3:latest", **more})
        if code:
            assert code in (await asyncio.wait_for(asked, 5)).text
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asked, 0.6)


async def test_a_translated_stream_leaves_its_connection_to_the_next(serve: ServeFactory) -> None:
    """What comes behind the last line is read; only at a stop text of which the server may not know it is left."""
    async with FakeOpenAI() as server, serve(openai_backends=server.url) as service:
        for _ in range(3):
            assert '"done":true' in (await service.client.post("/api/chat", json=CHAT)).text
        assert server.open_connections == 1
    endless = SlowOpenAI(deltas=[{"content": "Hello"}, {"content": " there"}, *[{"content": "x"}] * 500], pause=0.01)
    async with endless, serve(openai_backends=endless.url) as service:
        told = await service.client.post("/api/chat", json={**CHAT, "options": {"stop": [" there"]}})
        assert told.text.splitlines()[-1].count('"done_reason":"stop"') == 1
        assert "x" not in told.text
        await endless.wait_for_disconnect()


@pytest.mark.parametrize(("agent", "named"), [("GitHubCopilotChat/0.26", True), ("ollama-python/0.6", False)])
async def test_copilot_is_told_a_models_name_once_more(serve: ServeFactory, agent: str, named: bool) -> None:
    """As Ollama does, who tells it nobody else: Copilot shows it to its user."""
    name = "qwen/QWEN3-8b"
    async with FakeOpenAI() as server, serve(openai_backends=server.url) as service:
        answer = await service.client.post("/api/show", json={"model": name}, headers={"User-Agent": agent})
    assert (answer.json()["model_info"].get("general.basename") == name) is named
