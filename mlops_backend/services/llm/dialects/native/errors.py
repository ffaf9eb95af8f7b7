"""Errors: a refusal of Ollama's own routes in the words of OpenAI's, as Ollama tells it on `/v1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.services.llm.dialects import dumped

_TYPES: Final = {400: "invalid_request_error", 404: "not_found_error"}


def refusal(status: int, message: str) -> bytes:
    """The body of a refusal."""
    return dumped(error_of(status, message))


def error_of(status: int, message: str) -> dict[str, Any]:
    """The object of an error."""
    kind = _TYPES.get(status, "api_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def refused_in_openais_words(status: int, body: bytes) -> bytes | None:
    """Ollama's refusal as OpenAI's; `None` where it is none of its own, as that of a route which it does not know."""
    try:
        told = from_json(body)
    except ValueError:
        return None
    words = told.get("error") if isinstance(told, Mapping) else None
    return refusal(status, words) + b"\n" if isinstance(words, str) else None
