"""A streamed generation in each family of routes, and how to read its frames."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.raw_client import RawClient
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import ORDINARY_KEY, Service

MESSAGES = [{"role": "user", "content": "say hello please"}]
PROMPT_WORDS = 3
# What differs between two answers to the same request.
_PASSING = re.compile(rb'"(created_at|created|completed_at|id|item_id|request_id)":("[^"]*"|\d+)')


@dataclass(frozen=True)
class Family:
    """One route that streams: the request for a stream, and the shape of its frames."""

    path: str
    body: dict[str, Any]
    events: bool = True
    asks_for_usage: dict[str, Any] = field(default_factory=dict)

    @property
    def streamed(self) -> dict[str, Any]:
        """The body of a request for a stream, which asks for its usage where that can be asked."""
        return {"model": "llama3", **self.body, "stream": True, **self.asks_for_usage}

    @property
    def unasked(self) -> dict[str, Any]:
        """The same without asking for usage."""
        return {"model": "llama3", **self.body, "stream": True}

    @property
    def whole(self) -> dict[str, Any]:
        """The body of a request for a whole answer."""
        return {"model": "llama3", **self.body, "stream": False}

    def last(self, stream: bytes) -> dict[str, Any]:
        """The object of a stream's last frame; it must be an error's, in this family's shape."""
        if not self.events:
            assert stream.endswith(b"\n")
            told: dict[str, Any] = json.loads(stream.removesuffix(b"\n").rpartition(b"\n")[2])
        else:
            assert stream.endswith(b"\n\n")
            frame = stream.removesuffix(b"\n\n").rpartition(b"\n\n")[2].split(b"\n")
            assert frame[0] == b"event: error"
            (told,) = (json.loads(line.removeprefix(b"data: ")) for line in frame[1:])
        self.assert_error(told)
        return told

    def assert_error(self, told: dict[str, Any]) -> None:
        """It is an error as this family's clients read it."""
        if self.path.startswith("/api/"):
            assert isinstance(told["error"], str)
            return
        assert isinstance(told["error"]["message"], str)
        assert isinstance(told["error"]["type"], str)
        assert (told.get("type") == "error") is self.path.startswith("/v1/messages")


USAGE = {"stream_options": {"include_usage": True}}
NATIVE = {
    "generate": Family("/api/generate", {"prompt": "say hello please"}, events=False),
    "chat": Family("/api/chat", {"messages": MESSAGES}, events=False),
}
OPENAI = {
    "openai chat": Family("/v1/chat/completions", {"messages": MESSAGES}, asks_for_usage=USAGE),
    "openai completions": Family("/v1/completions", {"prompt": "say hello please"}, asks_for_usage=USAGE),
}
FAMILIES = {
    **NATIVE,
    **OPENAI,
    "responses": Family("/v1/responses", {"input": "say hello please", "store": False}),
    "messages": Family("/v1/messages", {"messages": MESSAGES, "max_tokens": 100}),
}


def masked(answer: bytes) -> bytes:
    """An answer without times and identifiers."""
    return _PASSING.sub(rb'"\1":0', answer)


async def begin(service: Service, family: Family, body: dict[str, Any]) -> RawClient:
    """A client that has asked the service."""
    client = await RawClient.connect(service.url)
    await client.request("POST", family.path, body, X_API_Key=ORDINARY_KEY)
    return client


async def word_by_word(service: Service, fake: FakeOllama, family: Family, body: dict[str, Any]) -> bytes:
    """See that each word of a stream arrives before the backend sends the next one; the last chunk."""
    fake.hold()
    async with await begin(service, family, body) as client:
        for number, word in enumerate(DEFAULT_WORDS):
            fake.release(1)
            if not number:
                assert await client.head() == 200
            assert word.encode() in await asyncio.wait_for(client.chunk(), 20)
        fake.release(1)
        last = await asyncio.wait_for(client.chunk(), 20)
        assert await client.chunk() == b""
    return last


async def directly(fake: FakeOllama, family: Family, body: dict[str, Any]) -> list[bytes]:
    """The chunks of the fake's own answer."""
    async with await RawClient.connect(fake.url) as client:
        await client.request("POST", family.path, body)
        assert await client.head() == 200
        chunks = []
        while chunk := await client.chunk():
            chunks.append(chunk)
    return chunks
