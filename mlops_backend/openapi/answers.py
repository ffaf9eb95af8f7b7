"""What is answered: media types with their examples, and the errors of each family."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from mlops_backend.openapi.marks import JSON, NDJSON, SSE, Marks
from mlops_backend.openapi.models import SCHEMAS
from mlops_backend.schemas.service import (
    AnthropicErrorResponse,
    ErrorResponse,
    OllamaErrorResponse,
    OpenAIErrorResponse,
)
from mlops_backend.services.llm.dialects import Dialect, error_object

# Status, one code that it comes with, and what it means; `docs/routes.md` lists every code.
ERRORS: Final = (
    (400, "invalid_json", "The body is not JSON, or asks for what the model cannot do"),
    (401, "unauthorized", "No key, an unknown one, or two that differ"),
    (403, "forbidden", "A known key that may not do this"),
    (404, "model_not_found", "No such model or object"),
    (405, "method_not_allowed", "The route does not take this method"),
    (408, "request_timeout", "The body took too long to arrive"),
    (409, "conflict", "The object is not in a state for this"),
    (410, "stream_gone", "A part of a stream that is asked for is not kept any more"),
    (412, "precondition_failed", "The object is at another version than `If-Match` wants"),
    (413, "body_too_large", "The body is larger than `MAX_BODY_BYTES`"),
    (415, "unsupported_media_type", "The body is declared as something other than JSON"),
    (422, "validation_error", "The body breaks the schema; `details` names each field"),
    (429, "rate_limited", "A limit of this key is reached, or this address sent too many unknown keys"),
    (499, "generation_cancelled", "The generation was ended by request"),
    (500, "internal_error", "A fault inside the service"),
    (501, "not_implemented", "The backend has no such thing"),
    (502, "backend_refused", "The backend refused, vanished or answered nonsense"),
    (503, "no_usable_backend", "No usable backend, busy, draining or full"),
    (504, "first_byte_timeout", "A clock ran out while waiting for the backend"),
)
# Where a backend is asked, its own refusals go on with their status, whichever that is.
RELAYED: Final = (
    ("4XX", "A refusal of the backend, with its own status"),
    ("5XX", "A failure of the backend, with its own status"),
)
# A family's components: their prefix, whose shape, and the model.
FAMILIES: Final[Mapping[str, tuple[Dialect, type[BaseModel]]]] = {
    "Error": (Dialect.OLLAMA, ErrorResponse),
    "OllamaError": (Dialect.OLLAMA, OllamaErrorResponse),
    "OpenAIError": (Dialect.OPENAI, OpenAIErrorResponse),
    "AnthropicError": (Dialect.ANTHROPIC, AnthropicErrorResponse),
}
_PREFIXES: Final = {
    Dialect.OLLAMA: "OllamaError",
    Dialect.OPENAI: "OpenAIError",
    Dialect.ANTHROPIC: "AnthropicError",
}
_WAITING: Final = {
    "Retry-After": {"description": "Seconds until it is worth to ask again", "schema": {"type": "string"}}
}
_REQUEST_ID: Final = "6f1d5c0f4a0b4a0e8b2f9f3f7f1c2d3e"
_DETAIL: Final = {"loc": ["prompt"], "msg": "Input should be a valid string", "type": "string_type"}


def error_responses() -> dict[str, Any]:
    """Every error in the shape of every family: `Error404`, `OpenAIError404` and so on."""
    responses: dict[str, Any] = {}
    for prefix, (dialect, model) in FAMILIES.items():
        for status, code, text in ERRORS:
            details = [_DETAIL] if status == 422 else None
            example = error_object(dialect, status, code, f"{text}.", _REQUEST_ID, details)
            responses[f"{prefix}{status}"] = _error(text, model, status in {429, 503}, {"example": example})
        for pattern, text in RELAYED[:1] if prefix == "Error" else RELAYED:
            responses[f"{prefix}{pattern}"] = _error(text, model, False, {})
    return responses


def error_references(dialect: Dialect, marks: Marks) -> dict[str, Any]:
    """The errors of one operation."""
    prefix = _PREFIXES[dialect] if marks.relayed or dialect is not Dialect.OLLAMA else "Error"
    of_backends = RELAYED if marks.relayed else RELAYED[:1] if marks.asks_backend else ()
    statuses = (*(str(status) for status, _, _ in ERRORS), *(pattern for pattern, _ in of_backends))
    return {status: {"$ref": f"#/components/responses/{prefix}{status}"} for status in statuses}


def content_of(media_types: Sequence[str], schema: Mapping[str, Any], model: type[BaseModel] | None) -> dict[str, Any]:
    """An answer in each of its media types; `schema` is that of its JSON."""
    return {media_type: _content(media_type, schema, model) for media_type in media_types}


def _content(media_type: str, schema: Mapping[str, Any], model: type[BaseModel] | None) -> dict[str, Any]:
    """A stream shows two of its objects as they are sent, as an example.

    Events are of no type: some readers take them for a text, some for objects that come one by one.
    """
    if media_type == JSON:
        return {"schema": schema}
    streamed: dict[str, Any] = {"type": "string"} if media_type == NDJSON else {}
    if media_type in {NDJSON, SSE} and model is not None:
        told = f"One `{model.__name__}` {'a line' if media_type == NDJSON else 'in the data of each event'}."
        return {"schema": {**streamed, "description": told}, "example": _stream(media_type, model)}
    if media_type in {NDJSON, SSE}:
        return {"schema": streamed}
    return {"schema": {"type": "string", **({} if media_type.startswith("text/") else {"format": "binary"})}}


def _stream(media_type: str, model: type[BaseModel]) -> str:
    chat = "message" in model.model_fields
    pieces = [
        {"message": {"role": "assistant", "content": text}} if chat else {"response": text} for text in ("Sky", "")
    ]
    ends: list[dict[str, Any]] = [{"done": False}, {"done": True, "done_reason": "stop", "eval_count": 1}]
    lines = [
        json.dumps({"model": "smollm2:135m", "created_at": "2026-01-31T12:00:00Z", **piece, **end})
        for piece, end in zip(pieces, ends, strict=True)
    ]
    return "".join(f"data: {line}\n\n" if media_type == SSE else f"{line}\n" for line in lines)


def _error(text: str, model: type[BaseModel], waiting: bool, example: Mapping[str, Any]) -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": f"{SCHEMAS}{model.__name__}"}, **example}}
    return {"description": text, **({"headers": _WAITING} if waiting else {}), "content": content}
