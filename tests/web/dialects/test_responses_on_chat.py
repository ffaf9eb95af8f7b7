"""OpenAI's Responses API on a server that has only chat completions: streamed, with tools, continued."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import openai
import pytest

from tests.conftest import ServeFactory
from tests.fakes.openai_server import MODEL
from tests.service import ORDINARY_KEY
from tests.web.dialects.test_carried_on_openai import CALL, CHAT, ChatsOnly

ROUTE: Final = "/v1/responses"
TOOL: Final[Any] = {
    "type": "function",
    "name": "weather",
    "description": "Tell.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@pytest.fixture(name="server")
async def _server() -> AsyncIterator[ChatsOnly]:
    async with ChatsOnly() as server:
        yield server


@pytest.fixture(name="client")
async def _client(serve: ServeFactory, server: ChatsOnly) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        serve(openai_backends=server.url) as service,
        openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=ORDINARY_KEY, max_retries=0) as client,
    ):
        yield client


async def test_an_answer_says_over_what_it_came(client: openai.AsyncOpenAI, server: ChatsOnly) -> None:
    """Whole and streamed, in the order that the SDK wants; each event has the next number."""
    asked: dict[str, Any] = {"model": MODEL["id"], "input": "Hi", "instructions": "Be brief."}
    raw = await client.responses.with_raw_response.create(**asked)
    assert raw.headers["x-translated"] == f"{ROUTE} -> {CHAT}"
    whole = raw.parse()
    events = [event async for event in await client.responses.create(**asked, stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert events[-1].response.output_text == whole.output_text != ""
    joined = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert joined == whole.output_text
    assert server.requests[-1].json()["messages"][0] == {"role": "system", "content": "Be brief."}


async def test_a_tool_is_called_and_answers(client: openai.AsyncOpenAI, server: ChatsOnly) -> None:
    """Its call keeps its id there and back; which tool is to be called is passed on."""
    server.message = {"content": None, "tool_calls": [CALL]}
    choice: Any = {"type": "function", "name": "weather"}
    asked: dict[str, Any] = {"model": MODEL["id"], "tools": [TOOL], "tool_choice": choice}
    first = await client.responses.create(input="Rain?", **asked)
    [call] = [item for item in first.output if item.type == "function_call"]
    assert (call.call_id, call.name) == (CALL["id"], "weather")
    assert server.requests[-1].json()["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    server.message = {"content": "Take none."}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sun."}
    second = await client.responses.create(
        input=[result], previous_response_id=first.id, **{**asked, "tool_choice": "auto"}
    )
    said = server.requests[-1].json()["messages"]
    assert [message["role"] for message in said] == ["user", "assistant", "tool"]
    assert (said[1]["tool_calls"][0]["id"], said[2]["tool_call_id"]) == (CALL["id"], CALL["id"])
    assert second.output_text


async def test_a_refusal_is_the_servers(client: openai.AsyncOpenAI, server: ChatsOnly) -> None:
    """In OpenAI's shape, with its status and its words."""
    server.refusal = 429, {"error": {"message": "Too many of you.", "type": "rate_limit_error"}}
    with pytest.raises(openai.RateLimitError, match="Too many of you"):
        await client.responses.create(model=MODEL["id"], input="Hi")
