"""The client library `anthropic`, sync and async, where its messages are carried over Ollama's own chat.

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
    test_tools_and_thoughts,
)
from tests.fakes.ollama import FakeOllama
from tests.service import serving, settings_for

__all__ = [
    "call",
    "test_broken_streams_raise",
    "test_failures_have_a_status",
    "test_streams_with_tools",
    "test_sync_streams",
    "test_tokens_are_estimated",
    "test_tools_and_thoughts",
]
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_clients_settings")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def faked_for_module() -> AsyncIterator[Faked]:
    """The service before a fake Ollama, of whose models something is pinned."""
    async with FakeOllama() as fake, serving(settings_for(fake.url, idle_timeout=0.5, pin_num_ctx="*=192")) as service:
        yield Faked(fake, service)


async def test_tools_go_round(call: Caller, faked: Faked) -> None:
    """What the client makes of a call is sent back with its result, and both arrive in Ollama's words."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    answer = await call("messages.create", **ASKED, tools=TOOLS)
    used = answer.content[-1]
    result = {"type": "tool_result", "tool_use_id": used.id, "content": "Sun."}
    content = [block.model_dump(exclude_none=True) for block in answer.content]
    said = [*MESSAGES, {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    await call("messages.create", **{**ASKED, "messages": said}, tools=TOOLS)
    sent = faked.fake.requests[-1]
    *_, call_again, result_again = sent.json()["messages"]
    assert sent.path == "/api/chat"
    assert (call_again["tool_calls"][0]["function"], call_again["thinking"]) == (CALLED["function"], "It may rain.")
    assert (result_again["tool_name"], result_again["content"]) == ("weather", "Sun.")
