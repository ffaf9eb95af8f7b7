"""Clients that use a budget up, and what the backend says that it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx

from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_requests import generation_for
from tests.fakes.ollama_routes import INFERENCE, NATIVE_INFERENCE
from tests.fakes.v1_requests import native_body

BUDGET = 10_000
CLIENTS = 50
# So many tokens has an answer that nobody cut.
WORDS = tuple(f"word{number} " for number in range(400))
Post = Callable[[int], Awaitable[httpx.Response]]


def spent(fake: FakeOllama) -> int:
    """The tokens of all requests, as the fake counts them: the words that it was sent, and those that it answers."""
    return sum(cost_of(seen.path, seen.json(), fake.words) for seen in fake.requests if seen.path in INFERENCE)


def cost_of(path: str, body: dict[str, Any], words: Sequence[str]) -> int:
    """What one request costs."""
    native = body if path in NATIVE_INFERENCE else native_body(path, body)
    chat = "messages" in native
    made = generation_for("/api/chat" if chat else "/api/generate", native, words)
    return made.prompt_words + len(made.words)


async def spend(post: Post) -> list[httpx.Response]:
    """Clients that ask one after the other until they are refused for good; each one's last answer."""

    async def client(number: int) -> httpx.Response:
        while True:
            answer = await post(number)
            if answer.status_code == 429 and answer.headers["Retry-After"] == "1":
                assert "is set aside for what is running. Try again in 1 s." in answer.text
                await asyncio.sleep(0.2)
            elif answer.status_code != 200:
                return answer

    async with asyncio.timeout(60):
        return await asyncio.gather(*(client(number) for number in range(CLIENTS)))
