"""Bodies that nobody sends and anybody may: refused where they cannot be carried, and never an error of ours."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.fakes.openai_server import MODEL
from tests.service import Service
from tests.web.conversations.stored_replies import in_ledger
from tests.web.dialects.chats_only import ChatsOnly, _server, _service, events_of

__all__ = ["_server", "_service"]

RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"
# Around the value that nests.
DEEP: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "a tool of responses": (
        RESPONSES,
        {"input": "Hi", "tools": [{"type": "function", "name": "f", "parameters": "@"}]},
    ),
    "half a pair beside it": (RESPONSES, {"input": "\ud800", "tools": [{"type": "function", "parameters": "@"}]}),
    "what is repeated": (RESPONSES, {"input": "Hi", "metadata": "@"}),
    "a call of messages": (
        MESSAGES,
        {
            "max_tokens": 9,
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": "@"}]},
                {"role": "user", "content": "Hi"},
            ],
        },
    ),
    "a call of Ollama's": (
        "/api/chat",
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "@"}}]},
                {"role": "user", "content": "Hi"},
            ]
        },
    ),
}


@pytest.mark.parametrize("name", DEEP)
async def test_what_nests_too_deeply_is_refused(service: Service, server: ChatsOnly, name: str) -> None:
    """At any depth, those among them at which Python itself gives up; the server is not asked for an answer."""
    path, body = DEEP[name]
    for levels in (150, 450, 510, *range(925, 965, 3), 5000):
        text = json.dumps({"model": MODEL["id"], **body, "stream": False})
        sent = text.replace('"@"', '{"p":' * levels + "1" + "}" * levels)
        server.requests.clear()
        answer = await service.client.post(path, content=sent, headers={"Content-Type": "application/json"})
        assert answer.status_code == (200 if levels < 500 else 400), answer.text
        assert any(request.path.endswith("completions") for request in server.requests) is (levels < 500)


async def test_a_stream_of_a_deep_response_is_whole(service: Service) -> None:
    """It repeats what was asked, a level deeper."""
    deep = json.loads('{"p":' * 190 + "1" + "}" * 190)
    tool = {"type": "function", "name": "f", "parameters": deep}
    body = {"model": MODEL["id"], "input": "Hi", "tools": [tool], "stream": True}
    answer = await service.client.post(RESPONSES, json=body)
    told = events_of(answer.text)
    assert (told[-1]["type"], told[-1]["response"]["tools"][0]["parameters"]) == ("response.completed", deep)
    assert (await in_ledger(service, answer))["outcome"] == "done"


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
async def test_calls_whose_heads_come_first(service: Service, server: ChatsOnly, path: str) -> None:
    """Each has its own arguments, in whatever order their pieces come."""
    heads = [
        {"index": index, "id": f"a1b2c3d4{index}", "function": {"name": name, "arguments": ""}}
        for index, name in enumerate(("look", "patch", "look"))
    ]
    texts = ['{"at":"one"}', json.dumps({"input": "two\n"}), '{"at":"three"}']
    pieces = [
        {"index": index, "function": {"arguments": text[at : at + 1]}}
        for at in range(max(map(len, texts)))
        for index, text in enumerate(texts)
        if at < len(text)
    ]
    server.deltas = [{"tool_calls": [each]} for each in [*heads, *pieces]]
    server.finish_reason = "tool_calls"
    if path == RESPONSES:
        tools: list[dict[str, Any]] = [{"type": "function", "name": "look"}, {"type": "custom", "name": "patch"}]
        answer = await service.client.post(
            path, json={"model": MODEL["id"], "input": "Go.", "tools": tools, "stream": True}
        )
        output = events_of(answer.text)[-1]["response"]["output"]
        assert [item.get("arguments", item.get("input")) for item in output] == [texts[0], "two\n", texts[2]]
        return
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in ("look", "patch")]
    turns = [{"role": "user", "content": "Go."}]
    asked = {"model": MODEL["id"], "max_tokens": 99, "messages": turns, "tools": tools, "stream": True}
    told = events_of((await service.client.post(path, json=asked)).text)
    written = [each["delta"]["partial_json"] for each in told if each["type"] == "content_block_delta"]
    assert list(map(json.loads, written)) == list(map(json.loads, texts))
