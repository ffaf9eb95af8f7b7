"""Which calls have one answer, and which of them are the same."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from mlops_backend.services.other.response_cache import Call, Kind, read_call

MESSAGES: Final = [{"role": "user", "content": "Hi"}]
CHAT: Final[dict[str, Any]] = {"model": "m", "messages": MESSAGES}
COLD: Final[dict[str, Any]] = {**CHAT, "temperature": 0}
OLLAMA: Final[dict[str, Any]] = {"model": "m", "prompt": "Hi", "options": {"temperature": 0}}
RESPONSE: Final[dict[str, Any]] = {"model": "m", "input": "Hi", "temperature": 0, "store": False}


def read(kind: Kind, body: Any) -> Call | None:
    """The call in a body."""
    return read_call(kind, body if isinstance(body, bytes) else json.dumps(body).encode())


def image(url: str) -> dict[str, Any]:
    """A chat about an image."""
    return {**COLD, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}


HAVE_ONE: Final[list[tuple[Kind, Any]]] = [
    (Kind.OLLAMA, OLLAMA),
    (Kind.OLLAMA, {**OLLAMA, "options": {"temperature": 0.0}}),
    (Kind.OLLAMA, {**OLLAMA, "options": {"seed": 0, "temperature": 1}}),
    (Kind.OLLAMA, {**CHAT, "options": {"seed": 7}, "stream": True}),
    (Kind.EMBEDDINGS, {"model": "m", "input": ["a", "b"]}),
    (Kind.EMBEDDINGS, {"model": "m", "prompt": "a"}),
    (Kind.OPENAI, COLD),
    (Kind.OPENAI, {**CHAT, "seed": 7}),
    (Kind.OPENAI, {"model": "m", "prompt": "Hi", "temperature": 0}),
    (Kind.OPENAI, {**COLD, "tools": [{"type": "function", "function": {"name": "f"}}]}),
    (Kind.OPENAI, image("data:image/png;base64,AA==")),
    (Kind.RESPONSES, RESPONSE),
    (Kind.ANTHROPIC, COLD),
    (Kind.ANTHROPIC, {**COLD, "tools": [{"name": "f", "input_schema": {"properties": {"url": {"type": "string"}}}}]}),
]
HAVE_NONE: Final[dict[str, tuple[Kind, Any]]] = {
    "warm": (Kind.OPENAI, {**CHAT, "temperature": 0.1}),
    "nothing said": (Kind.OPENAI, CHAT),
    "chance": (Kind.OPENAI, {**CHAT, "seed": -1}),
    "true is no number": (Kind.OPENAI, {**CHAT, "seed": True}),
    "false is no number": (Kind.OPENAI, {**CHAT, "temperature": False}),
    "not where Ollama reads it": (Kind.OLLAMA, {**CHAT, "temperature": 0}),
    "not where OpenAI reads it": (Kind.OPENAI, {**CHAT, "options": {"temperature": 0}}),
    "a seed that Anthropic does not know": (Kind.ANTHROPIC, {**CHAT, "seed": 1}),
    "a load": (Kind.OLLAMA, {"model": "m", "options": {"temperature": 0}}),
    "an unload": (Kind.OLLAMA, {**OLLAMA, "prompt": "", "keep_alive": 0}),
    "no text to embed": (Kind.EMBEDDINGS, {"model": "m", "input": []}),
    "what was before": (Kind.RESPONSES, {**RESPONSE, "previous_response_id": "resp_1"}),
    "a conversation": (Kind.RESPONSES, {**RESPONSE, "conversation": "conv_1"}),
    "a stored prompt": (Kind.RESPONSES, {**RESPONSE, "prompt": {"id": "pmpt_1"}}),
    "a response that is stored": (Kind.RESPONSES, {**RESPONSE, "store": True}),
    "one that is stored unasked": (Kind.RESPONSES, {"model": "m", "input": "Hi", "temperature": 0}),
    "later": (Kind.RESPONSES, {**RESPONSE, "background": True}),
    "a search": (Kind.RESPONSES, {**RESPONSE, "tools": [{"type": "web_search"}]}),
    "Anthropic's search": (Kind.ANTHROPIC, {**COLD, "tools": [{"type": "web_search_20250305", "name": "s"}]}),
    "OpenAI's search": (Kind.OPENAI, {**COLD, "web_search_options": {"user_location": {}}}),
    "servers of tools": (Kind.ANTHROPIC, {**COLD, "mcp_servers": [{"name": "x"}]}),
    "tools that are none": (Kind.OPENAI, {**COLD, "tools": {"type": "function"}}),
    "an image elsewhere": (Kind.OPENAI, image("https://example.org/a.png")),
    "a model that is no text": (Kind.OPENAI, {**COLD, "model": ["m"]}),
    "a name that stands twice": (Kind.OPENAI, b'{"model":"m","prompt":"a","prompt":"b","temperature":0}'),
    "a name in other capitals": (Kind.OPENAI, b'{"model":"m","Model":"n","prompt":"a","temperature":0}'),
    "a name twice further in": (Kind.OPENAI, b'{"model":"m","messages":[{"role":"user","role":"x"}],"temperature":0}'),
    "no number": (Kind.OPENAI, b'{"model":"m","prompt":"a","temperature":0,"top_p":NaN}'),
    "no object": (Kind.OPENAI, b'["m"]'),
    "no JSON": (Kind.OPENAI, b'{"model":"m"'),
    "something behind it": (Kind.OPENAI, b'{"model":"m","prompt":"a","temperature":0} {}'),
    "no Unicode": (Kind.OPENAI, b'{"model":"m","prompt":"\xff","temperature":0}'),
    "UTF-16": (Kind.OPENAI, json.dumps(COLD).encode("utf-16")),
    "too deep": (Kind.OPENAI, b'{"model":"m","temperature":0,"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
}


@pytest.mark.parametrize(("kind", "body"), HAVE_ONE)
def test_calls_that_have_one_answer(kind: Kind, body: Any) -> None:
    """A temperature of 0, a seed, and embeddings; tools of the client and images inside change nothing."""
    call = read(kind, body)
    assert call is not None
    assert call.model == "m"


@pytest.mark.parametrize(("kind", "body"), HAVE_NONE.values(), ids=HAVE_NONE)
def test_calls_that_have_not(kind: Kind, body: Any) -> None:
    """Chance, what lies elsewhere, what asks nothing, and what two readers would read in two ways."""
    assert read(kind, body) is None


def test_equal_calls_are_one() -> None:
    """The order of members, blanks and escapes make no difference; members that change no answer neither."""
    plain = read(Kind.OPENAI, b'{"model":"m","messages":[{"role":"user","content":"\xc3\xa4"}],"temperature":0}')
    other = read(
        Kind.OPENAI,
        b'{ "temperature" : 0, "user": "bob", "metadata": {"a": "b"},\n'
        b'"messages":[{"content":"\\u00e4","role":"user"}],"model":"m" }',
    )
    assert plain is not None
    assert plain == other


@pytest.mark.parametrize(
    "more",
    [
        {"model": "n"},
        {"messages": [*MESSAGES, *MESSAGES]},
        {"stream": True},
        {"stream_options": {"include_usage": True}},
        {"max_tokens": 5},
        {"seed": 1},
        {"an_option_of_tomorrow": 1},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
    ids=lambda more: next(iter(more)),
)
def test_others_are_others(more: dict[str, Any]) -> None:
    """Whatever may change the answer or its framing makes another call, also a member that nobody here knows."""
    first, second = read(Kind.OPENAI, COLD), read(Kind.OPENAI, {**COLD, **more})
    assert first is not None
    assert second is not None
    assert first.text != second.text


def test_what_an_answer_repeats_is_a_part_of_the_call() -> None:
    """The Responses API has `user` and `metadata` in its answers."""
    assert read(Kind.RESPONSES, RESPONSE) != read(Kind.RESPONSES, {**RESPONSE, "user": "bob"})
