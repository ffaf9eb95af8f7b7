"""OpenAI's Responses API on a server that has only chat completions: streamed, with tools, continued."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import openai
import pytest
from openai.types.responses import ResponseCustomToolCall

from tests.conftest import ServeFactory
from tests.fakes.openai_server import MODEL
from tests.service import ORDINARY_KEY
from tests.web.dialects.chats_only import CHAT, ChatsOnly, _server
from tests.web.dialects.test_carried_on_openai import CALL

__all__ = ["_server"]

ROUTE: Final = "/v1/responses"
TOOL: Final[Any] = {
    "type": "function",
    "name": "weather",
    "description": "Tell.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}

FREE: Final[Any] = {
    "type": "custom",
    "name": "patch",
    "description": "Patch.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
PATCH: Final = '*** Begin "Patch"\n+é \U0001f600 \\\\ \t\n*** End Patch\n'


@pytest.fixture(name="client")
async def _client(serve: ServeFactory, server: ChatsOnly) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        serve(openai_backends=server.url) as service,
        openai.AsyncOpenAI(
            base_url=f"{service.url}/v1", api_key=ORDINARY_KEY, max_retries=0, _strict_response_validation=True
        ) as client,
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


def deltas_of(arguments: str, size: int) -> list[dict[str, Any]]:
    """The pieces of a call, as a server streams them."""
    cut = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    start = {"index": 0, "id": "a1b2c3d4e", "type": "function", "function": {"name": "patch", "arguments": ""}}
    return [{"tool_calls": [each]} for each in (start, *({"index": 0, "function": {"arguments": it}} for it in cut))]


async def test_a_tool_that_takes_a_text(client: openai.AsyncOpenAI, server: ChatsOnly) -> None:
    """Its call arrives as it is written, is stored, and its output goes to the model with it."""
    server.deltas = deltas_of(json.dumps({"input": PATCH}), 3)
    asked: dict[str, Any] = {"model": MODEL["id"], "tools": [FREE], "tool_choice": {"type": "custom", "name": "patch"}}
    events = [event async for event in await client.responses.create(input="Go.", stream=True, **asked)]
    written = [event.delta for event in events if event.type == "response.custom_tool_call_input.delta"]
    assert "".join(written) == PATCH
    assert len(written) > len(PATCH) // 6
    first = events[-1].response
    [call] = first.output
    assert isinstance(call, ResponseCustomToolCall)
    assert (call.call_id, call.name, call.input) == ("a1b2c3d4e", "patch", PATCH)
    sent = server.requests[-1].json()
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "patch"}}
    assert "free_form" not in sent
    server.message = {"content": "Done."}
    result: Any = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "It applies."}
    again = {**asked, "tool_choice": "auto"}
    second = await client.responses.create(input=[result], previous_response_id=first.id, **again)
    assert second.output_text == "Done."
    said = server.requests[-1].json()["messages"]
    assert [message["role"] for message in said] == ["user", "assistant", "tool"]
    function = said[1]["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("patch", {"input": PATCH})
    assert (said[2]["tool_call_id"], said[2]["content"]) == (call.call_id, "It applies.")
    items = await client.responses.input_items.list(second.id)
    assert [item.type for item in items.data] == ["custom_tool_call_output"]


async def test_a_text_that_comes_whole_or_wrapped_otherwise(client: openai.AsyncOpenAI, server: ChatsOnly) -> None:
    """The same item; what is no object is what the model wrote."""
    for arguments in (json.dumps({"input": PATCH}), json.dumps({"patch": PATCH}), PATCH):
        function = {"name": "patch", "arguments": arguments}
        server.message = {
            "content": None,
            "tool_calls": [{"id": "a1b2c3d4e", "type": "function", "function": function}],
        }
        [call] = (await client.responses.create(model=MODEL["id"], input="Go.", tools=[FREE])).output
        assert isinstance(call, ResponseCustomToolCall)
        assert (call.call_id, call.input) == ("a1b2c3d4e", PATCH)


async def test_a_client_that_leaves_amid_a_text_ends_it(client: openai.AsyncOpenAI, server: ChatsOnly) -> None:
    """The server's connection is closed."""
    server.deltas = deltas_of('{"input":"xxxx"}', 2)
    server.gate.hold()
    server.gate.release(9)
    stream = await client.responses.create(model=MODEL["id"], input="Go.", tools=[FREE], stream=True)
    async for event in stream:
        if event.type == "response.custom_tool_call_input.delta":
            break
    await stream.close()
    assert (await server.wait_for_disconnect()).path == CHAT


async def test_a_server_that_breaks_off_amid_a_text(client: openai.AsyncOpenAI, server: ChatsOnly) -> None:
    """What came is told, and then an error: never an end as if it were whole."""
    server.deltas, server.cut = deltas_of('{"input":"xxxx"}', 2)[:-2], True
    stream = await client.responses.create(model=MODEL["id"], input="Go.", tools=[FREE], stream=True)
    told: list[str] = []

    async def read() -> None:
        async for event in stream:
            told.append(event.type)

    with pytest.raises(openai.APIError, match="without its last object"):
        await read()
    assert told[-1] == "response.custom_tool_call_input.delta"


async def test_a_refusal_is_the_servers(client: openai.AsyncOpenAI, server: ChatsOnly) -> None:
    """In OpenAI's shape, with its status and its words."""
    server.refusal = 429, {"error": {"message": "Too many of you.", "type": "rate_limit_error"}}
    with pytest.raises(openai.RateLimitError, match="Too many of you"):
        await client.responses.create(model=MODEL["id"], input="Hi")
