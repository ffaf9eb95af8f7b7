"""Errors: a refusal of Ollama's own routes in the words of OpenAI's or Anthropic's, as Ollama tells it on `/v1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.services.llm.dialects import Dialect, dumped, error_object

_TYPES: Final = {400: "invalid_request_error", 404: "not_found_error"}


def refusal(dialect: Dialect, status: int, message: str, request_id: str) -> bytes:
    """The body of a refusal."""
    if dialect is Dialect.ANTHROPIC:
        return dumped(error_object(dialect, status, "", message, request_id))
    return dumped(error_of(status, message))


def error_of(status: int, message: str) -> dict[str, Any]:
    """The object of an error in OpenAI's words."""
    kind = _TYPES.get(status, "api_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def reworded(dialect: Dialect, status: int, body: bytes, request_id: str) -> bytes | None:
    """Ollama's refusal in other words; `None` where it is none of its own, as that of a route which it lacks."""
    try:
        told = from_json(body)
    except ValueError:
        return None
    words = told.get("error") if isinstance(told, Mapping) else None
    return refusal(dialect, status, words, request_id) + b"\n" if isinstance(words, str) else None
