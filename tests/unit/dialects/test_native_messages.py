"""Anthropic's messages as a body of Ollama's own chat, and Ollama's lines as Anthropic's events."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects import Dialect
from mlops_backend.services.llm.dialects.native import MESSAGES_PATH, ROUTES, Carried, refusal
from mlops_backend.services.llm.dialects.native.message_events import MessageTranslator, message_reply
from tests.unit.dialects.test_frames import cut
from tests.unit.dialects.test_native_stream import CALL, COUNTS, LAST, SAID, STREAM, chat_line, texts

ASKED = [{"role": "user", "content": "Hi"}]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "sky"}}
NATIVE_CALL = {"id": "toolu_1", "function": {"name": "look", "arguments": {"at": "sky"}}}


def carried(**fields: Any) -> Carried:
    """Messages that are carried."""
    return ROUTES[MESSAGES_PATH]({"model": "m", "max_tokens": 9, "messages": ASKED, **fields})


def said(role: str, *blocks: Any) -> Any:
    """One turn in Ollama's words."""
    return carried(messages=[{"role": role, "content": list(blocks)}]).body["messages"]


def text(words: str) -> dict[str, str]:
    """A block of text."""
    return {"type": "text", "text": words}


def test_messages() -> None:
    """What Ollama's own route makes of them: sampled as the model is, where nothing else is said."""
    made = carried()
    assert (made.path, made.translator) == ("/api/chat", None)
    assert made.body == {"model": "m", "messages": ASKED, "stream": False, "options": {"num_predict": 9}}


def test_options() -> None:
    """Those that Ollama reads; others are overlooked."""
    fields = {"temperature": 0, "top_p": 0.5, "top_k": 3}
    body = carried(**fields, stop_sequences=["x"], metadata={}, tool_choice={"type": "any"}, keep_alive=0).body
    assert body["options"] == {"num_predict": 9, **fields, "stop": ["x"]}
    assert body.keys() == {"model", "messages", "stream", "options"}
    assert carried(stop_sequences=[]).body["options"] == {"num_predict": 9}


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ("Be brief.", "Be brief."),
        ([text("Be "), IMAGE, text("brief.")], "Be brief."),
        ("", None),
        ([], None),
        (7, None),
    ],
)
def test_the_system_text_comes_first(system: Any, told: str | None) -> None:
    """A text, or blocks of it."""
    first, *others = carried(system=system).body["messages"]
    assert (first, others) == (({"role": "system", "content": told}, ASKED) if told else (ASKED[0], []))


def test_turns() -> None:
    """Texts of one turn are joined; calls, thoughts and images go with them."""
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
    assert said("ASSISTANT", thought, text("I "), text("look."), USE, {"type": "unknown"}) == [
        {"role": "assistant", "content": "I look.", "tool_calls": [NATIVE_CALL], "thinking": "Hm."}
    ]
    assert said("user", text("See"), IMAGE, IMAGE) == [{"role": "user", "content": "See", "images": ["AAAA", "AAAA"]}]
    assert said("user", IMAGE) == [{"role": "user", "content": "", "images": ["AAAA"]}]
    assert said("user") == []
    assert carried(messages=[{"role": "user"}, *ASKED]).body["messages"] == ASKED


def test_results_stand_before_what_the_user_says() -> None:
    """And behind what an assistant says; each has the name of its function, where that was called.

    Claude Code looks for its tools with one of them, whose result names what was found.
    """

    def found(name: Any) -> dict[str, Any]:
        return {"type": "tool_reference", "tool_name": name}

    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Blue."},
        {
            "type": "tool_result",
            "tool_use_id": "toolu_2",
            "content": [text("Gr"), IMAGE, text("ey.")],
            "is_error": True,
        },
        {"type": "tool_result", "tool_use_id": "toolu_3"},
        {"type": "tool_result", "tool_use_id": "toolu_4", "content": [found("look"), found("see"), found(1)]},
    ]
    turns = [{"role": "assistant", "content": [USE]}, {"role": "user", "content": [text("And?"), *results]}]
    told = [
        {"role": "tool", "content": "Blue.", "tool_name": "look", "tool_call_id": "toolu_1"},
        {"role": "tool", "content": "Grey.", "images": ["AAAA"], "tool_call_id": "toolu_2"},
        {"role": "tool", "content": "", "tool_call_id": "toolu_3"},
        {"role": "tool", "content": "look\nsee\n", "tool_call_id": "toolu_4"},
    ]
    assert carried(messages=turns).body["messages"] == [
        {"role": "assistant", "content": "", "tool_calls": [NATIVE_CALL]},
        *told,
        {"role": "user", "content": "And?"},
    ]
    assert said("assistant", results[2], text("So.")) == [{"role": "assistant", "content": "So."}, told[2]]


def test_tools() -> None:
    """A schema is the parameters; without one there are none."""
    schema = {"type": "object", "properties": {"at": {"type": "string"}}}
    first, second = carried(
        tools=[{"name": "look", "description": "Look.", "input_schema": schema}, {"name": "see"}]
    ).body["tools"]
    assert first == {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": schema}}
    assert second["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, False),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "low"),
        ({"output_config": {"effort": " XHigh "}}, "high"),
        ({"output_config": {"effort": "max"}}, "max"),
        ({"output_config": {"effort": "long"}}, None),
        ({"output_config": {}}, None),
        ({"thinking": {"type": "adaptive"}}, None),
        ({}, None),
    ],
)
def test_how_long_to_think(fields: dict[str, Any], think: Any) -> None:
    """In Ollama's words."""
    assert carried(**fields).body.get("think") == think


def test_the_prompt_is_estimated_by_its_length() -> None:
    """Four letters a token, those of the tools too; at the least one."""

    def estimate(**fields: Any) -> int:
        made = carried(**fields, stream=True)
        assert made.translator is not None
        start = json.loads(made.translator().feed(SAID[0]).split(b"\n")[1][6:])
        return int(start["message"]["usage"]["input_tokens"])

    assert estimate() == estimate(messages=[{"role": "user", "content": [IMAGE]}]) == 1
    assert estimate(messages=[{"role": "user", "content": "x" * 400}]) == 100
    assert estimate(tools=[{"name": "look", "description": "x" * 400}]) > 100


def of_type(name: str, found: str, wanted: str, struct: str = "MessagesRequest") -> str:
    """Go's words for a value of a wrong type."""
    return f"json: cannot unmarshal {found} into Go struct field {struct}.{name} of type {wanted}"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": ""}, "model is required"),
    "no maximum": ({"max_tokens": None}, "max_tokens is required and must be positive"),
    "maximum of none": ({"max_tokens": 0}, "max_tokens is required and must be positive"),
    "maximum text": ({"max_tokens": "9"}, of_type("max_tokens", "string", "int")),
    "no messages": ({"messages": []}, "messages is required"),
    "messages text": ({"messages": "Hi"}, of_type("messages", "string", "[]anthropic.MessageParam")),
    "content number": (
        {"messages": [{"role": "user", "content": 7}]},
        "json: cannot unmarshal number into Go value of type []anthropic.ContentBlock",
    ),
    "block text": (
        {"messages": [{"role": "user", "content": ["Hi"]}]},
        of_type("messages.content", "string", "anthropic.ContentBlock", "MessageParam"),
    ),
    "stop": ({"stop_sequences": [7]}, of_type("stop_sequences", "number", "string")),
    "stop text": ({"stop_sequences": "x"}, of_type("stop_sequences", "string", "[]string")),
}
BLOCKS: list[tuple[Any, str]] = [
    ({"type": "image"}, "invalid image source"),
    (
        {"type": "image", "source": {"type": "url", "url": "http://x"}},
        "invalid image source type: url. Only base64 images are supported.",
    ),
    ({**USE, "id": ""}, "tool_use block missing required 'id' field"),
    ({**USE, "name": None}, "tool_use block missing required 'name' field"),
    ({**USE, "input": [1]}, "invalid tool call arguments"),
    ({"type": "tool_result", "content": [{"type": "image"}]}, "invalid image source"),
]


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """In the words of Ollama's own route."""
    fields, words = REFUSED[name]
    with pytest.raises(BadRequest) as caught:
        carried(**fields)
    assert caught.value.message == words


@pytest.mark.parametrize(("block", "words"), BLOCKS)
def test_refused_blocks(block: Any, words: str) -> None:
    """The same."""
    with pytest.raises(BadRequest) as caught:
        said("user", block)
    assert caught.value.message == words


def test_a_reply() -> None:
    """What was thought, said and called, in this order."""
    answer = message_reply(
        {
            "model": "m",
            "message": {"content": "Blue.", "thinking": "Hm.", "tool_calls": [{"id": "call_1", **CALL}]},
            "done_reason": "stop",
            **COUNTS,
        }
    )
    assert answer.pop("id").startswith("msg_")
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "Hm."},
            {"type": "text", "text": "Blue."},
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Bern"}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    assert message_reply({"message": {}})["content"] == []


@pytest.mark.parametrize(
    ("reason", "told"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("load", "stop_sequence"), (None, "end_turn"), ([1], "end_turn")],
)
def test_why_it_ended(reason: Any, told: str) -> None:
    """In Anthropic's words."""
    assert message_reply({"message": {"content": "a"}, "done_reason": reason})["stop_reason"] == told


def events_of(*chunks: bytes) -> list[dict[str, Any]]:
    """The objects of the events of a stream that comes in these pieces; each has its type for a name."""
    translator = MessageTranslator("mine", 5)
    stream = b"".join(translator.feed(chunk) for chunk in chunks) + translator.end()
    assert stream.endswith(b"\n\n")
    events = []
    for frame in stream.split(b"\n\n")[:-1]:
        name, data = frame.split(b"\n")
        events.append(json.loads(data.removeprefix(b"data: ")))
        assert name == b"event: " + events[-1]["type"].encode()
    return events


def put_together(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks as a client has them at the end, each of which was opened and closed in its turn."""
    blocks: list[dict[str, Any]] = []
    opened = -1
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert opened == -1
                opened = event["index"]
                assert opened == len(blocks)
                blocks.append({**event["content_block"], "said": ""})
            case "content_block_delta":
                assert event["index"] == opened
                (words,) = [value for name, value in event["delta"].items() if name != "type"]
                blocks[opened]["said"] += words
            case "content_block_stop":
                assert event["index"] == opened
                opened = -1
    assert opened == -1
    return blocks


@given(places=st.lists(st.integers(min_value=0)))
def test_a_stream_may_be_cut_anywhere(places: list[int]) -> None:
    """The same blocks come out, and the counts."""
    start, *events = events_of(*cut(STREAM, places))
    *_, ended, last = events
    assert (start["message"]["model"], start["message"]["usage"]["input_tokens"]) == ("mine", 5)
    thought, spoken, used = put_together(events)
    assert (thought["type"], thought["said"]) == ("thinking", "Hm.")
    assert (spoken["type"], spoken["said"]) == ("text", 'The "sky"\n \u2028\U0001f600 <b> \\')
    assert (used["type"], used["name"], json.loads(used["said"])) == ("tool_use", "weather", {"city": "Bern"})
    assert ended["delta"] == {"stop_reason": "tool_use"}
    assert ended["usage"] == {"input_tokens": 3, "output_tokens": 2}
    assert last == {"type": "message_stop"}


@given(lines=st.lists(st.tuples(st.sampled_from(["content", "thinking"]), texts)))
def test_any_text_arrives(lines: list[tuple[str, str]]) -> None:
    """In blocks by what it is, in the order in which it was said."""
    said = [chat_line(words) if kind == "content" else chat_line("", thinking=words) for kind, words in lines]
    blocks = put_together(events_of(*said, LAST))
    for name, kind in (("content", "text"), ("thinking", "thinking")):
        assert "".join(block["said"] for block in blocks if block["type"] == kind) == "".join(
            words for told, words in lines if told == name
        )
    assert all(before["type"] != after["type"] for before, after in pairwise(blocks))


def test_a_text_behind_a_call_is_a_block_of_its_own() -> None:
    """As one before it."""
    blocks = put_together(events_of(SAID[0], chat_line(tool_calls=[CALL, CALL]), SAID[0], SAID[0], LAST))
    assert [(block["type"], block["said"]) for block in blocks] == [
        ("text", "The"),
        ("tool_use", '{"city":"Bern"}'),
        ("tool_use", '{"city":"Bern"}'),
        ("text", "TheThe"),
    ]


def test_a_failure_amid_the_answer_is_an_event() -> None:
    """The last one."""
    assert events_of(SAID[0], b'{"error":"the model died"}\n', LAST)[-1] == {
        "type": "error",
        "error": {"type": "api_error", "message": "the model died"},
    }


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (404, "not_found_error"), (500, "api_error")]
)
def test_a_refusal(status: int, kind: str) -> None:
    """In Anthropic's form, with the request's own name."""
    assert json.loads(refusal(Dialect.ANTHROPIC, status, "No.", "abc")) == {
        "type": "error",
        "error": {"type": kind, "message": "No."},
        "request_id": "abc",
    }
