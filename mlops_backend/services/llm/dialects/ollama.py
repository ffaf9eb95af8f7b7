"""Ollama's native wire format: one JSON object a line, the last one with `done` and the usage counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.errors import BackendFailed, BackendNonsense, StreamIncomplete
from mlops_backend.services.llm.dialects.compact import dumped
from mlops_backend.services.llm.dialects.tail import MAX_LINE_BYTES

_ERROR_TEXT_LIMIT: Final = 2000


def dump_line(value: Mapping[str, Any]) -> bytes:
    """One NDJSON line."""
    return dumped(value) + b"\n"


class WholeLines:
    """The same bytes, cut only behind a newline, so that a break never leaves the client half an object.

    A chunk that ends with a newline (Ollama flushes line by line) is given back untouched. Split on the byte alone:
    U+0085 and U+2028 are legal inside a JSON string.
    """

    __slots__ = ("_held", "_size")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes as they arrive; give whole lines, or nothing yet.

        Raises:
            BackendNonsense: a line longer than `MAX_LINE_BYTES`.
        """
        if not self._held and chunk.endswith(b"\n"):
            return chunk
        head, newline, tail = chunk.rpartition(b"\n")
        lines = b"".join((*self._held, head, newline)) if newline else b""
        if newline:
            self._held, self._size = [], 0
        if tail:
            self._held.append(tail)
            self._size += len(tail)
        if self._size > MAX_LINE_BYTES:
            raise BackendNonsense("The backend sent a line longer than this service accepts.")
        return lines

    def finish(self) -> bytes:
        """What is left at the end: a last line without newline gets one."""
        return b"".join((*self._held, b"\n")) if self._held else b""


def check_first(chunk: bytes) -> None:
    """Look at a stream's first line while its failure can still have a status.

    Raises:
        StreamIncomplete: there is none.
        BackendNonsense: it is not a JSON object.
        BackendFailed: it tells an error.
    """
    if not chunk:
        raise StreamIncomplete("The backend ended the stream before its first line.")
    first = parse_object(chunk.split(b"\n", 1)[0])
    if "error" in first:
        raise BackendFailed(error_text(first))


def error_text(body: Mapping[str, Any]) -> str:
    """The sentence of a backend's error object, cut to a bound."""
    error = body.get("error")
    if isinstance(error, Mapping):
        error = error.get("message")
    return str(error or "The backend failed without a reason.")[:_ERROR_TEXT_LIMIT]


def parse_object(data: bytes) -> dict[str, Any]:
    """A backend's JSON object.

    Raises:
        BackendNonsense: it is something else.
    """
    try:
        value = from_json(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BackendNonsense("The backend's answer is not the JSON that its protocol promises.")
    return value
