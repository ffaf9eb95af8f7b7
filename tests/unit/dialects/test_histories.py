"""Histories of tool calls that Ollama takes, as a server that holds OpenAI's rules takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.openai.images import wrong_byte
from mlops_backend.services.llm.dialects.openai.messages import Model
from mlops_backend.services.llm.dialects.openai.requests import chat_request

MODEL = Model("m", frozenset({"completion", "tools", "vision", "thinking"}), llama_cpp=False)
USER = {"role": "user", "content": "weather?"}
ON = {"role": "user", "content": "and now?"}


def calls(*names: str, **more: Any) -> dict[str, Any]:
    """An assistant's turn that calls."""
    return {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": name}} for name in names], **more}


def result(content: str = "rain", **more: Any) -> dict[str, Any]:
    """A tool's answer."""
    return {"role": "tool", "content": content, **more}


def sent(*messages: Mapping[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """The turns that go to the server."""
    turns: list[dict[str, Any]] = chat_request({"messages": list(messages), **fields}, MODEL)["messages"]
    check_rules(turns)
    return turns


def check_rules(turns: Sequence[Mapping[str, Any]]) -> None:
    """Every call is answered directly behind it, by id; every result has its call; ids are unique."""
    seen: set[str] = set()
    waiting: list[str] = []
    for number, turn in enumerate(turns):
        if turn["role"] == "tool":
            waiting.remove(turn["tool_call_id"])
            assert isinstance(turn["content"], str)
            continue
        assert not waiting, f"unanswered before turn {number}"
        waiting = [call["id"] for call in turn.get("tool_calls", ())]
        assert not seen & set(waiting)
        assert len(set(waiting)) == len(waiting)
        seen |= set(waiting)


def outline(turns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each turn in a word or two."""
    return [
        " ".join(
            [turn["role"], *(call["function"]["name"] for call in turn.get("tool_calls", ()))]
            + ([str(turn["content"])] if turn["content"] and isinstance(turn["content"], str) else [])
        )
        for turn in turns
    ]


CASES: dict[str, tuple[list[Mapping[str, Any]], list[str]]] = {
    "one call": ([USER, calls("f"), result()], ["user weather?", "assistant f", "tool rain"]),
    "each call in a message, and the text behind": (
        [USER, calls("f"), calls("g"), {"role": "assistant", "content": "wait"}, result("1"), result("2"), ON],
        ["user weather?", "assistant f g wait", "tool 1", "tool 2", "user and now?"],
    ),
    "results by name, in another order": (
        [calls("f", "g"), result("of g", tool_name="g"), result("of f", tool_name="f"), ON],
        ["assistant f g", "tool of f", "tool of g", "user and now?"],
    ),
    "a message between": (
        [calls("f", "g"), result("1"), ON, result("2")],
        ["assistant f g", "tool 1", "tool 2", "user and now?"],
    ),
    "a second result": (
        [calls("f"), result("1", tool_name="f"), result("2", tool_name="f")],
        ["assistant f", "tool 1\n2"],
    ),
    "never answered, the person went on": (
        [USER, calls("f", content="hm"), ON],
        ["user weather?", "assistant hm", "user and now?"],
    ),
    "never answered, and no text": ([USER, calls("f"), ON], ["user weather?", "user and now?"]),
    "one of two answered": (
        [calls("f", "g"), result(tool_name="g"), ON],
        ["assistant g", "tool rain", "user and now?"],
    ),
    "a result at the beginning": ([result(tool_name="f"), ON], ["assistant f", "tool rain", "user and now?"]),
    "calls left out of the history": (
        [USER, {"role": "assistant", "content": "I look"}, result("1"), result("2", tool_name="g"), ON],
        ["user weather?", "assistant unknown_tool g I look", "tool 1", "tool 2", "user and now?"],
    ),
    "calls left out, and names too": (
        [USER, {"role": "assistant", "content": ""}, result("1"), result("2"), {"role": "assistant", "content": "so"}],
        ["user weather?", "assistant unknown_tool unknown_tool", "tool 1", "tool 2", "assistant so"],
    ),
    "calls left out of one tool": (
        [result("1", tool_name="f"), result("2", tool_name="f"), ON],
        ["assistant f f", "tool 1", "tool 2", "user and now?"],
    ),
    "an id that no call has": (
        [
            calls("f", tool_calls=[{"id": "a", "function": {"name": "f"}}]),
            result("1", tool_call_id="a"),
            result("2", tool_call_id="z"),
        ],
        ["assistant f unknown_tool", "tool 1", "tool 2"],
    ),
    "the same ids in every turn": (
        [
            calls(tool_calls=[{"id": "call_0", "function": {"name": "f"}}]),
            result("1", tool_call_id="call_0"),
            calls(tool_calls=[{"id": "call_0", "function": {"name": "g"}}]),
            result("2", tool_call_id="call_0"),
        ],
        ["assistant f", "tool 1", "assistant g", "tool 2"],
    ),
    "a name with a dot": ([calls("a.b"), result(tool_name="a.b")], ["assistant a_b", "tool rain"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_history_holds_the_rules(name: str) -> None:
    """Whatever Ollama takes; what was said stays, in its order."""
    messages, expected = CASES[name]
    assert outline(sent(*messages)) == expected


def test_a_call_at_the_end_stays() -> None:
    """Nobody has gone on yet."""
    turns = chat_request({"messages": [USER, calls("f")]}, MODEL)["messages"]
    assert outline(turns) == ["user weather?", "assistant f"]


def test_made_ids_are_nine_letters_and_digits_and_stay() -> None:
    """Mistral's templates demand them; the same conversation gets the same ones when it has grown."""
    short = sent(calls("f"), result("1"))
    long = sent(calls("f"), result("1"), calls("f"), result("2"), ON)
    assert long[: len(short)] == short
    ids = [call["id"] for turn in long for call in turn.get("tool_calls", ())]
    assert all(re.fullmatch("[A-Za-z0-9]{9}", each) for each in ids)
    assert len(set(ids)) == 2


def called_with(*ids: str) -> list[str]:
    """The ids that go to the server for calls with these."""
    history = [calls(tool_calls=[{"id": told, "function": {"name": "f"}} for told in ids])]
    turns = sent(*history, *(result(told, tool_call_id=told) for told in ids))
    assert [turn["content"] for turn in turns[1:]] == [*ids]
    return [call["id"] for call in turns[0]["tool_calls"]]


def test_ids_of_clients_are_nine_letters_and_digits_too() -> None:
    """LiteLLM and ai-sdk-ollama make UUIDs of their own; each stays the same, wherever it stands."""
    made = called_with("bc771591-831d-4487-9039-492925c4fd30", "call_1")
    assert all(re.fullmatch("[A-Za-z0-9]{9}", each) for each in made)
    assert called_with("call_1") == made[1:]


def test_ids_that_servers_gave_are_kept() -> None:
    """Of Mistral's form, and of Kimi's, whose template shows them."""
    told = ["a1B2c3D4e", "functions.get_weather:0"]
    assert called_with(*told) == told


def test_thinking_goes_along() -> None:
    """Under both names that servers have for it."""
    [turn, _] = sent({"role": "assistant", "content": "a", "thinking": "hm"}, ON)
    assert (turn["reasoning_content"], turn["reasoning"]) == ("hm", "hm")


def test_images_of_a_result_come_behind_it() -> None:
    """OpenAI takes them in user messages alone."""
    turns = sent(calls("f"), result("seen", images=["iVBO"]), ON)
    assert [turn["role"] for turn in turns] == ["assistant", "tool", "user", "user"]
    assert turns[1]["content"] == "seen"
    assert turns[2]["content"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}]


def test_an_image_without_text_has_no_empty_part() -> None:
    """Some servers refuse one."""
    [turn] = sent({"role": "user", "content": "", "images": ["iVBO"]})
    assert [part["type"] for part in turn["content"]] == ["image_url"]


# Seen from Go 1.24's encoding/base64, whose errors Ollama passes on.
WRONG = {
    "data:image/png;base64,iVBO": 4,
    "": None,
    "aGk=": None,
    "aGk": 0,
    "aGkaG": 4,
    "aG=k": 2,
    "aG==x": 4,
    "a===": 1,
    "aGk=\n": None,
    "aG\nk=": None,
    "aGk!": 3,
    "aG=": 3,
    "====": 0,
    "aGk==": 4,
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_base64_is_told_as_go_tells_it(text: str) -> None:
    """By the byte at which it stops."""
    assert wrong_byte(text) == WRONG[text]
    message = {"role": "user", "content": "x", "images": [text]}
    if WRONG[text] is not None:
        with pytest.raises(BadRequest, match=f"illegal base64 data at input byte {WRONG[text]}$"):
            sent(message)


TOOLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no type": ({"function": {"name": "f"}}, {"name": "f", "parameters": {"type": "object", "properties": {}}}),
    "null": (
        {"type": "function", "function": {"name": "f", "description": None, "parameters": None}},
        {"name": "f", "parameters": {"type": "object", "properties": {}}},
    ),
    "parameters without a type": (
        {"function": {"name": "f", "parameters": {"properties": {"a": {}}, "required": None}}},
        {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}},
    ),
    "a dot": ({"function": {"name": "a.b"}}, {"name": "a_b", "parameters": {"type": "object", "properties": {}}}),
}


@pytest.mark.parametrize("name", TOOLS)
def test_tools_are_put_right(name: str) -> None:
    """As OpenAI's rules have them."""
    tool, expected = TOOLS[name]
    body = chat_request({"messages": [USER], "tools": [tool]}, MODEL)
    assert body["tools"] == [{"type": "function", "function": expected}]
