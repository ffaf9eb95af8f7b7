"""Whatever a server of OpenAI's API streams, the client of another API gets a whole answer in order, or an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend.errors import AppError
from mlops_backend.services.llm.dialects import Ending, endings
from mlops_backend.services.llm.dialects.native import Joined, LineTranslator
from mlops_backend.services.llm.dialects.native.message_events import MessageTranslator
from mlops_backend.services.llm.dialects.native.response_events import ResponseTranslator
from mlops_backend.services.llm.dialects.native.response_tools import Tool
from mlops_backend.services.llm.dialects.native.shapes import COMPLETION
from mlops_backend.services.llm.dialects.native.stream import EventTranslator
from mlops_backend.services.llm.dialects.openai import StreamTranslator
from mlops_backend.services.llm.dialects.openai_ending import OpenAIEnding
from mlops_backend.telemetry.record import RequestRecord
from tests.unit.dialects.test_frames import cut

Event = dict[str, Any]
CALL: Final = {"index": 0, "id": "a1b2c3d4e", "function": {"name": "f", "arguments": '{"a": 1}'}}


def piece(delta: Any, reason: str | None = None, **more: Any) -> bytes:
    """One event of a server's."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + json.dumps({"id": "c", "choices": [choice], **more}).encode() + b"\n\n"


def called(index: int, text: str) -> bytes:
    """A piece of a call that takes a text; its name is told with each, as some servers do."""
    return piece({"tool_calls": [{"index": index, "id": f"c{index}", "function": {"name": "g", "arguments": text}}]})


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
pieces = st.one_of(
    st.builds(lambda text: piece({"content": text}), words),
    st.builds(lambda text: piece({"reasoning_content": text}), words),
    st.builds(called, st.integers(min_value=2, max_value=3), st.sampled_from(['{"input":"', "a", "\\", 'n"', '"}'])),
    st.sampled_from(
        [
            piece({"role": "assistant", "content": ""}),
            *(piece({"content": text}) for text in ("a", "b", "c", "\n", '"')),
            *(piece({"reasoning": text}) for text in ("x", "y")),
            piece({"tool_calls": [CALL]}),
            piece({"tool_calls": [{**CALL, "index": 1, "id": "b1b2c3d4e"}]}),
            piece({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}),
            piece({"tool_calls": [{"index": 0, "function": {"arguments": 7}}]}),
            piece({"tool_calls": "none"}),
            piece({"content": ["no text"]}),
            piece(None),
            piece({}, "stop"),
            piece({}, "length"),
            piece({"content": "last"}, "content_filter", usage={"prompt_tokens": 1, "completion_tokens": 2}),
            piece({}, "tool_calls"),
            b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}\n\n',
            b'data: {"choices": [], "usage": {"prompt_tokens": "three"}}\n\n',
            b'data: {"error": {"message": "it fell over"}}\n\n',
            b"data: [DONE]\n\n",
            b"data: {\n\n",
            b": a comment\n\n",
            b"event: ping\n\n",
            b"\n",
            b"{}\n",
        ]
    ),
)
streams = st.lists(pieces, max_size=12).map(b"".join)
places = st.lists(st.integers(min_value=0), max_size=8)


def relayed(chunks: Iterable[bytes], lines: StreamTranslator, events: LineTranslator, ending: Ending) -> bytes:
    """What the client gets, as `relay` has it; nothing, where a failure comes first, and has a status."""
    given_back, feed = b"", Joined(lines, events).feed
    try:
        for chunk in chunks:
            given_back += ending.feed(feed(chunk))
        given_back += ending.feed(events.feed(lines.end()) + events.end()) + ending.rest()
        if given_back:
            ending.finish(RequestRecord("r", "POST"))
    except AppError as error:
        if given_back:
            given_back += ending.failure(error, "r")
    return given_back


def check_messages(answer: bytes) -> None:
    """Anthropic's events are in order: a start, blocks one behind the other, why it ended, its stop."""
    frames = [frame.split(b"\ndata: ") for frame in answer.removesuffix(b"\n\n").split(b"\n\n")]
    told: list[Event] = [json.loads(data) for _, data in frames]
    assert [name.removeprefix(b"event: ").decode() for name, _ in frames] == [event["type"] for event in told]
    begun, open_block = -1, ""
    for number, event in enumerate(told):
        kind = event["type"]
        assert (number == 0) is (kind == "message_start")
        if kind == "content_block_start":
            assert (open_block, event["index"]) == ("", begun + 1)
            begun, open_block = event["index"], event["content_block"]["type"]
        elif kind == "content_block_delta":
            due = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}[open_block]
            assert (event["index"], event["delta"]["type"]) == (begun, due)
        elif kind == "content_block_stop":
            assert (bool(open_block), event["index"]) == (True, begun)
            open_block = ""
        elif kind in ("message_delta", "message_stop"):
            assert not open_block
    kinds = [event["type"] for event in told]
    assert kinds[-1] == "error" or kinds[-2:] == ["message_delta", "message_stop"]
    assert not {"error", "message_stop", "message_delta"} & {*kinds[:-2]}


def check_completions(answer: bytes) -> None:
    """OpenAI's events: texts, a reason to end, and `[DONE]`, or an error behind what came."""
    *before, last = answer.removesuffix(b"\n\n").split(b"\n\n")
    if last != b"data: [DONE]":
        assert b'"error"' in last
        return
    told: list[Event] = [json.loads(frame.removeprefix(b"data: ")) for frame in before]
    reasons = [choice["finish_reason"] for event in told for choice in event["choices"]]
    assert [bool(reason) for reason in reasons] == [False] * (len(reasons) - 1) + [True]
    assert "usage" in told[-1]


def check_responses(answer: bytes) -> None:
    """Numbers rise by one, each item that begins ends before a sound end, and the last event has them all in order."""
    frames = [frame.split(b"\ndata: ") for frame in answer.removesuffix(b"\n\n").split(b"\n\n")]
    told: list[Event] = [json.loads(data) for _, data in frames]
    last = told[-1].get("type", "error")
    if last == "error":
        told = told[:-1]
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    if last not in ("response.completed", "response.incomplete"):
        assert last in ("error", "response.failed")
        return
    items = told[-1]["response"]["output"]
    for kind in ("added", "done"):
        places = [event["output_index"] for event in told if event["type"] == f"response.output_item.{kind}"]
        assert sorted(places) == list(range(len(items)))
    for place, item in enumerate(items):
        pieces = [event.get("delta", "") for event in told if event.get("output_index") == place]
        if item["type"] == "custom_tool_call":
            assert "".join(pieces) == item["input"]


Form = tuple[Callable[[], tuple[StreamTranslator, LineTranslator, Ending]], Callable[[bytes], None]]
FORMS: Final[dict[str, Form]] = {
    "messages": (
        lambda: (StreamTranslator("chat", "m"), MessageTranslator("m", 3), endings.messages_ending()),
        check_messages,
    ),
    "responses": (
        lambda: (
            StreamTranslator("chat", "m", free_form=frozenset({"g"})),
            ResponseTranslator({"model": "m"}, {"g": Tool("g", "g", "", "custom", {})}),
            endings.ResponsesEnding(),
        ),
        check_responses,
    ),
    "completions": (
        lambda: (
            StreamTranslator("generate", "m", stops=["never"]),
            EventTranslator(COMPLETION, wants_usage=True),
            OpenAIEnding(),
        ),
        check_completions,
    ),
}


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None)
@given(stream=streams, edges=places)
def test_any_stream_ends_and_is_in_order(form: str, stream: bytes, edges: list[int]) -> None:
    """However it is cut, broken off or spoilt."""
    made, check = FORMS[form]
    if answer := relayed(cut(stream, edges), *made()):
        check(answer)


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None)
@given(stream=streams.map(lambda stream: piece({"content": "a"}) + stream), end=st.integers(min_value=0))
def test_any_stream_that_breaks_off_ends(form: str, stream: bytes, end: int) -> None:
    """What had begun has an end."""
    made, check = FORMS[form]
    answer = relayed([stream[: end % (len(stream) + 1)]], *made())
    if answer:
        check(answer)
