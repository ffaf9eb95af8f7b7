"""Codex edits files before a server that has only chat completions, in requests as Codex 0.171 sends them."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.fakes.openai_server import MODEL
from tests.service import Service
from tests.web.dialects.chats_only import ChatsOnly, _server, _service, events_of

__all__ = ["_server", "_service"]

ROUTE: Final = "/v1/responses"
PATCH: Final = (
    "*** Begin Patch\n"
    "*** Update File: ö/note \U0001f4c4.py\n"
    "@@ def said():\n"
    '-    return "blue", \'\\d+\\n\', {"input": "a\\"b"}\n'
    '+    return "grün \U0001f600\U0001f1e8\U0001f1ed", "\\\\", "\\u00e9\\ud83d", {"input":"}"}\n'
    "+\té\u0301\u2028\u00a0\x7f \r\n"
    "*** End Patch\n"
)
CALL_ID: Final = "a1b2c3d4e"
RESULT: Final = "Exit code: 0\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\nM note.py\n"
TOOLS: Final[list[dict[str, Any]]] = [
    {
        "type": "function",
        "name": "exec_command",
        "description": "Run a command.",
        "strict": False,
        "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]},
    },
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edits files.",
        "format": {
            "type": "grammar",
            "syntax": "lark",
            "definition": 'start: "*** Begin Patch" LF\n%import common.LF\n',
        },
    },
    {
        "type": "tool_search",
        "execution": "client",
        "description": "Finds tools.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
    {"type": "web_search", "external_web_access": True, "search_content_types": ["text", "image"]},
]


def message(number: int, role: str, *texts: str) -> dict[str, Any]:
    """An item with what was said."""
    parts = [{"type": "input_text", "text": text} for text in texts]
    return {"type": "message", "id": f"msg_{number}", "role": role, "content": parts}


SAID: Final = [
    message(1, "developer", "You edit files."),
    message(2, "developer", "<permissions>", "<tools>"),
    message(3, "user", "<environment_context>"),
    message(4, "user", "Change blue in the note."),
]


def asked(*items: dict[str, Any]) -> dict[str, Any]:
    """A request with all that was said, heard and done so far."""
    return {
        "model": MODEL["id"],
        "stream": True,
        "input": [*SAID, *items],
        "tools": TOOLS,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "01a22bf2",
        "text": {"verbosity": "low"},
        "client_metadata": {"session_id": "01a22bf2"},
    }


def called(arguments: str, size: int, **named: Any) -> list[dict[str, Any]]:
    """The deltas of a call whose arguments come in pieces of so many characters."""
    begun = {"index": 0, "id": CALL_ID, "type": "function", "function": {"name": "apply_patch", "arguments": ""}}
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    told = [begun, *({"index": 0, **named, "function": {"arguments": piece}} for piece in pieces)]
    return [{"tool_calls": [each]} for each in told]


async def events(service: Service, *items: dict[str, Any]) -> list[dict[str, Any]]:
    """The events that Codex hears, each with the next number."""
    answer = await service.client.post(ROUTE, json=asked(*items))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    told = events_of(answer.text)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    return told


@pytest.mark.parametrize("ascii_only", [False, True], ids=["as it is", "escaped"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_patch_arrives_to_the_byte(service: Service, server: ChatsOnly, size: int, *, ascii_only: bool) -> None:
    """In pieces while it is written, and whole; given back with its result it is the model's own call again."""
    thoughts = [{"reasoning_content": "Blue, "}, {"reasoning_content": "then."}]
    written = json.dumps({"input": PATCH}, ensure_ascii=ascii_only)
    server.deltas, server.finish_reason = [*thoughts, *called(written, size)], "tool_calls"
    told = await events(service)
    pieces = [each["delta"] for each in told if each["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(pieces).encode() == PATCH.encode()
    assert size > 1 or len(pieces) == len(PATCH)
    (done,) = [each for each in told if each["type"] == "response.custom_tool_call_input.done"]
    thought, call = told[-1]["response"]["output"]
    assert done["input"] == call["input"] == PATCH
    assert (call["type"], call["status"], call["call_id"]) == ("custom_tool_call", "completed", CALL_ID)
    assert (call["name"], thought["type"], told[-1]["type"]) == ("apply_patch", "reasoning", "response.completed")

    server.deltas, server.finish_reason = [{"content": "Done"}, {"content": " it."}], "stop"
    output = {"type": "custom_tool_call_output", "id": "ctco_1", "call_id": CALL_ID, "output": RESULT}
    told = await events(service, thought, call, output)
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == "Done it."
    *_, made, heard = server.requests[-1].json()["messages"]
    (function,) = [each["function"] for each in made["tool_calls"]]
    assert (function["name"], json.loads(function["arguments"])) == ("apply_patch", {"input": PATCH})
    assert (made["role"], made["reasoning_content"], made["tool_calls"][0]["id"]) == (
        "assistant",
        "Blue, then.",
        CALL_ID,
    )
    assert heard == {"role": "tool", "content": RESULT, "tool_call_id": CALL_ID, "name": "apply_patch"}


async def test_a_model_is_told_of_what_it_can_call(service: Service, server: ChatsOnly) -> None:
    """The patch is a function with one text, and its grammar words; nobody searches the web."""
    await events(service)
    sent = server.requests[-1].json()
    functions = {tool["function"]["name"]: tool["function"] for tool in sent["tools"]}
    assert list(functions) == ["exec_command", "apply_patch", "tool_search"]
    assert list(functions["apply_patch"]["parameters"]["properties"]) == ["input"]
    assert functions["apply_patch"]["description"].endswith('start: "*** Begin Patch" LF\n%import common.LF\n')
    assert (sent["tool_choice"], sent["parallel_tool_calls"]) == ("auto", True)
    assert [turn["role"] for turn in sent["messages"]] == ["system", "system", "user", "user"]


async def test_what_is_said_amid_a_patch_costs_no_byte(service: Service, server: ChatsOnly) -> None:
    """Text between its pieces, another call beside it, and the name once more with each piece, as some servers do."""
    deltas = called(json.dumps({"input": PATCH}), 3, id=CALL_ID)
    for delta in deltas[1:]:
        delta["tool_calls"][0]["function"]["name"] = "apply_patch"
    other = {"index": 1, "id": "b1b2c3d4e", "function": {"name": "exec_command", "arguments": '{"cmd":"ls"}'}}
    middle = len(deltas) // 2
    server.finish_reason = "tool_calls"
    server.deltas = [*deltas[:middle], {"content": "Wait."}, {"tool_calls": [other]}, *deltas[middle:]]
    output = (await events(service))[-1]["response"]["output"]
    assert {item["type"] for item in output} == {"custom_tool_call", "message", "function_call"}
    (call,) = [item for item in output if item["type"] == "custom_tool_call"]
    (beside,) = [item for item in output if item["type"] == "function_call"]
    assert (call["input"], beside["arguments"]) == (PATCH, '{"cmd":"ls"}')
