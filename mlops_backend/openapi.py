"""The API documentation: what quart-schema cannot know of streams, errors and identifiers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from quart import Quart
from quart_schema import APIKeySecurityScheme, DataSource, Info, OpenAPIProvider, QuartSchema, Tag
from quart_schema.openapi import HttpSecurityScheme
from quart_schema.typing import Model
from werkzeug.routing.rules import Rule

from mlops_backend.schemas.service import ErrorResponse
from mlops_backend.services.llm.dialects import Dialect, dialect_of, error_object

F = TypeVar("F", bound=Callable[..., Any])

NDJSON: Final = "application/x-ndjson"
SSE: Final = "text/event-stream"
_MEDIA_TYPES: Final = "_mlops_media_types"
_OPEN: Final = "_mlops_open"
_RELAYED: Final = "_mlops_relayed"
_PREFIXES: Final = {Dialect.OLLAMA: "Error", Dialect.OPENAI: "OpenAIError", Dialect.ANTHROPIC: "AnthropicError"}
_DESCRIPTION: Final = """\
One address in front of your language models, with keys.

Send the key as `X-API-Key` or as `Authorization: Bearer`. Every answer carries `X-Request-ID`.
Streams are one JSON object a line (`application/x-ndjson`), or server-sent events when `Accept` names
`text/event-stream`; a failure after the first byte is one last object with `error` and `code`.
The routes of Ollama, OpenAI and Anthropic take and answer what those document, byte for byte; refusals of this service
come in the shape that their clients know."""

# Status, one code that it comes with, and what it means; `docs/routes.md` lists every code.
_ERRORS: Final = (
    (400, "invalid_json", "The body is not JSON, or asks for what the model cannot do"),
    (401, "unauthorized", "No key, an unknown one, or two that differ"),
    (403, "forbidden", "A known key that may not do this"),
    (404, "model_not_found", "No such model or object"),
    (405, "method_not_allowed", "The route does not take this method"),
    (408, "request_timeout", "The body took too long to arrive"),
    (409, "conflict", "The object is not in a state for this"),
    (412, "precondition_failed", "The object is at another version than `If-Match` wants"),
    (413, "body_too_large", "The body is larger than `MAX_BODY_BYTES`"),
    (415, "unsupported_media_type", "The body is declared as something other than JSON"),
    (422, "validation_error", "The body breaks the schema; `details` names each field"),
    (500, "internal_error", "A fault inside the service"),
    (501, "not_implemented", "The backend has no such thing"),
    (502, "backend_refused", "The backend refused, vanished or answered nonsense"),
    (503, "no_usable_backend", "No usable backend, busy, draining or full; see `Retry-After`"),
    (504, "first_byte_timeout", "A clock ran out while waiting for the backend"),
)
_REQUEST_ID: Final = "6f1d5c0f4a0b4a0e8b2f9f3f7f1c2d3e"
_DETAIL: Final = {"loc": ["prompt"], "msg": "Input should be a valid string", "type": "string_type"}


def document_media_types(status: int, *media_types: str) -> Callable[[F], F]:
    """Document that the route's answer of `status` comes as any of `media_types`."""

    def decorate(view: F) -> F:
        setattr(view, _MEDIA_TYPES, {**getattr(view, _MEDIA_TYPES, {}), status: media_types})
        return view

    return decorate


def document_open(view: F) -> F:
    """Document that the route needs no key."""
    setattr(view, _OPEN, True)
    return view


def document_relayed(example: Mapping[str, Any] | None = None, *media_types: str) -> Callable[[F], F]:
    """Document that a backend answers, in any of `media_types` (JSON when none is named), a body such as `example`."""

    def decorate(view: F) -> F:
        setattr(view, _RELAYED, (example, media_types or ("application/json",)))
        return view

    return decorate


class Documentation(OpenAPIProvider):
    """quart-schema's provider, with media types of streams, the common errors and required bodies."""

    def schema(self) -> dict[str, Any]:
        """The whole document: OpenAPI 3.1."""
        document: dict[str, Any] = super().schema()
        document["components"]["schemas"]["ErrorResponse"] = _error_schema(document)
        document["components"]["responses"] = {
            f"{prefix}{status}": _error_response(dialect, status, code, text)
            for dialect, prefix in _PREFIXES.items()
            for status, code, text in _ERRORS
        }
        return document

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """One route: quart-schema's description, completed."""
        paths, components = super().build_paths(rule)
        view = self._app.view_functions[rule.endpoint]
        for path, operations in paths.items():
            for operation in operations.values():
                _describe_relayed(operation, view)
                _complete(operation, view, _PREFIXES[dialect_of(path)])
        return paths, components

    def build_request_body(self, model: type[Model], source: DataSource) -> tuple[dict[str, Any], dict[str, Any]]:
        """A body with the model's own example, in the order it was written: pydantic sorts the keys in its schema."""
        body, components = super().build_request_body(model, source)
        examples = getattr(model, "model_config", {}).get("json_schema_extra", {}).get("examples")
        for content in body["content"].values() if examples else ():
            content["example"] = examples[0]
        return body, components

    def operation_id(self, method: str, path: str, func: Callable[..., Any]) -> str | None:
        """The view's own name: it begins with a verb, so the method need not stand before it."""
        return (super().operation_id(method, path, func) or "").removeprefix(f"{method.lower()}_")


def add_schema(app: Quart, version: str, *, docs_enabled: bool) -> None:
    """Let quart-schema validate bodies and, when enabled, serve `/openapi.json`; the `docs` blueprint shows it."""
    QuartSchema(
        app,
        openapi_path="/openapi.json" if docs_enabled else None,
        info=Info(title="mlops_backend", version=version, description=_DESCRIPTION),
        tags=[
            Tag(name="llm", description="Inference: our own API, in Ollama's field names"),
            Tag(name="ollama", description="Ollama's own API: https://github.com/ollama/ollama/blob/main/docs/api.md"),
            Tag(name="openai", description="OpenAI's API: https://platform.openai.com/docs/api-reference"),
            Tag(name="anthropic", description="Anthropic's API: https://docs.anthropic.com/en/api/messages"),
            Tag(name="keys", description="Keys: the administrator's, and one's own"),
            Tag(name="usage", description="Usage: one's own, and everybody's for the administrator"),
            Tag(name="conversations", description="Conversations that are kept here, each for the key that made it"),
            Tag(name="other", description="Services that are not inference"),
            Tag(name="service", description="The service itself"),
        ],
        swagger_ui_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
        conversion_preference="pydantic",
        openapi_provider_class=Documentation,
        security_schemes={
            "ApiKey": APIKeySecurityScheme(name="X-API-Key", in_="header"),
            "Bearer": HttpSecurityScheme(scheme="bearer"),
        },
        security=[{"ApiKey": []}, {"Bearer": []}],
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]


def _describe_relayed(operation: dict[str, Any], view: Callable[..., Any]) -> None:
    """What is known of a route whose bodies belong to somebody else: that they are objects, and an example."""
    if not hasattr(view, _RELAYED):
        return
    example, media_types = getattr(view, _RELAYED)
    if example is not None:
        content = {"schema": {"type": "object"}, "example": example}
        operation["requestBody"] = {"content": {"application/json": content}}
    content = {media_type: {"schema": {}} for media_type in media_types}
    operation["responses"] = {200: {"description": "What the backend answers", "content": content}}


def _complete(operation: dict[str, Any], view: Callable[..., Any], errors: str) -> None:
    responses = operation["responses"] = {str(status): text for status, text in operation["responses"].items()}
    for status, media_types in getattr(view, _MEDIA_TYPES, {}).items():
        response = responses.setdefault(str(status), {"description": "Nothing"})
        schema = response.get("content", {}).get("application/json", {}).get("schema", {})
        response["content"] = {media_type: _content(media_type, schema) for media_type in media_types}
    for status, _, _ in _ERRORS:
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{errors}{status}"})
    if getattr(view, _OPEN, False):
        operation["security"] = []
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True


def _content(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    """One media type of an answer; a stream shows two of its objects as they are sent."""
    if media_type not in {NDJSON, SSE}:
        return {"schema": schema}
    chat = "message" in schema["properties"]
    pieces = [
        {"message": {"role": "assistant", "content": text}} if chat else {"response": text} for text in ("Sky", "")
    ]
    ends: list[dict[str, Any]] = [{"done": False}, {"done": True, "done_reason": "stop", "eval_count": 1}]
    lines = [
        json.dumps({"model": "smollm2:135m", "created_at": "2026-01-31T12:00:00Z", **piece, **end})
        for piece, end in zip(pieces, ends, strict=True)
    ]
    events = [f"data: {line}\n\n" if media_type == SSE else f"{line}\n" for line in lines]
    return {"schema": schema, "example": "".join(events)}


def _error_response(dialect: Dialect, status: int, code: str, description: str) -> dict[str, Any]:
    details = [_DETAIL] if status == 422 else None
    example = error_object(dialect, status, code, f"{description}.", _REQUEST_ID, details)
    ours = dialect is Dialect.OLLAMA
    schema: dict[str, Any] = {"$ref": "#/components/schemas/ErrorResponse"} if ours else {"type": "object"}
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}


def _error_schema(document: dict[str, Any]) -> dict[str, Any]:
    schema = ErrorResponse.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"]["schemas"].update(schema.pop("$defs", {}))
    return schema
