"""What was asked and answered, for a trace whose operator wants to read it: as messages, and never more than a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from pydantic_core import from_json

from mlops_backend.aside import aside
from mlops_backend.errors import AppError
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.dialects import LargeBody, dumped, events_of, lines_of, words_in
from mlops_backend.telemetry.gen_ai import INPUT, INSTRUCTIONS, OUTPUT
from mlops_backend.telemetry.record import RequestRecord

# Characters of what was asked, and of what was answered; each part of it counts as so many more.
MOST: Final = 16_384
A_PART: Final = 64
# A body that is larger is not read once more for it.
_LARGEST: Final = 1024 * 1024
# Bytes of a stream that are kept to be read at its end.
_KEPT: Final = 128 * 1024
_REASONING: Final = frozenset({"thinking", "reasoning", "reasoning_content"})
_ARGUMENTS: Final = frozenset({"arguments", "input", "partial_json"})
Part = dict[str, str]


class Watching(Protocol):
    """What watches a stream: an `Ending`, or one that is overheard."""

    def feed(self, chunk: bytes) -> bytes:
        """See `Ending.feed`."""

    def rest(self) -> bytes:
        """See `Ending.rest`."""

    def finish(self, record: RequestRecord) -> None:
        """See `Ending.finish`."""

    def settle(self, record: RequestRecord) -> None:
        """See `Ending.settle`."""

    def failure(self, error: AppError, request_id: str) -> bytes:
        """See `Ending.failure`."""


class Overheard:
    """A stream's ending that keeps the first of what passes, and tells it at the end.

    Args:
        ending: the stream's own.
    """

    def __init__(self, ending: Watching) -> None:
        self.finish, self.failure = ending.finish, ending.failure
        self._ending = ending
        self._kept: list[bytes] = []
        self._left = _KEPT

    def feed(self, chunk: bytes) -> bytes:
        """Keep what is sent."""
        passed = self._ending.feed(chunk)
        self._keep(passed)
        return passed

    def rest(self) -> bytes:
        """Keep the last of it."""
        passed = self._ending.rest()
        self._keep(passed)
        return passed

    def settle(self, record: RequestRecord) -> None:
        """Tell it."""
        try:
            self._ending.settle(record)
        finally:
            text = b"".join(self._kept)
            note_answer(record, events_of(text) if b"data:" in text else lines_of(text))

    def _keep(self, passed: bytes) -> None:
        if self._left > 0 and passed:
            self._left -= len(passed)
            self._kept.append(passed[: len(passed) + min(self._left, 0)])


async def note_request(record: RequestRecord, asked: Asked) -> None:
    """Tell what was asked, where it is JSON of ordinary size."""
    content = asked.content
    if isinstance(content, LargeBody):
        record.trace.note_asked(_asked(content.value))
    elif isinstance(content, bytes) and len(content) <= _LARGEST:
        record.trace.note_asked(await aside(len(content), _read, content))


def note_answer(record: RequestRecord, objects: Iterable[Mapping[str, Any]]) -> None:
    """Tell what was answered, whole or in a stream's objects."""
    parts = _parts((pair for told in objects for pair in words_in(told)), MOST)
    if parts:
        record.trace.note_answered({OUTPUT: _written([{"role": "assistant", "parts": parts}])})


def _read(content: bytes) -> Mapping[str, str]:
    try:
        body = from_json(content)
    except ValueError:
        return {}
    return _asked(body) if isinstance(body, dict) else {}


def _asked(body: Mapping[str, Any]) -> Mapping[str, str]:
    told, system = {}, _parts(words_in({"content": body.get("system") or body.get("instructions")}), MOST)
    if system:
        told[INSTRUCTIONS] = _written(system)
    if messages := _messages(body):
        told[INPUT] = _written(messages)
    return told


def _messages(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The last of them that there is room for, in their order."""
    said = body.get("messages") or body.get("input") or body.get("prompt")
    all_of_them = said if isinstance(said, list) else [{"role": "user", "content": said}]
    found: list[Mapping[str, Any]] = []
    left = MOST
    for message in reversed(all_of_them):
        if left <= 0:
            break
        told = message if isinstance(message, dict) else {"content": message}
        role = told.get("role")
        parts = _parts(words_in({name: value for name, value in told.items() if name != "name" or role is None}), left)
        if parts:
            left -= sum(map(_size, parts))
            found.append({"role": role[:A_PART] if isinstance(role, str) else "user", "parts": parts})
    return found[::-1]


def _parts(words: Iterable[tuple[str, str]], most: int) -> list[Part]:
    """Texts by their kind, joined where a stream cut them; so many characters of them."""
    parts: list[Part] = []
    for name, word in words:
        most -= A_PART * _begins(parts, name)
        if most <= 0:
            break
        text = word[:most].encode("utf-8", "replace").decode()
        most -= len(text)
        _add(parts, name, text)
    return parts


def _kind(name: str) -> str:
    if name == "name" or name in _ARGUMENTS:
        return "tool_call"
    return "reasoning" if name in _REASONING else "text"


def _begins(parts: Sequence[Part], name: str) -> bool:
    """Whether a word of that name is no part of the last one."""
    return name == "name" or not parts or parts[-1]["type"] != _kind(name)


def _add(parts: list[Part], name: str, text: str) -> None:
    kind = _kind(name)
    if _begins(parts, name):
        empty = {"name": "", "arguments": ""} if kind == "tool_call" else {"content": ""}
        parts.append({"type": kind, **empty})
    parts[-1]["name" if name == "name" else "arguments" if kind == "tool_call" else "content"] += text


def _size(part: Part) -> int:
    return A_PART + sum(len(text) for name, text in part.items() if name != "type")


def _written(value: Sequence[Mapping[str, Any]]) -> str:
    return dumped({"": value}).decode()[4:-1]
