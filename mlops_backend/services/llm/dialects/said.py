"""What a model said: the texts in an answer's objects, whichever dialect they speak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mlops_backend.services.llm.dialects.compact import dumped
from mlops_backend.services.llm.dialects.objects import Told
from mlops_backend.services.llm.dialects.usage import tokens_in

_TEXTS: Final = frozenset(
    {
        *("content", "text", "response", "delta", "refusal", "transcript"),
        *("thinking", "reasoning", "reasoning_content"),
        *("name", "arguments", "input", "partial_json"),
    }
)
_HOLDERS: Final = frozenset(
    {
        *("choices", "delta", "message", "content", "content_block", "output", "summary", "audio"),
        *("tool_calls", "function", "function_call"),
    }
)
# Of a call, where they are no text.
_ARGUMENTS: Final = frozenset({"arguments", "input"})
# The Responses API tells each text again at its end; sound is no text.
_NOT_SAID: Final = (".done", ".audio.delta")
# More than this many are not looked at: what is made of them is a guess.
_MOST_VALUES: Final = 50_000
_DEEPEST: Final = 12


def texts_in(told: Told) -> Iterator[str]:
    """The texts and the calls of an object of a stream, or of a whole answer."""
    kind = told.get("type")
    if isinstance(kind, str) and kind.endswith(_NOT_SAID):
        return
    left: list[Any] = [told]
    for _ in range(_MOST_VALUES):
        if not left:
            return
        value = left.pop()
        if isinstance(value, list):
            left += value[:_MOST_VALUES]
        elif isinstance(value, dict):
            yield from _texts(value)
            left += [inner for name, inner in value.items() if name in _HOLDERS]


def _texts(value: dict[str, Any]) -> Iterator[str]:
    for name, inner in value.items():
        if isinstance(inner, str) and name in _TEXTS:
            yield inner
        elif isinstance(inner, dict) and inner and name in _ARGUMENTS:
            yield dumped(inner).decode()


def words_in(told: object, depth: int = _DEEPEST) -> Iterator[tuple[str, str]]:
    """The same in their order, each with the name of the field that it stands in; no deeper than people write."""
    kind = told.get("type") if isinstance(told, dict) else None
    if depth == 0 or (isinstance(kind, str) and kind.endswith(_NOT_SAID)):
        return
    if isinstance(told, list):
        for each in told:
            yield from words_in(each, depth - 1)
    for name, inner in told.items() if isinstance(told, dict) else ():
        if isinstance(inner, str) and name in _TEXTS:
            yield name, inner
        elif isinstance(inner, dict) and inner and name in _ARGUMENTS:
            yield "arguments", dumped(inner).decode("utf-8", "replace")
        elif name in _HOLDERS:
            yield from words_in(inner, depth - 1)


def tokens_said(told: Told) -> int:
    """A guess at how many tokens the texts of a whole answer are."""
    return tokens_in(sum(map(len, texts_in(told))))
