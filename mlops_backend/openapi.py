"""The API documentation: what quart-schema cannot know of streams, errors and identifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from quart import Quart
from quart_schema import APIKeySecurityScheme, Info, OpenAPIProvider, QuartSchema, Tag
from quart_schema.openapi import HttpSecurityScheme
from werkzeug.routing.rules import Rule

from mlops_backend.schemas.service import ErrorResponse

F = TypeVar("F", bound=Callable[..., Any])

NDJSON: Final = "application/x-ndjson"
SSE: Final = "text/event-stream"
_MEDIA_TYPES: Final = "_mlops_media_types"
_OPEN: Final = "_mlops_open"
_DESCRIPTION: Final = """\
One address in front of your language models, with keys.

Send the key as `X-API-Key` or as `Authorization: Bearer`. Every answer carries `X-Request-ID`.
Streams are one JSON object a line (`application/x-ndjson`), or server-sent events when `Accept` names
`text/event-stream`; a failure after the first byte is one last object with `error` and `code`."""

_ERRORS: Final = {
    "400": "The body is not JSON, or asks for what the model cannot do",
    "401": "No key, an unknown one, or two that differ",
    "403": "A known key that may not do this",
    "404": "No such model or object",
    "405": "The route does not take this method",
    "408": "The body took too long to arrive",
    "413": "The body is larger than `MAX_BODY_BYTES`",
    "415": "The body is declared as something other than JSON",
    "422": "The body breaks the schema; `details` names each field",
    "500": "A fault inside the service",
    "502": "The backend refused, vanished or answered nonsense",
    "503": "No usable backend, busy, draining or full; see `Retry-After`",
    "504": "A clock ran out while waiting for the backend",
}


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


class Documentation(OpenAPIProvider):
    """quart-schema's provider, with media types of streams, the common errors and required bodies."""

    def schema(self) -> dict[str, Any]:
        """The whole document: OpenAPI 3.1."""
        document: dict[str, Any] = super().schema()
        document["components"]["schemas"]["ErrorResponse"] = _error_schema(document)
        document["components"]["responses"] = {
            f"Error{status}": _error_response(text) for status, text in _ERRORS.items()
        }
        return document

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """One route: quart-schema's description, completed."""
        paths, components = super().build_paths(rule)
        view = self._app.view_functions[rule.endpoint]
        for operations in paths.values():
            for operation in operations.values():
                _complete(operation, view)
        return paths, components


def add_schema(app: Quart, version: str, *, docs_enabled: bool) -> None:
    """Let quart-schema validate bodies and, when enabled, serve `/openapi.json`; the `docs` blueprint shows it."""
    QuartSchema(
        app,
        openapi_path="/openapi.json" if docs_enabled else None,
        info=Info(title="mlops_backend", version=version, description=_DESCRIPTION),
        tags=[
            Tag(name="llm", description="Inference: our own API, in Ollama's field names"),
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


def _complete(operation: dict[str, Any], view: Callable[..., Any]) -> None:
    responses = operation["responses"] = {str(status): text for status, text in operation["responses"].items()}
    for status, media_types in getattr(view, _MEDIA_TYPES, {}).items():
        response = responses.setdefault(str(status), {"description": ""})
        content = response.get("content", {}).get("application/json", {"schema": {"type": "string"}})
        response["content"] = {media_type: content for media_type in media_types}
    for status in _ERRORS:
        responses.setdefault(status, {"$ref": f"#/components/responses/Error{status}"})
    if getattr(view, _OPEN, False):
        operation["security"] = []
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True


def _error_response(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ErrorResponse"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _error_schema(document: dict[str, Any]) -> dict[str, Any]:
    schema = ErrorResponse.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"]["schemas"].update(schema.pop("$defs", {}))
    return schema
