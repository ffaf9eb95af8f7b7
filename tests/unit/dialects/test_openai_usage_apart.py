"""The usage of a streamed completion of llama.cpp's: out of the last text's chunk, into one of its own or into none."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.errors import BackendVanished
from mlops_backend.services.llm.dialects.openai.usage_apart import usage_apart
from tests.unit.dialects.test_frames import cut

USAGE = {"completion_tokens": 3, "prompt_tokens": 2, "total_tokens": 5}
# Not as this service writes JSON, so that what is written anew would show.
TEXTS = 'data: {"choices": [{"text": "caf\u00e9 \\u00e9"}]}\n\ndata: {"choices": [{"text": "usage"}]}\n\n'.encode()
REASON: dict[str, Any] = {"choices": [{"text": "", "finish_reason": "length"}], "id": "x"}
DONE = b"data: [DONE]\n\n"
OTHERS = (
    b'data: {"choices": [], "usage": {"total_tokens": 5}}\n\n',
    b'data: {"choices": [{"text": "a"}], "usage": null}\n\n',
    b'data: {"usage": {"total_tokens": 5}}\n\n',
    b'data: {"usage"\n\n',
    b'data: ["usage"]\n\n',
    b': "usage"\n\n',
    b'error: {"message": "usage"}\n\n',
)


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


STREAM = TEXTS + _event({**REASON, "usage": USAGE, "timings": {"predicted_n": 3}}) + DONE
APART = TEXTS + _event(REASON) + _event({**REASON, "choices": [], "usage": USAGE, "timings": {"predicted_n": 3}}) + DONE


async def _passed(*chunks: bytes, wanted: bool = True) -> bytes:
    async def sent() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    return b"".join([chunk async for chunk in usage_apart(sent(), wanted=wanted)])


@given(places=st.lists(st.integers(min_value=0)))
async def test_the_usage_gets_a_chunk_of_its_own_however_the_stream_is_cut(places: list[int]) -> None:
    """It has no choices and stands before `[DONE]`; every other byte is the engine's."""
    assert await _passed(*cut(STREAM, places)) == APART


async def test_usage_that_nobody_wants_is_left_out() -> None:
    """The reason for the end stays, the counts are nowhere."""
    assert await _passed(STREAM, wanted=False) == TEXTS + _event(REASON) + DONE


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("event", OTHERS)
async def test_what_is_no_usage_beside_a_choice_passes(event: bytes, wanted: bool) -> None:
    """Not a byte of it changes, nor of an event that was never ended."""
    for stream in (event + DONE, DONE + event[:-1]):
        assert await _passed(stream, wanted=wanted) == stream


async def test_a_stream_that_breaks_is_closed_and_its_failure_told() -> None:
    """What came whole was passed on; the engine's stream is closed, also when its reader leaves."""
    closed = []

    async def broken() -> AsyncGenerator[bytes, None]:
        try:
            yield TEXTS
            raise BackendVanished("gone")
        finally:
            closed.append(True)

    passed = usage_apart(broken(), wanted=True)
    assert await anext(passed) == TEXTS
    with pytest.raises(BackendVanished):
        await anext(passed)
    async with aclosing(usage_apart(broken(), wanted=True)) as left:
        await anext(left)
    assert closed == [True, True]
