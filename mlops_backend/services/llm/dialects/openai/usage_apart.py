"""The usage of llama.cpp's streamed completions, which comes with the last text: moved to where OpenAI's API has it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.services.llm.dialects import EVENT, Frames, dumped

_DATA: Final = b"data: "
_USAGE: Final = b'"usage"'
_COUNTS: Final = ("usage", "timings")


async def usage_apart(chunks: AsyncGenerator[bytes, None], *, wanted: bool) -> AsyncGenerator[bytes, None]:
    """The same stream, in whole events, and no usage beside a choice.

    Args:
        chunks: the engine's own, cut anywhere; closed at the end.
        wanted: whether the usage gets a chunk of its own, without choices, as the engine's chats have it.

    Raises:
        BackendNonsense: an event longer than `MAX_FRAME_BYTES`.
        AppError: what `chunks` raises.
    """
    events = Frames(EVENT)
    async with aclosing(chunks):
        async for chunk in chunks:
            if whole := events.feed(chunk):
                yield _apart(whole, wanted=wanted) if _USAGE in whole else whole
    if left := events.rest():
        yield left


def _apart(events: bytes, *, wanted: bool) -> bytes:
    lines = events.split(b"\n")
    return b"\n".join(_line(line, wanted=wanted) if _USAGE in line else line for line in lines)


def _line(line: bytes, *, wanted: bool) -> bytes:
    told = _object(line)
    if told is None or not told.get("choices") or not isinstance(told.get("usage"), dict):
        return line
    last = _DATA + dumped({name: value for name, value in told.items() if name not in _COUNTS})
    return last + b"\n\n" + _DATA + dumped({**told, "choices": []}) if wanted else last


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = from_json(line.removeprefix(_DATA))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
