"""The usage of an OpenAI stream: asked for on behalf of a client that did not, and taken out of the stream again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pydantic_core import from_json

from mlops_backend.services.llm.dialects import (
    EVENT,
    Dialect,
    EventEnding,
    Member,
    folded,
    is_openai_end,
    last_of,
    members,
)

_OPTIONS: Final = "stream_options"
_WANTED: Final = '"include_usage":true'
# Ollama's completions carry a usage of zeros in every chunk, other servers one of null, once usage was asked for.
_EMPTY_USAGE: Final = re.compile(
    rb',\s*"usage":\s*(?:null|\{"prompt_tokens":\s*0,\s*"completion_tokens":\s*0,\s*"total_tokens":\s*0\})'
)


def wants_usage(text: str, found: Sequence[Member]) -> bool | None:
    """What the body says of `stream_options.include_usage`, as Go reads it.

    Returns:
        `None` when `stream_options` is something that no backend would take: it is left to refuse it.
    """
    wanted: bool | None = False
    for member in found:
        if folded(member.name) != _OPTIONS or member.value is None:
            continue
        inner = members(text, member.value_start)
        if inner is None:
            return None
        told = last_of(inner, "include_usage")
        wanted = wanted if told is None else bool(told)
    return wanted


def with_usage_wanted(text: str, found: Sequence[Member]) -> str:
    """The same text, but for `stream_options.include_usage`, which is true in it; everything else stays as it is."""
    options = [member for member in found if folded(member.name) == _OPTIONS]
    named = options[-1] if options else None
    if named is None:
        at = found[0].start
        return f'{text[:at]}"{_OPTIONS}":{{{_WANTED}}},{text[at:]}'
    inner = members(text, named.value_start) or ()
    kept = [text[member.start : member.end] for member in inner if folded(member.name) != "include_usage"]
    value = "{" + ",".join([*kept, _WANTED]) + "}"
    return text[: named.value_start] + value + text[named.end :]


class UnaskedUsage(EventEnding):
    """An OpenAI stream whose usage the client did not ask for: what it brought with it is taken out."""

    def __init__(self) -> None:
        super().__init__(Dialect.OPENAI, is_openai_end, 2)

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk as it arrives; gives its whole events without the usage."""
        events = super().feed(chunk)
        if b'"usage"' not in events:
            return events
        return _EMPTY_USAGE.sub(b"", _without_usage_chunk(events))


def _without_usage_chunk(chunk: bytes) -> bytes:
    kept, start = [], 0
    for found in EVENT.finditer(chunk):
        event = chunk[start : found.end()]
        start = found.end()
        if not _is_usage_chunk(event):
            kept.append(event)
    return b"".join((*kept, chunk[start:]))


def _is_usage_chunk(event: bytes) -> bool:
    """Whether an event is the extra one: no choices, and the usage of all."""
    if b'"usage"' not in event or not event.startswith(b"data:"):
        return False
    try:
        told = from_json(event[5:])
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("choices") == [] and isinstance(told.get("usage"), dict)
