"""The usage of an OpenAI stream: asked for on behalf of a client that did not, and taken out of the stream again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pydantic_core import from_json

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects.endings import EventEnding, is_openai_end
from mlops_backend.services.llm.dialects.families import Dialect
from mlops_backend.services.llm.dialects.go_json import Member, bytes_of, folded, last_of, members
from mlops_backend.services.llm.dialects.tail import MAX_LINE_BYTES

_OPTIONS: Final = "stream_options"
_WANTED: Final = '"include_usage":true'
# Ollama's completions carry a usage of zeros in every chunk, other servers one of null, once usage was asked for.
_EMPTY_USAGE: Final = re.compile(
    rb',\s*"usage":\s*(?:null|\{"prompt_tokens":\s*0,\s*"completion_tokens":\s*0,\s*"total_tokens":\s*0\})'
)
_BOUNDARY: Final = re.compile(rb"\r?\n\r?\n")


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


def with_usage_wanted(text: str, found: Sequence[Member]) -> bytes:
    """The same body, but for `stream_options.include_usage`, which is true in it; everything else keeps its bytes."""
    options = [member for member in found if folded(member.name) == _OPTIONS]
    named = options[-1] if options else None
    if named is None:
        at = found[0].start
        return bytes_of(f'{text[:at]}"{_OPTIONS}":{{{_WANTED}}},{text[at:]}')
    inner = members(text, named.value_start) or ()
    kept = [text[member.start : member.end] for member in inner if folded(member.name) != "include_usage"]
    value = "{" + ",".join([*kept, _WANTED]) + "}"
    return bytes_of(text[: named.value_start] + value + text[named.end :])


class UnaskedUsage(EventEnding):
    """An OpenAI stream whose usage the client did not ask for: what it brought with it is taken out.

    Events are looked at only where they are whole; a part of one is held until the rest has come.
    """

    def __init__(self) -> None:
        super().__init__(Dialect.OPENAI, is_openai_end, 2)
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        """Note a chunk that passes; gives its whole events without the usage.

        Raises:
            BackendNonsense: an event longer than `MAX_LINE_BYTES`.
        """
        if self._held or not chunk.endswith((b"\n\n", b"\r\n\r\n")):
            chunk = self._whole_events(chunk)
        if not chunk:
            return b""
        self.tail.feed(chunk)
        if b'"usage"' not in chunk:
            return chunk
        chunk = _EMPTY_USAGE.sub(b"", chunk)
        return _without_usage_chunk(chunk) if b'"usage"' in chunk else chunk

    def rest(self) -> bytes:
        """An unfinished event at the very end is passed on as it came."""
        left, self._held = b"".join(self._held), []
        if left:
            self.tail.feed(left)
        return left

    def _whole_events(self, chunk: bytes) -> bytes:
        self._held.append(chunk)
        self._size += len(chunk)
        if self._size > MAX_LINE_BYTES:
            raise BackendNonsense("The backend sent an event longer than this service accepts.")
        if b"\n" not in chunk:
            return b""
        joined = b"".join(self._held)
        end = max((found.end() for found in _BOUNDARY.finditer(joined)), default=0)
        self._held, self._size = ([joined[end:]], len(joined) - end) if end < len(joined) else ([], 0)
        return joined[:end]


def _without_usage_chunk(chunk: bytes) -> bytes:
    kept, start = [], 0
    for found in _BOUNDARY.finditer(chunk):
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
