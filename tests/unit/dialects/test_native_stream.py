"""Ollama's lines as OpenAI's events: however they are cut, whatever they say, and where they fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.errors import BackendFailed, BackendNonsense
from mlops_backend.services.llm.dialects import MAX_FRAME_BYTES
from mlops_backend.services.llm.dialects.native.shapes import CHAT, COMPLETION, Shape
from mlops_backend.services.llm.dialects.native.stream import EventTranslator
from tests.fakes.ollama_shapes import encode
from tests.unit.dialects.test_frames import cut

HEAD = {"model": "m", "created_at": "2026-11-29T10:00:00.123456789Z"}
COUNTS: dict[str, Any] = {"prompt_eval_count": 3, "eval_count": 2}
CALL = {"function": {"index": 0, "name": "weather", "arguments": {"city": "Bern"}}}
texts = st.text(st.characters(exclude_categories=["Cs"]))


def chat_line(content: str = "", *, done: bool = False, **more: Any) -> bytes:
    """One of Ollama's lines; `more` belongs to the message, or to the object where it is done."""
    message = {"role": "assistant", "content": content, **({} if done else more)}
    return encode({**HEAD, "message": message, "done": done, **(more if done else {})}) + b"\n"


def text_line(text: str = "", *, done: bool = False, **more: Any) -> bytes:
    """The same of a completion."""
    return encode({**HEAD, "response": text, "done": done, **more}) + b"\n"


LAST = chat_line(done=True, done_reason="stop", **COUNTS)
SAID = [chat_line("The"), chat_line(' "sky"\n'), chat_line(" \u2028\U0001f600 <b> \\"), LAST]
STREAM = b"".join([chat_line("", thinking="Hm."), *SAID[:-1], chat_line("", tool_calls=[CALL]), LAST])


def translated(*chunks: bytes, shape: Shape = CHAT, usage: bool = True) -> bytes:
    """The events of a stream that comes in these pieces."""
    translator = EventTranslator(shape, wants_usage=usage)
    return b"".join(translator.feed(chunk) for chunk in chunks) + translator.end()


def told(events: bytes) -> list[dict[str, Any]]:
    """Their objects; the end is `[DONE]`."""
    *frames, last, nothing = events.split(b"\n\n")
    assert (last, nothing) == (b"data: [DONE]", b"")
    assert all(frame.startswith(b"data: ") for frame in frames)
    return [json.loads(frame[6:]) for frame in frames]


def same_id(events: bytes) -> bytes:
    """The events as if they had been made under one name, in one second."""
    first = json.loads(events.partition(b"\n\n")[0][6:])
    assert first["id"].encode() in events
    calls = [
        call["id"]
        for frame in told(events)
        for choice in frame["choices"]
        for call in choice.get("delta", {}).get("tool_calls", ())
    ]
    for made in (first["id"], *calls):
        events = events.replace(made.encode(), b"ID")
    return events.replace(b'"created":%d' % first["created"], b'"created":0')


@given(places=st.lists(st.integers(min_value=0)))
def test_a_stream_may_be_cut_anywhere(places: list[int]) -> None:
    """The same bytes come out."""
    assert same_id(translated(*cut(STREAM, places))) == same_id(translated(STREAM))


@given(words=st.lists(texts, min_size=1), thoughts=st.lists(texts))
def test_any_text_arrives(words: list[str], thoughts: list[str]) -> None:
    """Whatever is in it, in the order in which it was said."""
    lines = [chat_line("", thinking=thought) for thought in thoughts] + [chat_line(word) for word in words]
    deltas = [event["choices"][0]["delta"] for event in told(translated(*lines, LAST, usage=False))]
    assert "".join(delta.get("reasoning", "") for delta in deltas) == "".join(thoughts)
    assert "".join(delta.get("content", "") for delta in deltas) == "".join(words)
    assert [delta.get("role") for delta in deltas] == ["assistant", *[None] * (len(deltas) - 1)]


@given(words=st.lists(texts))
def test_any_text_of_a_completion_arrives(words: list[str]) -> None:
    """The same without a role."""
    lines = [*map(text_line, words), text_line(done=True, done_reason="length", context=[1, 2])]
    choices = [event["choices"][0] for event in told(translated(*lines, shape=COMPLETION, usage=False))]
    assert "".join(choice["text"] for choice in choices) == "".join(words)
    assert [choice["finish_reason"] for choice in choices] == [None] * len(words) + ["length"]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ('a","thinking":"b', {}),
        ('a"},"done":false}\n{"model":"x', {}),
        ("a", {"images": None}),
        ("a", {"thinking": "b"}),
        ("a\\", {}),
    ],
)
def test_a_text_is_no_part_of_the_line_around_it(text: str, more: dict[str, Any]) -> None:
    """What looks like the end of a text, in one or behind one, is read for what it is."""
    first, *events = told(translated(chat_line("x"), chat_line(text, **more), LAST, usage=False))
    said = [event["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content", "") for delta in said) == text
    assert "".join(delta.get("reasoning", "") for delta in said) == more.get("thinking", "")
    assert first["model"] == "m"


@pytest.mark.parametrize(
    ("shape", "line", "text"),
    [
        (CHAT, chat_line('a "b"'), rb"a \"b\""),
        (CHAT, chat_line("", thinking="<hm>"), rb"\u003chm\u003e"),
        (COMPLETION, text_line("\u2028"), "\u2028".encode()),
    ],
)
def test_most_lines_are_read_by_their_text_alone(shape: Shape, line: bytes, text: bytes) -> None:
    """One that brings a text and nothing else is found by its bytes, and its text as it is spelt."""
    assert [found[1] for plain, _ in shape.plain if (found := plain(line.rstrip()))] == [text]
    for other in (LAST, chat_line("a", thinking="b"), chat_line(tool_calls=[CALL]), text_line("a", thinking="b")):
        assert not any(plain(other.rstrip()) for plain, _ in shape.plain)


def test_such_a_text_goes_on_as_it_is_spelt() -> None:
    """It is read by nobody: what a client makes of it is the same."""
    assert rb'{"content":"\u0041\/"}' in translated(SAID[0], chat_line("?").replace(b"?", rb"\u0041\/"))


def test_an_end_has_a_reason_and_the_usage() -> None:
    """A chunk with the reason, one with the usage and no choice, and `[DONE]`."""
    *_, reason, usage = told(translated(STREAM))
    assert reason["choices"] == [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert len({event["id"] for event in told(translated(SAID[0], LAST))}) == 1


def test_tokens_from_the_cache_are_told() -> None:
    """Where the Ollama tells them."""
    last = chat_line(done=True, done_reason="stop", prompt_eval_cached_count=2, **COUNTS)
    assert told(translated(last))[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}


def test_scores_of_tokens_are_told() -> None:
    """Beside the text that they belong to."""
    scores = [{"token": "a", "logprob": -0.5, "bytes": [97]}]
    line = encode({**HEAD, "message": {"role": "assistant", "content": "a"}, "done": False, "logprobs": scores}) + b"\n"
    first, second, _ = told(translated(line, line, LAST, usage=False))
    assert first["choices"][0]["logprobs"] == second["choices"][0]["logprobs"] == {"content": scores}


def test_calls_are_counted_over_all_lines() -> None:
    """Each of an old Ollama's calls has an index and an id of its own; those that are told stay."""
    nameless = {"function": {"name": "a", "arguments": {}}}
    kept = {"id": "call_1", "function": {"name": "b", "index": 7, "arguments": {}}}
    lines = [chat_line(tool_calls=[nameless]), chat_line(tool_calls=[nameless, kept]), LAST]
    events = told(translated(*lines, usage=False))
    calls = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", ())]
    assert [call["index"] for call in calls] == [0, 1, 7]
    assert len({call["id"] for call in calls}) == 3
    assert (calls[2]["id"], calls[2]["function"]) == ("call_1", {"name": "b", "arguments": "{}"})


def test_an_answer_of_one_object_needs_no_newline() -> None:
    """As the one to a prompt that only loads the model."""
    (event,) = told(translated(text_line(done=True, done_reason="load").rstrip(), shape=COMPLETION, usage=False))
    assert event["choices"][0]["finish_reason"] == "load"


def test_what_comes_behind_the_end_is_left() -> None:
    """In the same piece or in another."""
    assert same_id(translated(STREAM + b"nonsense\n", b"more\n")) == same_id(translated(STREAM))


def test_a_stream_that_just_stops_has_no_end() -> None:
    """It is for whoever watches it to say so."""
    assert b"[DONE]" not in translated(*SAID[:-1])


def test_a_failure_that_is_told_first_is_raised() -> None:
    """It can still have a status."""
    with pytest.raises(BackendFailed, match=r"^the model died$"):
        translated(b'{"error":"the model died"}\n')


def test_a_failure_amid_the_answer_is_an_event() -> None:
    """It ends the stream, whatever stands behind it."""
    *_, last, nothing = translated(SAID[0], b'{"error":"the model died"}\n', LAST).split(b"\n\n")
    error = {"message": "the model died", "type": "api_error", "param": None, "code": None}
    assert (json.loads(last[6:]), nothing) == ({"error": error}, b"")


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[1]",
        b'{"model":"m"',
        b'{"model":"m","done":false}',
        b'{"model":"m","message":"x","done":false}',
        b'{"message":{"content":"","tool_calls":[7]},"done":false}',
        b'{"message":{"content":"","tool_calls":7},"done":false}',
        b'{"message":{"content":"","tool_calls":[{"id":"x"}]},"done":false}',
        b'{"message":{"content":""},"done":true,"eval_count":"many"}',
    ],
)
def test_nonsense_is_raised_behind_what_came_before_it(line: bytes) -> None:
    """The words that came are given, in the same piece or not."""
    for chunks in ([SAID[0], line + b"\n"], [SAID[0] + line + b"\n"]):
        translator = EventTranslator(CHAT, wants_usage=True)
        assert b'"The"' in translator.feed(chunks[0])
        with pytest.raises(BackendNonsense):
            translator.feed(b"".join(chunks[1:]))


def test_a_line_without_end_is_refused() -> None:
    """No more of it is kept than an object may have."""
    translator = EventTranslator(CHAT, wants_usage=False)
    piece = b"x" * (MAX_FRAME_BYTES // 4)
    for _ in range(4):
        assert translator.feed(piece) == b""
    with pytest.raises(BackendNonsense, match="longer than this service accepts"):
        translator.feed(piece)
