"""What was asked and answered, as messages and within bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops_backend.services.llm.asked import MESSAGES, OPENAI_GENERATE, OWN, Asked
from mlops_backend.services.llm.dialects import Ending, LargeBody, generation_ending
from mlops_backend.services.llm.generation.content import A_PART, MOST, Overheard, note_answer, note_request
from mlops_backend.telemetry.gen_ai import INPUT, INSTRUCTIONS, OUTPUT
from mlops_backend.telemetry.record import RequestRecord
from mlops_backend.telemetry.traces import Untraced


class Told(Untraced):
    """A trace that keeps what it is told."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}

    def note_asked(self, attributes: Any) -> None:
        """Keep it."""
        self.content |= {name: json.loads(text) for name, text in attributes.items()}

    def note_answered(self, attributes: Any) -> None:
        """Keep it."""
        self.note_asked(attributes)


@pytest.fixture
def told() -> Told:
    """A trace."""
    return Told()


@pytest.fixture
def record(told: Told) -> RequestRecord:
    """A request in it."""
    return RequestRecord(id="r", method="POST", trace=told)


def body_of(**body: Any) -> bytes:
    """A body."""
    return json.dumps(body).encode()


async def asked(record: RequestRecord, told: Told, **body: Any) -> Any:
    """The messages of a body."""
    told.content.clear()
    await note_request(record, Asked(OPENAI_GENERATE, "POST", "/v1/chat/completions", content=body_of(**body)))
    return told.content.get(INPUT)


async def test_messages_have_their_parts(record: RequestRecord, told: Told) -> None:
    """Texts, thoughts and calls; of an image nothing, and the name of who speaks is no call."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    call = {"function": {"name": "weather", "arguments": {"city": "Bern"}}}
    found = await asked(
        record,
        told,
        messages=[
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": "What is it?"}, image]},
            {"role": "assistant", "thinking": "Hm.", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "rain"},
        ],
    )
    assert found == [
        {"role": "user", "parts": [{"type": "text", "content": "What is it?"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hm."},
                {"type": "text", "content": ""},
                {"type": "tool_call", "name": "weather", "arguments": '{"city":"Bern"}'},
            ],
        },
        {"role": "tool", "parts": [{"type": "text", "content": "rain"}]},
    ]
    assert "AAAA" not in json.dumps(told.content)


async def test_of_long_conversations_the_last_is_told(record: RequestRecord, told: Told) -> None:
    """As many characters as there is room for, and the newest of them."""
    messages = [{"role": "user", "content": f"{number} " + "x" * 1000} for number in range(100)]
    found = await asked(record, told, messages=messages)
    assert found[-1]["parts"][0]["content"] == messages[-1]["content"]
    assert sum(len(part["content"]) + A_PART for message in found for part in message["parts"]) == MOST


async def test_many_small_messages_are_no_large_span(record: RequestRecord, told: Told) -> None:
    """Nor are many calls, nor a role that is none: what is written around the texts counts too."""
    messages = [{"role": "r" * 1000, "content": "x"}] * 100_000
    assert len(json.dumps(await asked(record, told, messages=messages))) < 4 * MOST
    call = {"function": {"name": "f", "arguments": ""}}
    note_answer(record, [{"message": {"tool_calls": [call] * 100_000}}])
    assert len(json.dumps(told.content[OUTPUT])) < 4 * MOST


async def test_odd_bodies_tell_what_can_be_told(record: RequestRecord, told: Told) -> None:
    """Half a character, tokens in the place of a text, messages that are none: nothing of that fails."""
    note_answer(record, [{"response": "a\ud800b"}])
    assert told.content[OUTPUT][0]["parts"] == [{"type": "text", "content": "a?b"}]
    assert await asked(record, told, prompt=[1, 2, 3]) is None
    assert await asked(record, told, messages=[None, 7, {"role": 3, "content": {"content": "deep"}}, "said"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "deep"}]},
        {"role": "user", "parts": [{"type": "text", "content": "said"}]},
    ]
    assert await asked(record, told, messages={"role": "user"}) is None


async def test_what_is_no_json_or_very_large_is_not_told(record: RequestRecord, told: Told) -> None:
    """A form, an upload, a body of more than a mebibyte; one of our own making is there already, however large."""
    for content in (b"--form", b"[1]", body_of(prompt="x" * 2**20), None):
        await note_request(record, Asked(OPENAI_GENERATE, "POST", "/v1/completions", content=content))
    assert told.content == {}
    large = LargeBody({"messages": [{"role": "user", "content": "Hi"}], "images": ["x" * 2**20]}, 2**20)
    await note_request(record, Asked(OWN, "POST", "/api/chat", content=large))
    assert told.content[INPUT] == [{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]


async def test_a_system_prompt_stands_apart(record: RequestRecord, told: Told) -> None:
    """As Anthropic has it, in pieces or as one text."""
    for system in ("Be brief.", [{"type": "text", "text": "Be brief."}]):
        await note_request(record, Asked(MESSAGES, "POST", "/v1/messages", content=body_of(system=system)))
        assert told.content.pop(INSTRUCTIONS) == [{"type": "text", "content": "Be brief."}]


def test_pieces_of_a_stream_are_joined(record: RequestRecord, told: Told) -> None:
    """Thoughts, text and calls, each in one part, in their order."""
    deltas: list[dict[str, Any]] = [
        *({"reasoning_content": "Let"}, {"reasoning_content": " me."}),
        *({"content": "It "}, {"content": "is."}),
        {"tool_calls": [{"index": 0, "function": {"name": "weather", "arguments": ""}}]},
        *({"tool_calls": [{"index": 0, "function": {"arguments": text}}]} for text in ('{"city"', ':"Bern"}')),
    ]
    note_answer(record, [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas])
    (message,) = told.content[OUTPUT]
    assert message["role"] == "assistant"
    assert message["parts"] == [
        {"type": "reasoning", "content": "Let me."},
        {"type": "text", "content": "It is."},
        {"type": "tool_call", "name": "weather", "arguments": '{"city":"Bern"}'},
    ]


def test_a_whole_answer_keeps_the_order_of_its_parts(record: RequestRecord, told: Told) -> None:
    """Anthropic's blocks stand one behind the other."""
    blocks = [
        {"type": "text", "text": "one "},
        {"type": "text", "text": "two"},
        {"type": "tool_use", "name": "f", "input": {"x": 1}},
    ]
    note_answer(record, [{"role": "assistant", "content": blocks}])
    assert told.content[OUTPUT][0]["parts"] == [
        {"type": "text", "content": "one two"},
        {"type": "tool_call", "name": "f", "arguments": '{"x":1}'},
    ]


def overheard(record: RequestRecord, *chunks: bytes) -> bytes:
    """What an overheard stream passes on."""
    inner: Ending = generation_ending()
    ending = Overheard(inner)
    passed = b"".join([*map(ending.feed, chunks), ending.rest()])
    ending.settle(record)
    return passed


def test_a_stream_passes_unchanged(record: RequestRecord, told: Told) -> None:
    """What is kept is what the client gets, cut or not; a last line without its end is heard too."""
    lines = [b'{"response":"a"}\n{"resp', b'onse":"b"}\n', b'{"response":"c","done":true}']
    assert overheard(record, *lines) == b"".join(lines)
    assert told.content[OUTPUT][0]["parts"] == [{"type": "text", "content": "abc"}]


def test_of_a_long_stream_the_first_is_kept(record: RequestRecord, told: Told) -> None:
    """All of it passes, and no more than a page of it is kept."""
    line = body_of(response="x" * 999) + b"\n"
    assert overheard(record, *[line] * 1000) == line * 1000
    (part,) = told.content[OUTPUT][0]["parts"]
    assert part["content"] == "x" * (MOST - A_PART)


def test_an_answer_without_words_tells_nothing(record: RequestRecord, told: Told) -> None:
    """As one of numbers."""
    note_answer(record, [{"embeddings": [[1.0]]}])
    assert told.content == {}
