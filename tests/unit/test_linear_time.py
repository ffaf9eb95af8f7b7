"""Parsers of what others send take time in proportion to it: found by doubling, so that no machine is too slow."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from time import thread_time
from typing import Any

import pytest
from werkzeug.datastructures import Headers

from mlops_backend.errors import AppError
from mlops_backend.middleware.compressed_body import plain_body
from mlops_backend.middleware.guess_guard import presented_keys
from mlops_backend.middleware.json_body import parse_json
from mlops_backend.services.llm.asked import GENERATE, OPENAI_GENERATE, read_asked
from mlops_backend.services.llm.dialects import EVENT, Frames, endings, openai_ending, value_of
from mlops_backend.services.llm.dialects.frames import LINE
from mlops_backend.services.llm.dialects.native import ROUTES
from mlops_backend.services.llm.dialects.openai import RESPONSES_PATH, StreamTranslator, with_instructions_first
from mlops_backend.services.llm.dialects.openai.calls import CallGatherer
from mlops_backend.services.llm.dialects.openai.history import in_order
from mlops_backend.services.llm.generation import estimate_prompt_tokens
from mlops_backend.telemetry.logging import mask_url
from mlops_backend.telemetry.record import RequestRecord

Work = Callable[[], object]
# Four times as much may take four times as long, and some more for caches; what is quadratic takes sixteen times.
_TIMES = 4
_MOST = 9.0
_LONG_ENOUGH = 0.004
_AGAIN = 5

TEXTS: dict[str, Callable[[int], bytes]] = {
    "digits": lambda size: b'{"prompt":"' + (b"1" * 299 + b" ") * (size // 300) + b'"}',
    "one run of digits": lambda size: b'{"prompt":"' + b"1" * size + b'"}',
    "numbers": lambda size: b'{"a":[' + b",".join([b"1" * 299] * (size // 300)) + b"]}",
    "exponents": lambda size: b'{"prompt":"' + b"1e1" * (size // 3) + b'"}',
    "spaces": lambda size: b'{"model":"m"' + b" " * size + b"}",
    "spaces at the end": lambda size: b'{"model":"m"}' + b" " * size + b"x",
    "quotation marks": lambda size: b'{"prompt":"' + b'\\"' * (size // 2) + b'"}',
    "an open text": lambda size: b'{"prompt":"' + b"x" * size,
    "names": lambda size: b"{" + b",".join(b'"%d":1' % number for number in range(size // 10)) + b"}",
    "the same name": lambda size: b"{" + b",".join([b'"model":"m"'] * (size // 12)) + b"}",
    "objects": lambda size: b'{"messages":[' + b",".join([b'{"role":"user"}'] * (size // 16)) + b"]}",
    "brackets": lambda size: b'{"a":' + b"[" * size,
    "no JSON": lambda size: b"x" * size,
    "no UTF-8": lambda size: b'{"prompt":"' + b"\xff" * size + b'"}',
    "emoji": lambda size: b'{"prompt":"' + "🙂".encode() * (size // 4) + b'"}',
}
READERS: dict[str, Callable[[bytes], object]] = {
    "our own": parse_json,
    "Ollama's": lambda body: read_asked(GENERATE, "POST", "/api/generate", (), body),
    "OpenAI's": lambda body: read_asked(OPENAI_GENERATE, "POST", "/v1/chat/completions", (), body),
    "any": value_of,
    "an estimate": estimate_prompt_tokens,
}
# They read as Ollama's do, by the same function.
IN_THE_LONG_RUN = {"OpenAI's": pytest.mark.long}


def fed(stream: Any, data: bytes, piece: int) -> object:
    """A stream's parser, fed in pieces."""
    for start in range(0, len(data), piece):
        stream.feed(data[start : start + piece])
    return stream


LINES = b'{"response":"word","done":false}\n'
EVENTS = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
STREAMS: dict[str, Callable[[int], Work]] = {
    "lines without an end": lambda size: lambda: fed(Frames(LINE), b"x" * size, 100),
    "events without an end": lambda size: lambda: fed(Frames(EVENT), b"x" * size, 100),
    "events of newlines": lambda size: lambda: fed(Frames(EVENT), b"\r\n" * (size // 2), 100),
    "lines in halves": lambda size: lambda: fed(Frames(LINE), LINES * (size // len(LINES)), 17),
    "events in halves": lambda size: lambda: fed(Frames(EVENT), EVENTS * (size // len(EVENTS)), 17),
    "an unknown stream": lambda size: lambda: fed(endings.UnknownEnding(), b"x" * size, 1000),
    "a generation": lambda size: lambda: fed(endings.generation_ending(), LINES * (size // len(LINES)), 100),
    "OpenAI's": lambda size: lambda: fed(openai_ending(), EVENTS * (size // len(EVENTS)), 100),
    "translated": lambda size: lambda: fed(StreamTranslator("chat", "m"), EVENTS * (size // len(EVENTS)), 100),
    "translated, without an end": lambda size: lambda: fed(StreamTranslator("chat", "m"), b"data: " + b"x" * size, 100),
}
OTHERS: dict[str, Callable[[int], Work]] = {
    "zstd": lambda size: lambda: plain_body(b"\x28\xb5\x2f\xfd" * (size // 4), "zstd", size),
    "a key of Basic": lambda size: lambda: presented_keys(Headers({"Authorization": "Basic " + "QQ=" * size})),
    "a key of spaces": lambda size: lambda: presented_keys(Headers({"Authorization": "Bearer" + " " * size})),
    "an address": lambda size: lambda: mask_url("http://" + "@" * size + "/" * size),
    "a model's name": lambda size: lambda: RequestRecord(id="1", method="POST").name_model("é" * size),
}


def turns(size: int, each: Callable[[int], dict[str, Any]], *first: dict[str, Any]) -> list[dict[str, Any]]:
    """A conversation of so many characters or so, most of it of one kind."""
    return [*first, *map(each, range(size // 50))]


def calling(size: int, told_id: str) -> dict[str, Any]:
    """An assistant's turn with many calls."""
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": told_id and f"{told_id}{number}", "function": function} for number in range(size // 50)]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def answering(size: int, told_id: str) -> list[dict[str, Any]]:
    """A turn with many calls, and the result of each, or many results of one."""
    named = {"tool_call_id": "a0"} if told_id == "one" else {}
    return turns(size, lambda number: {"role": "tool", "content": "x" * 9, **named}, calling(size, told_id and "a"))


def gathered(size: int, *begun: str) -> object:
    """A stream of calls that begin so, each with a piece in turn."""
    calls = CallGatherer()
    for number in range(size // 20):
        index = number % len(begun)
        calls.add({"index": index, "function": {"arguments": "1," * 10 if number >= len(begun) else begun[index]}})
        calls.begun()
    return calls.rest()


def chosen(size: int) -> object:
    """A choice of many tools, of which there are none."""
    tools = [{"type": "function", "name": f"f{number}"} for number in range(size // 50)]
    others = [{"type": "function", "name": f"g{number}"} for number in range(size // 50)]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": others}
    return ROUTES[RESPONSES_PATH]({"model": "m", "input": "Hi", "tools": tools, "tool_choice": choice})


CONVERSATIONS: dict[str, Callable[[int], Work]] = {
    "calls and results": lambda size: (
        lambda: in_order(
            turns(
                size, lambda number: {"role": "tool", "content": "x", "tool_call_id": f"a{number}"}, calling(size, "a")
            )
        )
    ),
    "calls without ids": lambda size: lambda: in_order(answering(size, "")),
    "results of one call": lambda size: lambda: in_order(answering(size, "one")),
    "results without calls": lambda size: (
        lambda: in_order(turns(size, lambda number: {"role": "tool", "content": "x", "tool_call_id": f"a{number}"}))
    ),
    "calls one by one": lambda size: lambda: in_order(turns(size, lambda number: calling(50, f"a{number}"))),
    "what waits": lambda size: (
        lambda: in_order(turns(size, lambda number: {"role": "user", "content": "x"}, calling(size, "a")))
    ),
    "assistants": lambda size: (
        lambda: in_order(
            turns(
                size, lambda number: {"role": "assistant", "content": "x"}, {"role": "assistant", "content": "x" * size}
            )
        )
    ),
    "users": lambda size: (
        lambda: with_instructions_first(
            turns(size, lambda number: {"role": "user", "content": "x"}, {"role": "user", "content": "x" * size})
        )
    ),
    "a choice of tools": lambda size: lambda: chosen(size),
    "a call behind one that is cut": lambda size: lambda: gathered(size, '{"a":[' + "1," * size, '{"a":['),
    "calls in turn": lambda size: lambda: gathered(size, '{"a":[', '{"a":[', '{"a":['),
}


def seconds(work: Work, runs: int) -> float:
    """The shortest of some runs, in the processor's time; an error of ours is an end like another."""
    best = float("inf")
    for _ in range(runs):
        started = thread_time()
        with contextlib.suppress(AppError):
            work()
        best = min(best, thread_time() - started)
    return best


def assert_linear(make: Callable[[int], Work]) -> None:
    """Work that is `_TIMES` as large takes no more than `_MOST` times as long, from a size on that can be measured."""
    size, work = 8_000, make(8_000)
    while seconds(work, 1) < _LONG_ENOUGH and size < 1_000_000:
        size *= 2
        work = make(size)
    larger = make(size * _TIMES)
    before, after = seconds(work, 3), seconds(larger, 1)
    # Memory and caches are shared with whatever else the machine does: what is quadratic is so each time.
    for _ in range(_AGAIN):
        if after < _MOST * max(before, _LONG_ENOUGH):
            break
        before, after = max(before, seconds(work, 3)), min(after, seconds(larger, 3))
    assert after < _MOST * max(before, _LONG_ENOUGH), f"{size}: {before:.4f} s, four times as much: {after:.4f} s"


@pytest.fixture(autouse=True)
def _without_collector() -> Any:
    """The garbage collector's time goes with what lives, not with what is parsed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize(
    "read", [pytest.param(read, id=name, marks=IN_THE_LONG_RUN.get(name, ())) for name, read in READERS.items()]
)
def test_a_body_is_read_in_linear_time(read: Callable[[bytes], object], text: Callable[[int], bytes]) -> None:
    """Whatever a body is made of."""

    def make(size: int) -> Work:
        body = text(size)
        return lambda: read(body)

    assert_linear(make)


@pytest.mark.parametrize("make", [*STREAMS.values(), *OTHERS.values()], ids=[*STREAMS, *OTHERS])
def test_what_arrives_in_pieces_is_read_in_linear_time(make: Callable[[int], Work]) -> None:
    """However small the pieces are, and whether or not what they are pieces of has an end."""
    assert_linear(make)


@pytest.mark.parametrize("make", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_conversation_is_put_in_order_in_linear_time(make: Callable[[int], Work]) -> None:
    """However many turns, calls and results it has, and in however many pieces calls come."""
    assert_linear(make)
