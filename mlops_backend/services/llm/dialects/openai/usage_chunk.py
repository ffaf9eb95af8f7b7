"""The usage of an OpenAI stream: asked for on behalf of a client that did not, and taken out of the stream again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlops_backend.errors import AppError
from mlops_backend.services.llm.dialects import (
    EVENT,
    FINISHED,
    Member,
    OpenAIEnding,
    dumped,
    events_of,
    folded,
    last_of,
    members,
)

_OPTIONS: Final = "stream_options"
_OLLAMA: Final = b'"fp_ollama"'
_OF_USAGE: Final = ("usage", "choices")
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


class UnaskedUsage(OpenAIEnding):
    """An OpenAI stream whose usage the client did not ask for: what it brought with it is taken out.

    The event that says why the answer ended is held until the next one: what the usage's event tells beside the usage
    (vLLM's `system_fingerprint`, llama.cpp's `timings`) goes into it. Ollama's tells nothing more: nothing is held.
    """

    def __init__(self, choices: int = 1) -> None:
        super().__init__(choices)
        self._last = b""

    def looked_at(self, frames: bytes) -> bytes:
        """The events without the usage."""
        events = super().looked_at(frames)
        if self._last or b'"usage"' in events or FINISHED.search(events):
            events = self._without(events)
        self.passes = self._choices == 1 and not self._last
        return events

    def rest(self) -> bytes:
        """What is left, the event that was held among it."""
        left = super().rest()
        held, self._last = self._last, b""
        return held + left

    def failure(self, error: AppError, request_id: str) -> bytes:
        """What was held, and an `error` event."""
        held, self._last = self._last, b""
        return held + super().failure(error, request_id)

    def _without(self, events: bytes) -> bytes:
        kept: list[bytes] = []
        start = 0
        for found in EVENT.finditer(events):
            event = events[start : found.end()]
            start = found.end()
            if (told := _usage_chunk(event)) is not None:
                self._last = _with_members(self._last, told)
                continue
            kept.append(self._last)
            shown = _EMPTY_USAGE.sub(b"", event)
            is_last = _OLLAMA not in event and FINISHED.search(event)
            self._last, shown = (shown, b"") if is_last else (b"", shown)
            kept.append(shown)
        return b"".join((*kept, events[start:]))


def _usage_chunk(event: bytes) -> dict[str, Any] | None:
    """The object of the extra event, which has no choices and the usage of all; `None` for any other event."""
    if b'"usage"' not in event:
        return None
    for told in events_of(event):
        if told.get("choices") == [] and isinstance(told.get("usage"), dict):
            return dict(told)
    return None


def _with_members(event: bytes, told: dict[str, Any]) -> bytes:
    """An event with what another one tells and it does not, but for the usage."""
    end = event.rfind(b"}")
    own: Mapping[str, Any] = next(events_of(event), {})
    more = {name: value for name, value in told.items() if name not in own and name not in _OF_USAGE}
    if end < 0 or not more:
        return event
    return event[:end] + b"," + dumped(more)[1:-1] + event[end:]
