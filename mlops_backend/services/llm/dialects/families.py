"""The three wire protocols that clients speak, and an error in the words of each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from mlops_backend.errors import AppError
from mlops_backend.services.llm.dialects.compact import dumped


class Dialect(Enum):
    """A wire protocol."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"


_OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES: Final = {**_OPENAI_TYPES, 413: "request_too_large", 503: "overloaded_error", 504: "timeout_error"}


def dialect_of(path: str) -> Dialect:
    """The dialect of a route, known or not, by its path."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return Dialect.ANTHROPIC
    return Dialect.OPENAI if path.startswith("/v1/") or path == "/v1" else Dialect.OLLAMA


def error_object(
    dialect: Dialect, status: int, code: str, message: str, request_id: str, details: Any = None
) -> dict[str, Any]:
    """One of our own refusals, as a client of `dialect` expects it.

    Args:
        dialect: whose shape.
        status: the HTTP status, or what it would have been.
        code: our machine-readable code.
        message: one sentence.
        request_id: what `X-Request-ID` says.
        details: what is wrong with each field; only our own shape has a place for it.
    """
    if dialect is Dialect.OPENAI:
        kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}
    if dialect is Dialect.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
    answer: dict[str, Any] = {"error": message, "code": code}
    return {**answer, **({"details": details} if details else {}), "request_id": request_id}


def error_line(error: AppError, request_id: str) -> bytes:
    """The last line of an NDJSON stream that failed after its first byte."""
    return dumped(error_object(Dialect.OLLAMA, error.status, error.code, error.message, request_id)) + b"\n"


def error_event(dialect: Dialect, error: AppError, request_id: str) -> bytes:
    """The last event of a stream of server-sent events that failed after its first byte."""
    told: Mapping[str, Any] = error_object(dialect, error.status, error.code, error.message, request_id)
    return b"event: error\ndata: " + dumped(told) + b"\n\n"
