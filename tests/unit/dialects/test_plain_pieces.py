"""Events that are read by their text alone: which are, and that the lines are those of events read in full."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects.openai.pieces import Conversing
from mlops_backend.services.llm.dialects.openai.plain import PlainPieces
from mlops_backend.services.llm.dialects.openai.stream import StreamTranslator
from tests.servers.replies import FOLDER, Replies

Feed = Callable[[bytes], bytes]
_CHANGING: Final = re.compile(rb'"(?:created_at|[a-z_]+_duration)":(?:"[^"]*"|\d+)')
STREAMS: Final[dict[str, tuple[Conversing, bytes]]] = {
    f"{file.stem} {kind}": ("generate" if "/completions" in kind and "chat" not in kind else "chat", told.body)
    for file in sorted(FOLDER.glob("*.json"))
    for kind, told in Replies.read(file.stem).told.items()
    if "completions" in kind and "streamed" in kind and told.kind.startswith("text/event-stream")
}
USAGE: Final = {"prompt_tokens": 3, "completion_tokens": 2}
WORDS: Final = (" sky", " naïve", "🙂", "\n", '"', "\\", "\x7f\u2028\u0085", " blue")


class Ways:
    """How often events were read by their text alone, and how often in full."""

    def __init__(self) -> None:
        self.quick = self.full = 0


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    """Counts what translators do."""
    counted, like_learnt, in_full = Ways(), PlainPieces.like_learnt, StreamTranslator._in_full

    def quick(pieces: PlainPieces, events: bytes) -> bytes:
        lines = like_learnt(pieces, events)
        counted.quick += bool(lines)
        return lines

    def full(translator: StreamTranslator, data: bytes) -> bytes:
        counted.full += 1
        return in_full(translator, data)

    monkeypatch.setattr(PlainPieces, "like_learnt", quick)
    monkeypatch.setattr(StreamTranslator, "_in_full", full)
    return counted


def event(*choices: object, **more: object) -> bytes:
    """One event, as most servers write it."""
    told = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    return b"data: " + json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def piece(text: object, /, **more: object) -> bytes:
    """One event with a piece of text; `more` stands beside its choice."""
    return event({"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}, **more)


def thought(text: object, name: str = "reasoning_content") -> bytes:
    """One event with a piece of thinking."""
    return event({"index": 0, "delta": {name: text}, "finish_reason": None})


def translated(chunks: Iterable[bytes], operation: Conversing = "chat", *, learns: bool = True) -> list[bytes]:
    """What each chunk gives, without what the time of day changes; an error at its end is told as a text."""
    translator, given_back = StreamTranslator(operation, "m"), []
    if not learns:
        translator._pieces._misses = 1000
    try:
        for chunk in chunks:
            given_back.append(_CHANGING.sub(b"", translator.feed(chunk)))
        given_back.append(_CHANGING.sub(b"", translator.end()))
    except BackendNonsense as error:
        given_back.append(error.message.encode())
    return given_back


def by_events(stream: bytes) -> list[bytes]:
    """A stream as its server wrote it: an event at a time."""
    return [part for part in re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", stream) if part]


@pytest.mark.parametrize(("operation", "stream"), STREAMS.values(), ids=STREAMS)
def test_a_recorded_stream_gives_the_same_either_way(operation: Conversing, stream: bytes, ways: Ways) -> None:
    """To the byte: event by event, two by two, and where most of it comes at once."""
    events = by_events(stream)
    pairs = [b"".join(events[at : at + 2]) for at in range(0, len(events), 2)]
    for chunks in (events, pairs, [*events[:3], b"".join(events[3:])]):
        assert translated(chunks, operation) == translated(chunks, operation, learns=False)
    assert ways.full


@pytest.mark.parametrize(
    "name",
    [
        "vllm_0_32_0 /v1/chat/completions streamed with usage",
        "vllm_0_32_0 /v1/completions streamed",
        "vllm_0_32_0 /v1/chat/completions thinking streamed",
        "llama_cpp_b11549 /v1/chat/completions streamed",
        "llama_cpp_python_0_3_36 /v1/chat/completions streamed",
        "transformers_5_19_0 /v1/chat/completions streamed",
        "smg_1_13_0 /v1/chat/completions streamed",
    ],
)
def test_most_events_of_real_servers_are_read_by_their_text_alone(name: str, ways: Ways) -> None:
    """All but the first, those at the end, and the first behind each change."""
    operation, stream = STREAMS[name]
    events = by_events(stream)
    translated(events, operation)
    assert ways.quick >= len(events) / 2


def test_a_server_that_writes_another_id_into_each_event_is_read_in_full(ways: Ways) -> None:
    """It is not learnt for ever: what does not help is left."""
    chunks = [*(piece("word", id=str(number)) for number in range(30)), *[piece("word")] * 5]
    assert translated(chunks) == translated(chunks, learns=False)
    assert ways.quick == 0


def test_an_envelope_that_changes_is_learnt_again(ways: Ways) -> None:
    """As the second in which it was made does, in some servers' events."""
    chunks = [piece("word", created=number // 10) for number in range(200)]
    assert translated(chunks) == translated(chunks, learns=False)
    assert ways.quick == 200 - 20


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("operation", ["chat", "generate"])
@pytest.mark.parametrize("kind", ["text", "content", "reasoning_content", "reasoning"])
def test_the_commonplace_event_is_read_by_its_text_alone(
    word: str, ascii_only: bool, operation: Conversing, kind: str, ways: Ways
) -> None:
    """Whatever the text is, and however it is spelt."""
    choices = [{"text": word} if kind == "text" else {"delta": {kind: text}} for text in ("first", word, word)]
    chunks = [
        b"data:" + json.dumps({"choices": [choice]}, ensure_ascii=ascii_only).encode() + b"\r\n\r\n"
        for choice in choices
    ]
    chunks = [chunks[0], chunks[1], chunks[2] * 3]
    assert translated(chunks, operation) == translated(chunks, operation, learns=False)
    assert ways.quick == 2


UNUSUAL: Final = {
    "the usage": event(usage=USAGE),
    "the usage beside a text": piece("a", usage=USAGE),
    "figures beside a text": piece("a", timings={"prompt_ms": 1}),
    "a call": event({"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "f"}}]}}),
    "a call beside a text": event({"index": 0, "delta": {"content": "a", "tool_calls": [{"function": {"name": "f"}}]}}),
    "thinking": thought("hm"),
    "thinking beside a text": event({"index": 0, "delta": {"content": "a", "reasoning": "b"}}),
    "two choices": event({"delta": {"content": "a"}}, {"delta": {"content": "b"}}),
    "scores": event({"delta": {"content": "a"}, "logprobs": {"content": [{"token": "a", "logprob": 0.0}]}}),
    "an error": event(error={"message": "no"}),
    "an error in another place": piece("a", object="error", message="no"),
    "a reason": event({"index": 0, "delta": {"content": "a"}, "logprobs": None, "finish_reason": "stop"}),
    "a reason alone": event({"index": 0, "delta": {}, "finish_reason": "length"}),
    "the end": b"data: [DONE]\n\n",
    "a comment": b": ping\n\n",
    "an error outside": b"error: no\n\n",
    "no text": piece(""),
    "null": piece(None),
    "a number": piece(1),
    "parts": piece([{"type": "text", "text": "a"}]),
    "broken UTF-8": piece("@").replace(b"@", b"\xff"),
    "half a pair": piece("@").replace(b"@", rb"\ud83d"),
    "a control character": piece("@").replace(b"@", b"\x01"),
    "a newline": piece("@").replace(b"@", b"\n"),
    "an escape of nothing": piece("@").replace(b"@", rb"\x"),
    "a text that ends early": piece("@").replace(b"@", b'a","b":"'),
    "another content behind": piece("@").replace(b"@", b'a","content":"b'),
    "a call behind": piece("@").replace(b"@", b'a","tool_calls":[{"function":{"name":"f"}}],"c":"'),
    "half an event": piece("a")[:-20],
    "an event and a half": piece("a") + piece("b")[:-20],
    "an event and another": piece("a") + event({"delta": {"content": "b"}}),
    "an event and one of another id": piece("a") + piece("b", id="d") + piece("c"),
    "an event and the end": piece("a") + b"data: [DONE]\n\n",
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_any_other_event_is_read_in_full(name: str, ways: Ways) -> None:
    """It is none like that before it; what comes behind is read as ever."""
    chunks = [piece("one"), piece("two"), UNUSUAL[name], piece("three"), piece("four"), UNUSUAL[name], piece("five")]
    quick = translated(chunks)
    assert ways.quick >= 1
    assert quick == translated(chunks, learns=False)
    translator = StreamTranslator("chat", "m")
    translator.feed(piece("one"))
    ways.quick = 0
    with suppress(BackendNonsense):
        translator.feed(UNUSUAL[name])
    assert ways.quick == 0


LEARNT_OF: Final = {
    "its text is also somewhere else": piece("a", content="a", text="a"),
    "its text stands before it too": b'data: {"content":"a","choices":[{"delta":{"content":"a"}}]}\n\n',
    "what is looked for is what it says": b'data: {"content":"x","choices":[{"delta":{"content":"another"}}]}\n\n',
    "or the other word is": b'data: {"content":"x","choices":[{"delta":{"content":"one"}}]}\n\n',
    "a name spelt otherwise": b'data: {"content":"a","choices":[{"delta":{"\\u0063ontent":"a"}}]}\n\n',
    "a name twice": b'data: {"choices":[{"delta":{"content":"a","content":"b"}}]}\n\n',
    "blanks between": b'data: { "choices" : [ { "delta" : { "content" : "a" } } ] } \n\n',
    "a text that looks like an event": piece('{"content":"a"}'),
    "thinking by two names": b'data: {"choices":[{"delta":{"reasoning":"a","reasoning_content":"a"}}]}\n\n',
}


@pytest.mark.parametrize("name", LEARNT_OF)
@pytest.mark.parametrize("text", ["b", "another", "one", "x"])
def test_what_is_learnt_is_where_the_text_stands(name: str, text: str) -> None:
    """And nothing that looks like it: changed in any place, an event gives what it does when it is read in full."""
    first = LEARNT_OF[name]
    places = [found.start() for found in re.finditer(rb'"(?:a|b|x|one|another)"', first)]
    others = [first[:at] + f'"{text}"'.encode() + first[first.index(b'"', at + 1) + 1 :] for at in places]
    for other in others:
        assert translated([first, other]) == translated([first, other], learns=False)


@pytest.mark.parametrize(
    "more", [{"usage": USAGE}, {"timings": {"prompt_ms": 1, "predicted_ms": 2}}], ids=["usage", "figures"]
)
def test_figures_beside_a_text_are_taken_each_time(more: dict[str, Any]) -> None:
    """The last ones count, also where they are those of an event before the last but one."""
    other = event(usage={"prompt_tokens": 9, "completion_tokens": 9}, timings={"prompt_ms": 9, "predicted_ms": 9})
    end = event({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunks = [piece("a", **more), other, piece("b", **more), end, b"data: [DONE]\n\n"]
    names = (
        "prompt_eval_count",
        "eval_count",
        *(("prompt_eval_duration", "eval_duration") if "timings" in more else ()),
    )
    told = []
    for misses in (0, 1000):
        translator = StreamTranslator("chat", "m")
        translator._pieces._misses = misses
        last = json.loads(b"".join(map(translator.feed, chunks)).splitlines()[-1])
        told.append([last[name] for name in names])
    assert told[0] == told[1]


def test_an_event_whose_beginning_came_before_is_not_learnt() -> None:
    """What comes of it may look like an event of its own."""
    chunks = [b'data: {"q":"', b'data:","choices":[{"delta":{"content":"a"}}]}\n\n', piece("b")]
    assert translated(chunks) == translated(chunks, learns=False)
    assert b'"content":"a"' in b"".join(translated(chunks))


def test_stops_are_watched_for(ways: Ways) -> None:
    """Each text has to be looked at where one may end the answer."""
    translator = StreamTranslator("chat", "m", stops=("END",))
    lines = b"".join(translator.feed(piece(text)) for text in ("one", "two", "E", "ND", "more"))
    assert [json.loads(line).get("done") for line in lines.splitlines()] == [False, False, True]
    assert ways.quick == 0


def test_a_long_event_is_not_kept(ways: Ways) -> None:
    """What is learnt stays for as long as a stream does."""
    chunks = [piece("a", padding="x" * 5000)] * 3
    assert translated(chunks) == translated(chunks, learns=False)
    assert ways.quick == 0


def test_each_kind_counts(ways: Ways) -> None:
    """Where a server tells no usage, what was read quickly is part of the guess."""
    seen: list[tuple[int, int]] = []

    def estimated(characters: int, frames: int) -> dict[str, int]:
        seen.append((characters, frames))
        return {"prompt_tokens": 0, "completion_tokens": frames}

    for chunks in ([thought("hmm")] * 5 + [piece("word")] * 5, [thought("hmm") * 5 + piece("word") * 5]):
        translator = StreamTranslator("chat", "m", estimate=estimated)
        for chunk in (*chunks, event({"delta": {}, "finish_reason": "stop"})):
            translator.feed(chunk)
        translator.end()
    assert seen == [(35, 10)] * 2
    assert ways.quick == 8


_TEXTS: Final = st.one_of(st.text(), st.sampled_from(['"', "\\", '","content":"x', '"}', '"}}]}', "}]}\n\ndata: "]))
_DELTAS: Final[Sequence[Callable[[str], Any]]] = (
    lambda text: {"delta": {"content": text}},
    lambda text: {"delta": {"role": "assistant", "content": text}},
    lambda text: {"delta": {"reasoning": text, "content": ""}},
    lambda text: {"text": text},
    lambda text: {"delta": {"content": [{"text": text}]}},
    lambda text: {"delta": {"content": "one", "refusal": {"content": text}}},
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(_DELTAS), _TEXTS, st.booleans()), max_size=8), st.data())
def test_any_stream_gives_the_same_either_way(told: list[tuple[Any, str, bool]], data: st.DataObject) -> None:
    """Whatever its texts are, wherever they stand, and however it is cut."""
    events = [
        b"data: " + json.dumps({"choices": [delta(text)]}, ensure_ascii=plain).encode() for delta, text, plain in told
    ]
    joined = b"\n\n".join([*events, b""])
    cuts = data.draw(st.lists(st.integers(0, len(joined)), max_size=4).map(sorted))
    chunks = [joined[start:end] for start, end in zip([0, *cuts], [*cuts, len(joined)], strict=True)]
    for each in (chunks, [event + b"\n\n" for event in events]):
        assert translated(each) == translated(each, learns=False)
