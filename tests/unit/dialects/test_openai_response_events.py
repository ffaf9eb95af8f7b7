"""The events of llama.cpp's `/v1/responses`, completed: each is what OpenAI's own library says that it is."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from mlops_backend.errors import BackendVanished
from mlops_backend.services.llm.dialects.openai import completed_events, completed_response
from tests.unit.dialects.test_frames import cut

ASKED: Final = {"model": "m", "stream": True, "temperature": 0.5, "max_tokens": 9, "instructions": "Be brief."}
EVENT: Final = TypeAdapter[Any](ResponseStreamEvent)
USAGE: Final = {"input_tokens": 5, "output_tokens": 4, "total_tokens": 9, "input_tokens_details": {"cached_tokens": 3}}
BEGUN: Final = {"id": "resp_1", "object": "response", "status": "in_progress"}
THOUGHT: Final = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [], "encrypted_content": ""}
SAID: Final = {"type": "output_text", "annotations": [], "logprobs": [], "text": "Hi"}
CALL: Final = {"type": "function_call", "call_id": "fc_1", "name": "look", "arguments": "{}"}
OUTPUT: Final[Sequence[dict[str, Any]]] = (
    {**THOUGHT, "content": [{"type": "reasoning_text", "text": "Hm"}]},
    {"type": "message", "status": "completed", "id": "msg_1", "content": [SAID], "role": "assistant"},
    {**CALL, "status": "completed"},
)
ENDED: Final = {**BEGUN, "created_at": 7, "status": "completed", "model": "m", "output": OUTPUT, "usage": USAGE}
# As the engine writes them, with the place that each has: the item, and the part of it.
TOLD: Final[Sequence[tuple[dict[str, Any], int | None, int | None]]] = (
    ({"type": "response.created", "response": BEGUN}, None, None),
    ({"type": "response.in_progress", "response": BEGUN}, None, None),
    ({"type": "response.output_item.added", "item": {**THOUGHT, "status": "in_progress"}}, 0, None),
    ({"type": "response.reasoning_text.delta", "item_id": "rs_1", "delta": "Hm"}, 0, 0),
    (
        {
            "type": "response.output_item.added",
            "item": {"content": [], "id": "msg_1", "role": "assistant", "status": "in_progress", "type": "message"},
        },
        1,
        None,
    ),
    (
        {"type": "response.content_part.added", "item_id": "msg_1", "part": {"type": "output_text", "text": ""}},
        1,
        0,
    ),
    ({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Hi"}, 1, 0),
    ({"type": "response.output_item.added", "item": {**CALL, "arguments": "", "status": "in_progress"}}, 2, None),
    ({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "{}"}, 2, None),
    ({"type": "response.output_item.done", "item": OUTPUT[0]}, 0, None),
    ({"type": "response.output_text.done", "item_id": "msg_1", "text": "Hi"}, 1, 0),
    ({"type": "response.content_part.done", "item_id": "msg_1", "part": SAID}, 1, 0),
    ({"type": "response.output_item.done", "item": OUTPUT[1]}, 1, None),
    ({"type": "response.output_item.done", "item": OUTPUT[2]}, 2, None),
    ({"type": "response.completed", "response": ENDED, "timings": {"predicted_n": 4}}, None, None),
)
# What is no event of a response, and what was never ended.
OTHERS: Final = (
    b'event: error\ndata: {"error": {"message": "caf\xc3\xa9"}}\n\n',
    b'data: {"type": "ping"}\n\n',
    b'data: {"type"\n\n',
    b"data: [DONE]\n\n",
    b": a comment\n\n",
)


def _event(event: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), json.dumps(event).encode())


STREAM: Final = b"".join(_event(event) for event, *_ in TOLD)


async def _passed(*chunks: bytes) -> bytes:
    async def sent() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    return b"".join([chunk async for chunk in completed_events(sent(), ASKED)])


def _read(stream: bytes) -> list[dict[str, Any]]:
    """The events, each under the name that its own type is."""
    assert stream.endswith(b"\n\n")
    found = []
    for event in stream.decode().removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


@given(places=st.lists(st.integers(min_value=0)))
async def test_each_event_is_whole_however_the_stream_is_cut(places: list[int]) -> None:
    """OpenAI's own types take it; the numbers count from 0; each has the place of its item and of its part."""
    events = _read(await _passed(*cut(STREAM, places)))
    for event in events:
        EVENT.validate_python(event, strict=True)
    assert [event["sequence_number"] for event in events] == list(range(len(TOLD)))
    assert [(event.get("output_index"), event.get("content_index")) for event in events] == [told[1:] for told in TOLD]


async def test_what_the_engine_says_is_kept() -> None:
    """Each text, name and count of its own stays, what is unknown to OpenAI's types as well."""
    for event, (told, *_) in zip(_read(await _passed(STREAM)), TOLD, strict=True):
        inner = {name: value for name, value in told.items() if isinstance(value, dict) and name != "timings"}
        assert event.items() >= {name: value for name, value in told.items() if name not in inner}.items()
    completed = _read(await _passed(STREAM))[-1]
    assert completed["timings"] == {"predicted_n": 4}
    assert completed["response"]["usage"]["input_tokens_details"]["cached_tokens"] == 3
    assert [item["type"] for item in completed["response"]["output"]] == ["reasoning", "message", "function_call"]


async def test_the_response_says_what_was_asked_and_when_it_began() -> None:
    """From its first event on: the model, the settings, no output yet; one time for the beginning in all of them."""
    created, _, *_, completed = _read(await _passed(STREAM))
    begun, ended = created["response"], completed["response"]
    assert (begun["model"], begun["output"], begun["usage"]) == ("m", [], None)
    for response in (begun, ended):
        assert (response["temperature"], response["max_output_tokens"]) == (0.5, 9)
        assert response["instructions"] == "Be brief."
    assert begun["created_at"] == ended["created_at"] > 1_000_000_000
    assert ended["completed_at"] >= ended["created_at"]
    assert begun["completed_at"] is None


def test_a_whole_answer_is_whole() -> None:
    """OpenAI's own types take it, with the time that the engine tells."""
    told = completed_response(json.dumps(ENDED).encode(), ASKED)
    response = Response.model_validate_json(told, strict=True)
    assert response.output_text == "Hi"
    assert response.created_at == 7


@pytest.mark.parametrize("other", OTHERS)
async def test_what_is_no_event_of_a_response_passes(other: bytes) -> None:
    """Not a byte of it changes, nor of an event that was never ended; it takes no number."""
    assert await _passed(other) == other
    begun = _event(TOLD[0][0])
    passed = await _passed(begun, other, begun[:-1])
    assert passed.endswith(other + begun[:-1])


@pytest.mark.parametrize("told", [b"", b"no JSON", b"[1]"])
def test_a_whole_answer_that_is_no_object_passes(told: bytes) -> None:
    """Not a byte of it changes."""
    assert completed_response(told, ASKED) == told


async def test_a_stream_that_breaks_is_closed_and_its_failure_told() -> None:
    """What came whole was passed on; the engine's stream is closed, also when its reader leaves."""
    closed = []

    async def broken() -> AsyncGenerator[bytes, None]:
        try:
            yield STREAM
            raise BackendVanished("gone")
        finally:
            closed.append(True)

    passed = completed_events(broken(), ASKED)
    assert len(_read(await anext(passed))) == len(TOLD)
    with pytest.raises(BackendVanished):
        await anext(passed)
    async with aclosing(completed_events(broken(), ASKED)) as left:
        await anext(left)
    assert closed == [True, True]


def test_details_of_usage_that_are_not_told_are_none() -> None:
    """Not one token."""
    told = {"id": "r", "model": "m", "output": [], "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}}
    usage = json.loads(completed_response(json.dumps(told).encode(), {"model": "m"}))["usage"]
    assert usage["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 0}
