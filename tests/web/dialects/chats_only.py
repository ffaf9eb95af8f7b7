"""A server that has chat completions alone, and the service before it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests.conftest import ServeFactory
from tests.fakes.gate import Gate
from tests.fakes.http11 import Connection, Request
from tests.fakes.openai_kinds import PlacedOpenAI
from tests.fakes.openai_server import MODEL, FakeOpenAI, in_json
from tests.service import Service

CHAT: Final = "/v1/chat/completions"


@dataclass(kw_only=True, eq=False)
class ChatsOnly(PlacedOpenAI):
    """A server with chat completions and a list of models, and nothing else; `gate` lets a test hold its events."""

    gate: Gate = field(default_factory=Gate)
    usage: dict[str, Any] | None = None
    models: list[dict[str, Any]] = field(default_factory=lambda: [MODEL])

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        if request.method == "POST" and request.path != CHAT:
            await connection.send(in_json({"detail": "Not Found"}, 404))
        else:
            await super().answer(connection, request)

    async def _events(self, request: Request) -> AsyncIterator[bytes]:
        async for event in super()._events(request):
            await self.gate.step()
            if self.usage is None or b'"usage"' not in event:
                yield event
            else:
                yield json.dumps({**json.loads(event), "usage": self.usage}).encode()


@pytest.fixture(name="server")
async def _server() -> AsyncIterator[ChatsOnly]:
    async with ChatsOnly() as server:
        yield server


@pytest.fixture(name="service")
async def _service(server: ChatsOnly, serve: ServeFactory) -> AsyncIterator[Service]:
    async with serve(openai_backends=server.url) as running:
        yield running


def posted(server: FakeOpenAI) -> list[str]:
    """The routes that were asked."""
    return [request.path for request in server.requests if request.method == "POST"]


def events_of(text: str) -> list[dict[str, Any]]:
    """The objects of a stream's events."""
    return [json.loads(frame.partition("\ndata: ")[2]) for frame in text.split("\n\n") if frame]
