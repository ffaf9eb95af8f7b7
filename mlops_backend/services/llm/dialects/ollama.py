"""Ollama's native wire format: one JSON object a line, the last one with `done` and the usage counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.errors import BackendFailed, BackendNonsense, StreamIncomplete
from mlops_backend.services.llm.dialects.compact import dumped

_ERROR_TEXT_LIMIT: Final = 2000
_MOST_DETAILS: Final = 5


def dump_line(value: Mapping[str, Any]) -> bytes:
    """One NDJSON line."""
    return dumped(value) + b"\n"


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
    """The sentence of a backend's error object, cut to a bound.

    Ollama's `error` is a text, OpenAI's an object with a `message`, which some leave bare; FastAPI's `detail` is a text
    or a list, whose `input` may be the whole request and is not told.
    """
    error = body.get("error")
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("detail")
    told = error or body.get("message") or _detail(body.get("detail"))
    return str(told or "The backend failed without a reason.")[:_ERROR_TEXT_LIMIT]


def _detail(detail: Any) -> str:
    if not isinstance(detail, list):
        return str(detail or "")
    rows = [row for row in detail[:_MOST_DETAILS] if isinstance(row, Mapping)]
    return "; ".join(f"{'.'.join(map(str, row.get('loc') or ()))}: {row.get('msg')}".lstrip(": ") for row in rows)


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
