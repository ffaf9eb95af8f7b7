"""llama.cpp's OpenAI answers and streams in Ollama's shapes."""

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects.openai import stream as openai_stream
from mlops_backend.services.llm.dialects.openai.pieces import Conversing
from mlops_backend.services.llm.dialects.openai.replies import embed_reply, loaded_reply, tokens, whole_reply
from mlops_backend.services.llm.dialects.openai.stream import StreamTranslator

USAGE = {"completion_tokens": 2, "prompt_tokens": 31, "total_tokens": 33}
TIMINGS = {"prompt_n": 31, "prompt_ms": 248.522, "predicted_n": 2, "predicted_ms": 46.516}
SCORES = {
    "content": [
        {
            "id": 1,
            "token": "Hi",
            "bytes": [72, 105],
            "logprob": -0.5,
            "top_logprobs": [
                {"id": 1, "token": "Hi", "bytes": [72, 105], "logprob": -0.5},
                {"id": 2, "token": "Yo", "bytes": [89, 111], "logprob": -1.5},
            ],
        }
    ]
}
TOTAL = 300_000_000


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _chat_answer(message: dict[str, Any] | None = None, **choice: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "Hello there"} if message is None else message
    choices = [{"finish_reason": "stop", "index": 0, "message": said, **choice}]
    return {"choices": choices, "usage": USAGE, "timings": TIMINGS}


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _delta(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    return _event({"choices": [{"finish_reason": reason, "index": 0, "delta": delta, **more}]})


def _chat_stream(*texts: str) -> bytes:
    """What xllamacpp sends: the role, the tokens, the reason, the usage, the end."""
    return b"".join(
        (
            _delta({"role": "assistant", "content": None}),
            *(_delta({"content": text}) for text in texts),
            _delta({}, "length"),
            _event({"choices": [], "usage": USAGE, "timings": TIMINGS}),
            b"data: [DONE]\n\n",
        )
    )


def _translate(*chunks: bytes, operation: Conversing = "chat", top: int = 0) -> list[dict[str, Any]]:
    """Feed the chunks; give the lines without what the time of day changes."""
    translator = StreamTranslator(operation, "m", top)
    whole = b"".join(translator.feed(chunk) for chunk in chunks)
    assert whole.endswith(b"\n") or not whole
    lines = [json.loads(line) for line in whole.split(b"\n") if line]
    for line in lines:
        line.pop("created_at", None)
        line.pop("total_duration", None)
        line.pop("load_duration", None)
    return lines


END = {
    "model": "m",
    "message": {"role": "assistant", "content": ""},
    "done": True,
    "done_reason": "length",
    "prompt_eval_count": 31,
    "prompt_eval_duration": 248_522_000,
    "eval_count": 2,
    "eval_duration": 46_516_000,
}


def test_a_whole_answer_has_ollamas_fields_in_nanoseconds() -> None:
    """Text, reason, counts and the engine's own durations; what they leave of the total is the waiting."""
    answer = whole_reply("chat", _dump(_chat_answer()), "m", TOTAL)
    created = answer.pop("created_at")
    assert created.endswith("Z")
    assert len(created) == len("2026-11-23T03:48:32.567833Z")
    assert answer == {
        "model": "m",
        "message": {"role": "assistant", "content": "Hello there"},
        "done": True,
        "done_reason": "stop",
        "total_duration": 300_000_000,
        "load_duration": 300_000_000 - 248_522_000 - 46_516_000,
        "prompt_eval_count": 31,
        "prompt_eval_duration": 248_522_000,
        "eval_count": 2,
        "eval_duration": 46_516_000,
    }


def test_generate_takes_a_conversation_or_a_completion() -> None:
    """`response` holds the text of a chat answer, or of a bare completion."""
    assert whole_reply("generate", _dump(_chat_answer()), "m", 1)["response"] == "Hello there"
    bare = {"choices": [{"text": " 4,", "finish_reason": "length"}], "usage": USAGE, "timings": TIMINGS}
    answer = whole_reply("generate", _dump(bare), "m", 1)
    assert (answer["response"], answer["done_reason"], answer["load_duration"]) == (" 4,", "length", 0)


def test_without_timings_the_times_are_measured_here() -> None:
    """A client that shows tokens per second needs a duration, and finds one."""
    answer = whole_reply("chat", _dump({**_chat_answer(), "timings": None}), "m", 5)
    assert answer["eval_count"] == 2
    assert answer["total_duration"] == 5
    assert (answer["load_duration"], answer["prompt_eval_duration"], answer["eval_duration"]) == (0, 0, 5)


def test_thinking_and_tool_calls_are_told() -> None:
    """Reasoning is `thinking`; a tool call's arguments are an object, and the reason is `stop`."""
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = {"content": None, "reasoning_content": "hm", "tool_calls": [call]}
    answer = whole_reply("chat", _dump(_chat_answer(message, finish_reason="tool_calls")), "m", 1)
    assert answer["message"] == {
        "role": "assistant",
        "content": "",
        "thinking": "hm",
        "tool_calls": [{"id": "x", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}],
    }
    assert answer["done_reason"] == "stop"


def test_log_probabilities_are_cut_to_what_was_asked_for() -> None:
    """The token ids are the engine's own affair; alternatives appear only when asked for."""
    body = _dump(_chat_answer(logprobs=SCORES))
    [score] = whole_reply("chat", body, "m", 1)["logprobs"]
    assert score == {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}
    [score] = whole_reply("chat", body, "m", 1, top=1)["logprobs"]
    assert score["top_logprobs"] == [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b"{}",
        _dump({**_chat_answer(), "choices": []}),
        _dump({**_chat_answer(), "choices": [3]}),
        _dump({**_chat_answer(), "timings": {"prompt_ms": "x", "predicted_ms": 1}}),
        _dump(_chat_answer(finish_reason=None)),
        _dump(_chat_answer({"content": 3})),
        _dump({**_chat_answer(), "choices": [{"finish_reason": "stop"}]}),
        _dump(_chat_answer({"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]})),
        _dump(_chat_answer(logprobs=[1])),
        _dump(_chat_answer(logprobs={"content": [{}]})),
    ],
)
def test_a_missing_piece_is_nonsense(body: bytes) -> None:
    """An answer without what the protocol promises is a 502, never half an answer."""
    with pytest.raises(BackendNonsense):
        whole_reply("chat", body, "m", 1)


def test_embeddings_are_ordered_cut_and_made_length_one() -> None:
    """Vectors come in the order of the inputs; `dimensions` cuts before the length is made 1."""
    body = _dump(
        {
            "data": [{"index": 1, "embedding": [0, 0, 0]}, {"index": 0, "embedding": [3, 4, 12]}],
            "usage": {"prompt_tokens": 7},
        }
    )
    answer = embed_reply([body], "m", 9)
    assert answer["embeddings"] == [[3 / 13, 4 / 13, 12 / 13], [0, 0, 0]]
    assert {name: answer[name] for name in ("model", "total_duration", "load_duration", "prompt_eval_count")} == {
        "model": "m",
        "total_duration": 9,
        "load_duration": 0,
        "prompt_eval_count": 7,
    }
    assert embed_reply([body], "m", 9, dimensions=2)["embeddings"][0] == [0.6, 0.8]
    for wrong in (
        b"{}",
        b'{"data": 3}',
        b'{"data": [{"index": 0, "embedding": [null]}], "usage": {"prompt_tokens": 1}}',
    ):
        with pytest.raises(BackendNonsense):
            embed_reply([body, wrong], "m", 1)


def test_several_answers_become_one() -> None:
    """Their vectors stand in the order of the answers, and their counts are summed."""
    first, second = (
        _dump({"data": [{"index": 0, "embedding": vector}], "usage": {"prompt_tokens": count}})
        for vector, count in (([2, 0], 3), ([0, 5], 4))
    )
    answer = embed_reply([first, second], "m", 9)
    assert (answer["embeddings"], answer["prompt_eval_count"]) == ([[1, 0], [0, 1]], 7)


def test_tokens_are_numbers() -> None:
    """What `/tokenize` answers is a list of numbers, or nonsense."""
    assert tokens(b'{"tokens": [1, 2]}') == [1, 2]
    for wrong in (b"{}", b'{"tokens": ["a"]}'):
        with pytest.raises(BackendNonsense):
            tokens(wrong)


def test_loading_is_answered_in_the_operations_shape() -> None:
    """A load is an answer without text, done at once."""
    assert (
        loaded_reply("generate", "m", "load").items() >= {"response": "", "done": True, "done_reason": "load"}.items()
    )
    assert loaded_reply("chat", "m", "unload")["message"] == {"role": "assistant", "content": ""}


def test_a_stream_becomes_lines() -> None:
    """One line a token, in order, and the last one with reason, counts and durations."""
    lines = _translate(_chat_stream("Hi", ' "you"', "\u2028\u0085é🎈"))
    assert [line["message"]["content"] for line in lines] == ["Hi", ' "you"', "\u2028\u0085é🎈", ""]
    assert lines[0] == {"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": False}
    assert lines[-1] == END


def test_a_line_is_ended_by_a_newline_alone() -> None:
    """U+0085 and U+2028 inside a text end no line."""
    whole = StreamTranslator("chat", "m").feed(_chat_stream("a\u2028b\u0085c\rd"))
    assert len(whole.split(b"\n")) == 3
    assert json.loads(whole.split(b"\n")[0])["message"]["content"] == "a\u2028b\u0085c\rd"


def test_a_completion_stream_becomes_lines() -> None:
    """A raw stream's pieces are `response`; its reason and usage come in one event."""
    piece = {"choices": [{"text": " 4", "index": 0, "logprobs": None, "finish_reason": None}]}
    last = {"choices": [{"text": "", "finish_reason": "stop"}], "usage": USAGE, "timings": TIMINGS}
    lines = _translate(_event(piece) + _event(last) + b"data: [DONE]\n\n", operation="generate")
    assert lines[0] == {"model": "m", "response": " 4", "done": False}
    assert (lines[1]["response"], lines[1]["done_reason"], lines[1]["eval_count"]) == ("", "stop", 2)
    assert len(lines) == 2


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(min_size=1), max_size=5), st.data())
def test_any_split_of_the_bytes_gives_the_same_lines(texts: list[str], data: st.DataObject) -> None:
    """How the network cuts a stream changes nothing; not a byte is lost or doubled."""
    stream = b": ping\r\n\r\nevent: x\n" + _chat_stream(*texts)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    pieces = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]
    lines = _translate(*pieces)
    assert lines == _translate(stream)
    assert [line["message"]["content"] for line in lines] == [*texts, ""]


def test_line_ends_of_windows_and_lines_of_other_kinds_are_tolerated() -> None:
    """CRLF, comments, `event:`, `id:` and `data:` without a space are all server-sent events."""
    stream = _chat_stream("a", "b")
    assert _translate(stream.replace(b"\n", b"\r\n")) == _translate(stream)
    assert _translate(stream.replace(b"data: ", b"data:")) == _translate(stream)
    assert _translate(stream.replace(b"data: ", b": ping\nevent: message\nid: 7\ndata: ")) == _translate(stream)


@pytest.mark.parametrize(
    "told",
    [
        b'data: {"error":{"code":500,"message":"it broke","type":"server_error"}}\n\n',
        b'event: error\ndata: {"error":"it broke"}\n\n',
        b'error: {"code":500,"message":"it broke"}\n\n',
        b'error: {"error":{"message":"it broke"}}\n\n',
        b'{"error":{"message":"it broke"}}\n',
    ],
)
def test_an_error_inside_a_stream_becomes_an_error_line(told: bytes) -> None:
    """However the engine tells it, the client sees Ollama's error line, and nothing behind it."""
    start = _delta({"content": "a"})
    lines = _translate(start + told + _chat_stream("late"))
    assert lines[0]["message"]["content"] == "a"
    assert lines[1:] == [{"error": "it broke"}]


def test_a_stream_that_ends_early_has_no_last_line() -> None:
    """Nothing is made up: without a reason there is no `done`, not even behind `[DONE]`."""
    assert [line["done"] for line in _translate(_delta({"content": "a"}))] == [False]
    assert [line["done"] for line in _translate(_delta({"content": "a"}) + b"data: [DONE]\n\n")] == [False]


def test_an_end_without_usage_is_still_an_end() -> None:
    """An engine that gives a reason but no counts ends the stream with `[DONE]`: its frames are counted."""
    lines = _translate(_delta({"content": "a"}, "stop") + b"data: [DONE]\n\n")
    assert (lines[-1]["done_reason"], lines[-1]["eval_count"], lines[-1]["prompt_eval_count"]) == ("stop", 1, 0)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b"data:\n\n",
        _event({"choices": [{"delta": 3}]}),
        _event({"choices": [{"delta": {"content": 3}}]}),
        _event({"choices": [{"delta": {"tool_calls": [3]}}]}),
        _event({"choices": [{"finish_reason": 3, "delta": {}}]}),
        _delta({"content": "x"}, logprobs=[1]),
    ],
)
def test_nonsense_is_told_after_what_was_good(nonsense: bytes) -> None:
    """Lines that came before it are given, whatever chunk they shared; then the failure is raised."""
    with pytest.raises(BackendNonsense):
        _translate(nonsense)
    translator = StreamTranslator("chat", "m")
    assert json.loads(translator.feed(_delta({"content": "a"}) + nonsense))["message"]["content"] == "a"
    with pytest.raises(BackendNonsense):
        translator.feed(b"")


def test_an_endless_event_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never ends is not kept: beyond the bound it is nonsense."""
    monkeypatch.setattr(openai_stream, "MAX_EVENT_BYTES", 100)
    translator = StreamTranslator("chat", "m")
    assert translator.feed(b"data: " + b"x" * 90) == b""
    with pytest.raises(BackendNonsense):
        translator.feed(b"x" * 10)


def test_tool_calls_are_gathered_from_their_pieces() -> None:
    """A streamed call arrives whole, in one line before the last."""
    start = {"index": 0, "id": "x", "function": {"name": "f", "arguments": ""}}
    more = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"a"', ": 1}")]
    events = b"".join(_delta({"tool_calls": [call]}) for call in (start, *more))
    end = _delta({}, "tool_calls") + _event({"choices": [], "usage": USAGE, "timings": TIMINGS})
    lines = _translate(events + end)
    assert lines[0]["message"]["tool_calls"] == [
        {"id": "x", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
    ]
    assert (len(lines), lines[1]["done_reason"]) == (2, "stop")


def test_thinking_and_log_probabilities_are_streamed() -> None:
    """Both come in the line of their token."""
    [thought, token] = _translate(
        _delta({"reasoning_content": "hm"}) + _delta({"content": "Hi"}, logprobs=SCORES), top=2
    )
    assert thought["message"] == {"role": "assistant", "content": "", "thinking": "hm"}
    assert token["message"]["content"] == "Hi"
    assert [each["token"] for each in token["logprobs"][0]["top_logprobs"]] == ["Hi", "Yo"]


def test_durations_of_a_stream_fit_into_its_total() -> None:
    """The waiting is never negative and never more than the total leaves."""
    whole = StreamTranslator("chat", "m").feed(_chat_stream("a"))
    last = json.loads(whole.rstrip(b"\n").split(b"\n")[-1])
    assert 0 <= last["load_duration"] <= last["total_duration"]
    assert math.isfinite(last["total_duration"])
