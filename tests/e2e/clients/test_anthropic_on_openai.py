"""The client library `anthropic`, sync and async, before a server that has chat completions and no messages.

All that the client does before a backend with that route it does here too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.clients.clients import CALLED, MESSAGES, Caller, Faked
from tests.e2e.clients.test_anthropic import (
    ASKED,
    TOOLS,
    call,
    test_broken_streams_raise,
    test_failures_have_a_status,
    test_streams_with_tools,
    test_sync_streams,
    test_tokens_are_estimated,
)
from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_errors import NO_ROUTE
from tests.service import serving, settings_for

__all__ = [
    "call",
    "test_broken_streams_raise",
    "test_failures_have_a_status",
    "test_streams_with_tools",
    "test_sync_streams",
    "test_tokens_are_estimated",
]
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_clients_settings")]


class ChatsAlone(FakeOllama):
    """A server whose routes are those of OpenAI's API alone."""

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        if request.path.startswith(("/api/", "/v1/messages", "/v1/responses")):
            await connection.send(NO_ROUTE)
        else:
            await super().answer(connection, request)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def faked_for_module() -> AsyncIterator[Faked]:
    """The service before such a server."""
    async with (
        ChatsAlone() as fake,
        serving(settings_for(openai_backends=fake.url, idle_timeout=0.5)) as service,
    ):
        yield Faked(fake, service)


async def test_tools_go_round(call: Caller, faked: Faked) -> None:
    """What the client makes of a call is sent back with its result, and both arrive in OpenAI's words."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    answer = await call("messages.create", **ASKED, tools=TOOLS)
    assert [block.type for block in answer.content] == ["thinking", "text", "tool_use"]
    used = answer.content[-1]
    result = {"type": "tool_result", "tool_use_id": used.id, "content": "Sun."}
    content = [block.model_dump(exclude_none=True) for block in answer.content]
    said = [*MESSAGES, {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    await call("messages.create", **{**ASKED, "messages": said}, tools=TOOLS)
    sent = faked.fake.requests[-1]
    *_, call_again, result_again = sent.json()["messages"]
    assert sent.path == "/v1/chat/completions"
    assert call_again["reasoning"] == "It may rain."
    assert call_again["tool_calls"][0]["id"] == result_again["tool_call_id"]
    assert (result_again["name"], result_again["content"]) == ("weather", "Sun.")


async def test_an_answer_says_that_it_was_translated(call: Caller, faked: Faked) -> None:
    """In a header that the library shows."""
    raw = await call("messages.with_raw_response.create", **ASKED)
    assert raw.headers["x-translated"] == "/v1/messages -> /v1/chat/completions"
    assert faked.fake.requests
