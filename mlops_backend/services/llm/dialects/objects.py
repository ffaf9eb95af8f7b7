"""Objects: what the frames of a stream hold, and what tells that the backend failed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.services.llm.dialects.go_json import is_too_deep
from mlops_backend.services.llm.dialects.ollama import error_text

Told = Mapping[str, Any]
DONE: Final[Told] = {"[DONE]": True}
_BARE: Final = b"error:"


def lines_of(text: bytes) -> Iterator[Told]:
    """The objects of NDJSON lines; what is no object is passed over."""
    for line in text.split(b"\n"):
        if (told := _object(line)) is not None:
            yield told


def events_of(text: bytes) -> Iterator[Told]:
    """The objects of server-sent events, and errors outside of one: an old llama.cpp writes so, and some proxies."""
    for line in text.split(b"\n"):
        if line.startswith(b"data:"):
            data = line[5:].strip()
            told = DONE if data == b"[DONE]" else _object(data)
        elif line.startswith(_BARE):
            told = {"error": _object(line[len(_BARE) :]) or line[len(_BARE) :].decode(errors="replace")}
        else:
            told = _object(line) if line.startswith(b"{") else None
        if told is not None:
            yield told


def is_openai_end(told: Told) -> bool:
    """Whether it is `[DONE]`."""
    return told is DONE


def failure_in(told: Told) -> str:
    """What an object tells of the backend's failure, in its own words; empty where it tells of none.

    Ollama and OpenAI have an `error`, Anthropic one of the type `error`, the Responses API an `error` or a
    `response.failed`, whose response has the error.
    """
    if told.get("error"):
        return error_text(told)
    if told.get("type") == "error" or told.get("object") == "error":
        return error_text(told)
    if told.get("type") == "response.failed":
        response = told.get("response")
        return error_text(response if isinstance(response, Mapping) else {})
    return ""


def _object(line: bytes) -> Told | None:
    try:
        value = from_json(line)
    except ValueError as error:
        value = _deep(line) if is_too_deep(error) else None
    return value if isinstance(value, dict) else None


def _deep(line: bytes) -> Any:
    """What nests more deeply than is usual: answers repeat what was asked, and that is read so."""
    with suppress(ValueError, RecursionError):
        return json.loads(line)
    return None
