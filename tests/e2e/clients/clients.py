"""Real client libraries before the service, and one way to call the sync and the async ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from inspect import isawaitable
from operator import attrgetter
from typing import Any, Final

from tests.fakes.ollama import FakeOllama
from tests.service import Service

CLIENTS_VARIABLES: Final = (
    "OLLAMA_HOST",
    "OLLAMA_API_KEY",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "LANGSMITH_TRACING",
    "LANGCHAIN_TRACING_V2",
)
SENTENCE: Final = "Why is the sky blue?"
MESSAGES: Final = [{"role": "user", "content": SENTENCE}]
SCHEMA: Final = {
    "type": "object",
    "properties": {"blue": {"type": "boolean"}},
    "required": ["blue"],
    "additionalProperties": False,
}
PARAMETERS: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Final = {
    "type": "function",
    "function": {"name": "weather", "description": "Tell the weather.", "parameters": PARAMETERS},
}
CALLED: Final = {"function": {"name": "weather", "arguments": {"city": "Bern"}}}


@dataclass(frozen=True)
class Live:
    """The service before a model that generates; `over_engine`: the embedded engine's, else a real Ollama's."""

    service: Service
    model: str
    over_engine: bool


@dataclass(frozen=True)
class Faked:
    """The service before a fake Ollama."""

    fake: FakeOllama
    service: Service


@dataclass(frozen=True)
class Caller:
    """A client, sync or async."""

    client: Any

    async def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call `models.list` or another method; of a stream its parts come as a list.

        It begins in a thread, where a sync client may block while the service answers in this one.
        """

        def begin() -> Any:
            result = attrgetter(method)(self.client)(*args, **kwargs)
            return list(result) if isinstance(result, Iterator) else result

        result = await asyncio.to_thread(begin)
        if isawaitable(result):
            result = await result
        return [part async for part in result] if isinstance(result, AsyncIterator) else result


@asynccontextmanager
async def calling(client: Any) -> AsyncIterator[Caller]:
    """A caller of this client, which is closed when the block ends."""
    call = Caller(client)
    try:
        yield call
    finally:
        await call("close")
