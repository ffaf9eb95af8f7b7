"""An SDK that sends its request again by itself, since the connection was cut: it costs nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anthropic
import httpx
import openai
import pytest

from tests.fakes.forwarder import Forwarder
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import ORDINARY_KEY, Service
from tests.web.llm.streaming import CHAT, rows

TEXT: Final = "".join(DEFAULT_WORDS)
NAMED: Final = {"Idempotency-Key": "one-call"}


@asynccontextmanager
async def cut_after_the_answer(service: Service, fake: FakeOllama) -> AsyncIterator[str]:
    """The service's address; the first answer never arrives, and its connection is cut once it was made."""
    fake.hold()
    async with Forwarder(int(service.url.rpartition(":")[2])) as way:

        async def cut() -> None:
            while not fake.active:
                await asyncio.sleep(0.01)
            way.silent = True
            fake.release()
            await rows(service)
            way.cut()
            way.silent = False

        cutting = asyncio.create_task(cut())
        async with asyncio.timeout(30):
            yield f"http://127.0.0.1:{way.port}"
            await cutting


async def by_openai(url: str) -> str:
    """A whole answer."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ORDINARY_KEY, max_retries=3) as client:
        answer = await client.chat.completions.create(**CHAT, extra_headers=NAMED)
        return answer.choices[0].message.content or ""


async def by_anthropic(url: str) -> str:
    """A whole answer."""
    async with anthropic.AsyncAnthropic(base_url=url, api_key=ORDINARY_KEY, max_retries=3) as client:
        answer = await client.messages.create(**CHAT, max_tokens=50, extra_headers=NAMED)
        return "".join(block.text for block in answer.content if block.type == "text")


@pytest.mark.parametrize("asked", [by_openai, by_anthropic])
async def test_a_call_that_is_sent_again(service: Service, fake: FakeOllama, asked: Any) -> None:
    """Cut after the model has answered: one generation, one row, and the answer."""
    async with cut_after_the_answer(service, fake) as url:
        assert await asked(url) == TEXT
    assert sum(request.path.startswith("/v1/") and request.method == "POST" for request in fake.requests) == 1
    assert [row["outcome"] for row in await rows(service)] == ["done"]


async def test_the_bytes_are_the_same(service: Service, fake: FakeOllama) -> None:
    """What the cut connection would have brought is what the second one brings."""
    body, headers = {**CHAT, "stream": True}, {**NAMED, "X-API-Key": ORDINARY_KEY}
    async with cut_after_the_answer(service, fake) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        with pytest.raises(httpx.TransportError):
            await client.post("/v1/chat/completions", json=body, headers=headers)
        second = await client.post("/v1/chat/completions", json=body, headers=headers)
    third = await service.client.post("/v1/chat/completions", json=body, headers=headers)
    assert second.content == third.content
    assert second.text.endswith("data: [DONE]\n\n")
    assert len(await rows(service)) == 1
