"""Bodies that are written while they are sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mlops_backend.services.llm.dialects import LargeBody, value_of

VALUES: dict[str, dict[str, Any]] = {
    "a long text": {"model": "m", "prompt": "x" * 3_000_000},
    "marks": {"prompt": 'say "hi" \\ \n \x01 \u2028' * 100_000},
    "letters of four bytes": {"prompt": "\U0001f642é" * 400_000, "é": 1},
    "many numbers": {"context": list(range(300_000)), "options": {}, "none": None},
    "many members": {"a": {str(number): [number] for number in range(20_000)}},
    "deep": {"a": [[[[[[[[[["x" * 300_000]]]]]]]]]]},
    "empty": {"a": [], "b": {}, "c": "", "d": 1.5, "e": True},
}


@pytest.mark.parametrize("name", VALUES)
async def test_it_is_the_value_compact(name: str) -> None:
    """The text is JSON's shortest, as long as was told, and the same when it is sent again to another backend."""
    value = VALUES[name]
    body = await LargeBody.of(value)
    for _ in range(2):
        text = b"".join([piece async for piece in body])
        assert text == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(body) == len(text)
    assert value_of(body) is value


async def test_others_have_turns() -> None:
    """Measured in turns that another task gets, not in time."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    body = await LargeBody.of({"prompt": "x" * 16_000_000})
    while_measured, turns = turns, 0
    pieces = [piece async for piece in body]
    other.cancel()
    assert while_measured > 30
    assert turns > 50
    assert max(map(len, pieces)) < 600_000
