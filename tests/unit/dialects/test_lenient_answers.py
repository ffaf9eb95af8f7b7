"""Answers of servers that do not hold to OpenAI's words: whole all the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects.openai.options import sampling
from mlops_backend.services.llm.dialects.openai.replies import embed_reply, whole_reply
from mlops_backend.services.llm.dialects.openai.stops import StopWatch
from mlops_backend.services.llm.dialects.openai.stream import StreamTranslator
from mlops_backend.services.llm.dialects.openai.tools import names_to_restore, tool_choice, tool_list

USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def piece(delta: Any, reason: Any = None, **more: Any) -> bytes:
    """One event with a piece of the answer."""
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more})


def call(**fields: Any) -> dict[str, Any]:
    """A fragment of a tool call."""
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return {**fields, "function": function}


def estimated(characters: int, frames: int) -> Mapping[str, int]:
    """An estimate that is known again."""
    return {"prompt_tokens": 1000, "completion_tokens": max(characters // 4, frames)}


def lines(*events: bytes, **told: Any) -> list[dict[str, Any]]:
    """What Ollama's client gets of a stream that ended properly."""
    translator = StreamTranslator("chat", "m", estimate=estimated, **told)
    whole = b"".join([*map(translator.feed, events), translator.end()])
    return [json.loads(line) for line in whole.splitlines()]


def text(told: list[dict[str, Any]]) -> str:
    """All that was said."""
    return "".join(line["message"]["content"] for line in told)


ENDS = {
    "no [DONE]": [piece({"content": "Hi"}), piece({}, "stop", usage=USAGE)],
    "no [DONE] and no usage": [piece({"content": "Hi"}), piece({}, "stop")],
    "an empty reason before": [piece({"content": "Hi"}, ""), piece({}, "stop"), b"data: [DONE]\n\n"],
    "no delta": [piece({"content": "Hi"}), piece(None), event({"choices": [{"finish_reason": "stop"}]})],
    "a comment beside": [
        piece({"content": "Hi"}),
        piece({}, "stop"),
        b": cost 3\n" + event({"choices": [], "usage": USAGE}),
    ],
    "parts": [piece({"content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}), piece({}, "stop")],
}


@pytest.mark.parametrize("name", ENDS)
def test_a_whole_stream_is_whole(name: str) -> None:
    """A reason and a proper end are enough."""
    told = lines(*ENDS[name])
    assert text(told) == "Hi"
    assert (told[-1]["done"], told[-1]["done_reason"]) == (True, "stop")
    assert {"prompt_eval_count", "eval_count", "prompt_eval_duration", "eval_duration", "load_duration"} <= told[
        -1
    ].keys()


def test_a_stream_that_is_cut_has_no_end() -> None:
    """Whatever `[DONE]` says."""
    for end in (b"", b"data: [DONE]\n\n"):
        assert lines(piece({"content": "Hi"}), end)[-1].get("done") is False


def test_a_usage_of_nothing_is_none() -> None:
    """Zeros beside a text are what a server says that does not count; told numbers stay."""
    zero = {"prompt_tokens": 0, "completion_tokens": 0}
    for usage, counts in ((zero, (1000, 2)), ({"prompt_tokens": 7}, (7, 2)), (None, (1000, 2)), (USAGE, (3, 2))):
        last = lines(piece({"content": "Hi"}), piece({"content": " you"}), piece({}, "stop", usage=usage))[-1]
        assert (last["prompt_eval_count"], last["eval_count"]) == counts


CALLS: dict[str, tuple[list[bytes], list[tuple[str, dict[str, Any]]]]] = {
    "two under one index, told apart by ids": (
        [
            piece({"tool_calls": [call(index=0, id="a", name="f", arguments='{"x":')]}),
            piece({"tool_calls": [call(index=0, arguments="1}")]}),
            piece({"tool_calls": [call(index=0, id="b", name="g", arguments="{}")]}),
        ],
        [("f", {"x": 1}), ("g", {})],
    ),
    "two of one id, told apart by their indexes": (
        [
            piece({"tool_calls": [call(index=0, id="a", name="f", arguments='{"x":')]}),
            piece({"tool_calls": [call(index=1, id="a", name="g", arguments='{"y":2')]}),
            piece({"tool_calls": [call(index=0, id="a", arguments="1}")]}),
            piece({"tool_calls": [call(index=1, id="a", arguments="}")]}),
        ],
        [("f", {"x": 1}), ("g", {"y": 2})],
    ),
    "two under one index, in turn": (
        [
            piece({"tool_calls": [call(index=0, id="a", name="f", arguments='{"x":')]}),
            piece({"tool_calls": [call(index=0, id="b", name="g", arguments='{"y":')]}),
            piece({"tool_calls": [call(index=0, id="a", arguments="1}")]}),
            piece({"tool_calls": [call(index=0, id="b", arguments="2}")]}),
        ],
        [("f", {"x": 1}), ("g", {"y": 2})],
    ),
    "no name": (
        [piece({"tool_calls": [call(index=0, id="a", arguments="{}"), call(index=1, name="g", arguments="{}")]})],
        [("g", {})],
    ),
    "without an index": (
        [piece({"tool_calls": [call(id="a", name="f", arguments="{}"), call(id="b", name="g", arguments='{"y":2}')]})],
        [("f", {}), ("g", {"y": 2})],
    ),
    "without index and id": (
        [piece({"tool_calls": [call(name="f", arguments='{"x":')]}), piece({"tool_calls": [call(arguments="1}")]})],
        [("f", {"x": 1})],
    ),
    "null": ([piece({"tool_calls": [call(index=0, name="f", arguments=None)]})], [("f", {})]),
    "an object": ([piece({"tool_calls": [call(index=0, name="f", arguments={"x": 1})]})], [("f", {"x": 1})]),
    "a scalar": ([piece({"tool_calls": [call(index=0, name="f", arguments="5")]})], [("f", {})]),
    "the name again": (
        [
            piece({"tool_calls": [call(index=0, id="a", name="f", arguments="{")]}),
            piece({"tool_calls": [call(index=0, id="a", name="f", arguments="}")]}),
        ],
        [("f", {})],
    ),
    "their heads first": (
        [
            piece({"tool_calls": [call(index=0, id="a", name="f", arguments="")]}),
            piece({"tool_calls": [call(index=1, id="b", name="g", arguments=" ")]}),
            piece({"tool_calls": [call(index=0, arguments='{"x":'), call(index=1, arguments='{"y":')]}),
            piece({"tool_calls": [call(index=1, arguments="2}")]}),
            piece({"tool_calls": [call(index=0, arguments="1}")]}),
        ],
        [("f", {"x": 1}), ("g", {"y": 2})],
    ),
    "one without arguments before another": (
        [
            piece({"tool_calls": [call(index=0, id="a", name="f", arguments="")]}),
            piece({"tool_calls": [call(index=1, id="b", name="g", arguments='{"y":2}')]}),
        ],
        [("f", {}), ("g", {"y": 2})],
    ),
    "one bad call": (
        [piece({"tool_calls": [call(index=0, name="f", arguments="{"), call(index=1, name="g", arguments="{}")]})],
        [("g", {})],
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_told_apart(name: str) -> None:
    """One a line, as a genuine Ollama sends them; one that is out of shape costs no good one."""
    events, expected = CALLS[name]
    told = lines(*events, piece({}, "tool_calls", usage=USAGE))
    made = [line["message"]["tool_calls"] for line in told if "tool_calls" in line["message"]]
    assert [len(calls) for calls in made] == [1] * len(expected)
    assert [(each[0]["function"]["name"], each[0]["function"]["arguments"]) for each in made] == expected
    assert [each[0]["function"]["index"] for each in made] == list(range(len(expected)))


def test_a_call_leaves_as_soon_as_it_is_whole() -> None:
    """The next one has begun behind it."""
    translator = StreamTranslator("chat", "m")
    assert translator.feed(piece({"tool_calls": [call(index=0, id="a", name="f", arguments="{}")]})) == b""
    assert b'"f"' in translator.feed(piece({"tool_calls": [call(index=1, id="b", name="g", arguments="{}")]}))


def test_an_id_is_a_text() -> None:
    """Clients check it; a number is spelt."""
    (told, _) = lines(piece({"tool_calls": [call(index=0, id=7, name="f", arguments="{}")]}, "stop", usage=USAGE))
    assert told["message"]["tool_calls"][0]["id"] == "7"


def test_a_name_has_a_bound() -> None:
    """A server that goes on with it for ever is not listened to any more."""
    grown = [piece({"tool_calls": [call(index=0, id="a", name=name * 100)]}) for name in "ab" * 6]
    with pytest.raises(BackendNonsense):
        lines(*grown, piece({}, "tool_calls", usage=USAGE))


def test_the_last_call_leaves_with_the_reason() -> None:
    """It does not wait for the counts: some clients take what comes at once for one line."""
    translator = StreamTranslator("chat", "m", stops=("STOP",))
    assert translator.feed(piece({"tool_calls": [call(index=0, id="a", name="f", arguments="{}")]})) == b""
    assert b'"f"' in translator.feed(piece({}, "tool_calls"))
    assert b'"done":true' in translator.feed(piece({}, usage=USAGE))


def test_a_call_stays_behind_what_may_become_a_stop() -> None:
    """The text that is held back comes first; and a call without arguments may still get some."""
    first = [piece({"content": "so ST"}), piece({"tool_calls": [call(index=0, id="a", name="f", arguments="{}")]})]
    translator = StreamTranslator("chat", "m", stops=("STOP",))
    told = b"".join(map(translator.feed, [*first, piece({}, "tool_calls"), piece({}, usage=USAGE)]))
    assert told.index(b'"ST"') < told.index(b'"f"')
    late = [piece({"tool_calls": [call(index=0, name="f", arguments=part)]}) for part in ("", '{"x":1}')]
    [said, _] = lines(piece({"tool_calls": [call(index=0, name="f")]}, "tool_calls"), *late)
    assert said["message"]["tool_calls"][0]["function"]["arguments"] == {"x": 1}


def test_a_call_that_the_limit_cut_is_left_out() -> None:
    """The text and the counts stay, and the reason is `length`."""
    cut = piece({"tool_calls": [call(index=0, id="a", name="f", arguments='{"x":')]})
    told = lines(piece({"content": "Hi"}), cut, piece({}, "length", usage=USAGE))
    assert text(told) == "Hi"
    assert not any("tool_calls" in line["message"] for line in told)
    assert (told[-1]["done_reason"], told[-1]["eval_count"]) == ("length", 2)
    with pytest.raises(BackendNonsense):
        lines(cut, piece({}, "stop", usage=USAGE))


def test_names_come_back_as_they_were_sent() -> None:
    """A strict server was told another one."""
    told = lines(
        piece({"tool_calls": [call(index=0, name="a_b", arguments="{}")]}), piece({}, "stop"), names={"a_b": "a.b"}
    )
    assert told[0]["message"]["tool_calls"][0]["function"]["name"] == "a.b"


def test_names_that_are_sent_alike_are_told_apart() -> None:
    """Long ones are not cut to the same; a name that another tool has already is not taken for it."""
    long = [f"mcp__{'x' * 80}__{end}" for end in ("read", "write")]
    tools = [{"function": {"name": name}} for name in (*long, "a.b", "a_b", "c.d")]
    sent = [tool["function"]["name"] for tool in tool_list(tools)]
    assert [len(name) for name in sent] == [64, 64, 3, 3, 3]
    assert names_to_restore(tools) == {**dict(zip(sent, long, strict=False)), "c_d": "c.d"}
    choice = {"tool_choice": {"type": "function", "function": {"name": long[0]}}}
    assert tool_choice(choice)["tool_choice"]["function"]["name"] == sent[0]


def test_an_answer_is_cut_at_a_stop_that_the_server_was_not_told() -> None:
    """Across pieces; what only looked like one is given; nothing is read behind it."""
    events = [piece({"content": part}) for part in ("one ST", "ILL two S", "TOP", " three")]
    told = lines(*events, piece({}, "length"), stops=["STOP", "x"])
    assert text(told) == "one STILL two "
    assert (told[-1]["done"], told[-1]["done_reason"]) == (True, "stop")
    assert text(lines(piece({"content": "an S"}), piece({}, "stop"), stops=["STOP"])) == "an S"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_stop_is_found_however_the_text_is_cut(size: int) -> None:
    """The first of several wins."""
    whole, stops = "aab aabaab STO STOP and END", ["STOP", "END", "aabaac"]
    watch, told = StopWatch(stops), ""
    for start in range(0, len(whole), size):
        told += watch.feed(whole[start : start + size])
        if watch.met:
            break
    assert (told, watch.met) == ("aab aabaab STO ", "STOP")


def test_a_whole_answer_without_usage_or_index_is_whole() -> None:
    """It is estimated; vectors come in the order in which they stand."""
    answer = {"choices": [{"message": {"content": "Hello you"}, "finish_reason": "stop"}]}
    told = whole_reply("chat", json.dumps(answer).encode(), "m", 9, stops=[" you"], estimate=estimated)
    assert (told["message"]["content"], told["prompt_eval_count"], told["eval_count"]) == ("Hello", 1000, 2)
    vectors = embed_reply(
        [json.dumps({"data": [{"embedding": [1.0]}, {"embedding": [-1.0]}]}).encode()], "m", 1, estimate=estimated
    )
    assert (vectors["embeddings"], vectors["prompt_eval_count"]) == ([[1.0], [-1.0]], 1000)


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "greedy": ({"top_p": 0, "temperature": 1}, {"temperature": 0}),
    "hot": ({"temperature": 2.5}, {"temperature": 2}),
    "all of them": ({"top_k": 0}, {"top_k": -1}),
    "over the context": ({"num_predict": 100_000}, {}),
    "within": ({"num_predict": 100}, {"max_tokens": 100}),
    "no penalty": ({"repeat_penalty": 0}, {}),
    "stops": ({"stop": list("abcdef")}, {"stop": list("abcd")}),
    "penalties": ({"presence_penalty": 9, "frequency_penalty": -9}, {"presence_penalty": 2, "frequency_penalty": -2}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_beyond_openais_bounds_are_asked_for_in_other_words(name: str) -> None:
    """Ollama takes them; a strict server would refuse the whole request."""
    asked, expected = OPTIONS[name]
    assert sampling(asked, llama_cpp=False, context=4096) == expected
