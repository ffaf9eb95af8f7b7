"""The text of a stream that tells no usage: how near the guess comes, in each dialect, however the stream is cut."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from mlops_backend.services.llm.dialects import OpenAIEnding, endings, tokens_said
from mlops_backend.services.llm.dialects.endings import Ending, UnknownEnding
from mlops_backend.services.llm.dialects.objects import lines_of
from mlops_backend.services.llm.dialects.text_seen import TextSeen

ENGLISH: Final = (
    "the",
    " of",
    " a",
    " token",
    "ization",
    " is",
    " under",
    "standing",
    " I",
    ".",
    ",\n",
    ' "so',
    " said",
)
SCRIPTS: Final = (*ENGLISH, " größer", " 日本", "語", "です")
Piece = tuple[bytes, str]


def event(told: Any, name: str = "") -> bytes:
    """One server-sent event."""
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(told).encode() + b"\n\n"


def chunk(delta: dict[str, Any], **more: Any) -> bytes:
    """One event of a chat, as a server writes it."""
    choice = {"index": 0, "delta": delta, "finish_reason": None, **more}
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "Qwen/Qwen3-8B", "choices": [choice]})


def texts(words: tuple[str, ...], count: int, most: int, seed: int) -> Iterator[str]:
    """Pieces of an answer, each of up to so many words."""
    chance = random.Random(seed)
    for _ in range(count):
        yield "".join(chance.choices(words, k=chance.randint(1, most)))


def openai(said: Iterator[str]) -> Iterator[Piece]:
    """A chat of OpenAI's, which ends with zeros for a usage."""
    yield chunk({"role": "assistant", "content": ""}), ""
    yield from ((chunk({"content": text}), text) for text in said)
    yield chunk({}, finish_reason="stop"), ""
    yield event({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}), ""
    yield b"data: [DONE]\n\n", ""


def scored(said: Iterator[str]) -> Iterator[Piece]:
    """The same with scores of each token, which take more room than it and differ."""
    for number, text in enumerate(said):
        top = [{"token": "x" * (number * 7 % 11), "logprob": -number / 7} for _ in range(3 + number % 3)]
        scores = {"content": [{"token": text, "logprob": -1.5, "bytes": list(text.encode()), "top_logprobs": top}]}
        yield chunk({"content": text}, logprobs=scores), text


def called(said: Iterator[str]) -> Iterator[Piece]:
    """Text, and then the arguments of a call."""
    pieces = list(said)
    for text in pieces[: len(pieces) // 2]:
        yield chunk({"content": text}), text
    for text in pieces[len(pieces) // 2 :]:
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}), text


def anthropic(said: Iterator[str]) -> Iterator[Piece]:
    """A thought and a text of Anthropic's, with a ping between."""
    pieces = list(said)
    half = len(pieces) // 2
    yield (
        event({"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 1}}}, "message_start"),
        "",
    )
    for index, (kind, part) in enumerate((("thinking", pieces[:half]), ("text", pieces[half:]))):
        yield event({"type": "content_block_start", "index": index, "content_block": {"type": kind, kind: ""}}), ""
        yield event({"type": "ping"}, "ping"), ""
        for text in part:
            delta = {"type": f"{kind}_delta", kind: text}
            yield event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta"), text


def responses(said: Iterator[str]) -> Iterator[Piece]:
    """The Responses API, which begins with all that was asked and ends with all that was said."""
    asked = {"instructions": "Be kind. " * 1000, "tools": [{"name": "f", "parameters": {}}] * 9}
    yield event({"type": "response.created", "response": asked}, "response.created"), ""
    pieces = list(said)
    for text in pieces:
        told = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "delta": text}
        yield event(told, "response.output_text.delta"), text
    whole = "".join(pieces)
    yield event({"type": "response.output_text.done", "text": whole}, "response.output_text.done"), ""
    yield event({"type": "response.content_part.done", "part": {"text": whole}}, "response.content_part.done"), ""
    output = [{"content": [{"type": "output_text", "text": whole}]}]
    yield event({"type": "response.completed", "response": {"output": output}}, "response.completed"), ""


def ollama(said: Iterator[str]) -> Iterator[Piece]:
    """Ollama's lines."""
    for text in said:
        yield json.dumps({"model": "m", "created_at": "2026-01-01T00:00:00Z", "response": text}).encode() + b"\n", text


# How, with which words, how many of them in a frame, and how far off, in hundredths.
STREAMS: Final[dict[str, tuple[Callable[[], Ending], Callable[[Iterator[str]], Iterator[Piece]], Any, int, int]]] = {
    "tokens": (OpenAIEnding, openai, ENGLISH, 1, 10),
    "sentences": (OpenAIEnding, openai, ENGLISH, 40, 5),
    "sentences in several scripts": (OpenAIEnding, openai, SCRIPTS, 40, 15),
    "scores": (OpenAIEnding, scored, ENGLISH, 3, 30),
    "calls": (OpenAIEnding, called, ENGLISH, 6, 30),
    "Anthropic's": (endings.messages_ending, anthropic, ENGLISH, 6, 20),
    "Responses": (endings.ResponsesEnding, responses, ENGLISH, 6, 20),
    "Ollama's": (endings.generation_ending, ollama, ENGLISH, 6, 5),
}


@pytest.mark.parametrize("together", [1, 5])
@pytest.mark.parametrize("count", [3, 20, 100, 2000])
@pytest.mark.parametrize("name", STREAMS)
def test_the_guess_is_near(name: str, count: int, together: int) -> None:
    """All that is exact of a short stream, and what is said above of a long one."""
    make, shape, words, most, off = STREAMS[name]
    for seed in range(3):
        ending, pieces = make(), list(shape(texts(words, count, most, seed)))
        for start in range(0, len(pieces), together):
            ending.feed(b"".join(frames for frames, _ in pieces[start : start + together]))
        said = "".join(text for _, text in pieces)
        right = max(sum(bool(text) for _, text in pieces), -(-len(said) // 4))
        exact = len(pieces) <= 25
        assert abs(ending.tokens() - right) <= (0 if exact else right * off / 100), (ending.tokens(), right)


def test_sentences_are_charged_by_their_letters() -> None:
    """68 of them in three frames are 17 tokens, and not three."""
    ending = OpenAIEnding()
    for text in ("The sky is blue today, ", "and so it was yesterday, ", "as it will be again."):
        ending.feed(chunk({"content": text}))
    assert ending.tokens() == 17


def test_a_text_of_megabytes_is_counted_and_not_kept() -> None:
    """Nor what is as long and no text."""
    ending = endings.ResponsesEnding()
    ending.feed(event({"type": "response.created", "response": {"instructions": "x" * 3_000_000}}))
    for _ in range(3):
        ending.feed(event({"type": "response.output_text.delta", "delta": "y" * 1_000_000}))
    ending.feed(event({"type": "response.completed", "response": {"output": []}}))
    assert ending.tokens() == 750_000
    seen = TextSeen(lines_of)
    for _ in range(9):
        seen.take(json.dumps({"response": "y" * 1_000_000}).encode() + b"\n")
    assert not seen._kept
    assert seen.tokens([]) == 2_250_000


def test_what_is_kept_of_a_long_stream_is_bounded() -> None:
    """Whatever its chunks hold."""
    seen = TextSeen(lines_of)
    for _ in range(20_000):
        seen.take(b'{"response":"a b "}\n' * 500)
    assert sum(len(frames) for _, _, frames in seen._kept) <= 31 * 4096
    assert 9_500_000 < seen.tokens([]) < 10_500_000


def test_comments_are_no_frames() -> None:
    """Some servers send one every few seconds while they think."""
    ending = OpenAIEnding()
    for _ in range(50):
        ending.feed(chunk({"content": "word "}))
        ending.feed(b": ping - 2026-01-01 00:00:00\n\n")
    assert ending.tokens() == 63


@pytest.mark.parametrize("together", [1, 3, 1000])
def test_an_unknown_stream_is_counted_by_its_last_bytes(together: int) -> None:
    """Known texts by their letters; of anything else a line is a token."""
    ending, stream = UnknownEnding(), b"".join(event({"text": "sixteen letters.", "n": 1}) for _ in range(3000))
    for start in range(0, len(stream), 50 * together):
        ending.feed(stream[start : start + 50 * together])
    assert 11_500 < ending.tokens() < 12_500
    ending = UnknownEnding()
    ending.feed(b'{"progress":1}\n' * 7)
    assert ending.tokens() == 7


WHOLE: Final[dict[str, dict[str, Any]]] = {
    "OpenAI": {"choices": [{"message": {"content": "68 letters" * 6}}, {"message": {"reasoning": "thought."}}]},
    "text": {"choices": [{"text": "68 letters" * 6 + "thought."}], "prompt": "not said"},
    "call": {"choices": [{"message": {"tool_calls": [{"function": {"name": "f" * 8, "arguments": "x" * 60}}]}}]},
    "Ollama": {"message": {"content": "x" * 62, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}},
    "Anthropic": {"type": "message", "content": [{"type": "text", "text": "x" * 61}, {"input": {"x": 1}}]},
    "Responses": {
        "instructions": "not said",
        "output": [{"summary": [{"text": "x" * 8}]}, {"content": [{"text": "x" * 60}]}],
        "text": {"format": {"type": "text"}},
    },
    "free text": {"output": [{"type": "custom_tool_call", "name": "f" * 8, "input": "x" * 60}]},
    "transcript": {"text": "x" * 68, "segments": [{"text": "not said again"}]},
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_a_whole_answer_says_is_counted(name: str) -> None:
    """And nothing of what it repeats of the question."""
    assert tokens_said(WHOLE[name]) in (17, 18)


def test_vectors_say_nothing() -> None:
    """Nor do the documents that a reranker gives back."""
    assert tokens_said({"data": [{"embedding": [1.0], "object": "embedding"}], "model": "m"}) == 0
    assert tokens_said({"results": [{"document": {"text": "long"}, "relevance_score": 1}]}) == 0
