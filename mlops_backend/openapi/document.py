"""The description of all routes: quart-schema's, with components, streams, errors and required bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

from quart import Quart, Response
from quart_schema import APIKeySecurityScheme, DataSource, Info, OpenAPIProvider, QuartSchema, Server, Tag
from quart_schema.openapi import HttpSecurityScheme
from quart_schema.typing import Model
from quart_schema.validation import QUART_SCHEMA_RESPONSE_ATTRIBUTE
from werkzeug.routing.rules import Rule

from mlops_backend.openapi.answers import content_of, error_references, error_responses
from mlops_backend.openapi.marks import JSON, marks_of
from mlops_backend.openapi.models import ANSWERED, TAKEN, References, as_sent, components_of, without_defaults
from mlops_backend.services.llm.dialects import dialect_of

_DESCRIPTION: Final = """\
One address in front of your language models, with keys.

Send the key as `X-API-Key` or as `Authorization: Bearer`. Every answer carries `X-Request-ID`.
Streams are one JSON object a line (`application/x-ndjson`), or server-sent events when `Accept` names
`text/event-stream`; a failure after the first byte is one last object with `error` and `code`.
The routes of Ollama, OpenAI and Anthropic take and answer what those document, byte for byte; refusals of this service
come in the shape that their clients know."""


class Documentation(OpenAPIProvider):
    """quart-schema's provider, with media types of streams, the common errors and required bodies."""

    @cached_property
    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = super().schema()
        document["components"]["schemas"].update(self._models[1])
        document["components"]["responses"] = error_responses()
        for operations in document["paths"].values():
            without_defaults(operations.get("patch", {}), document["components"]["schemas"])
        return document

    @cached_property
    def _models(self) -> tuple[References, dict[str, Any]]:
        return components_of(self._app.view_functions[rule.endpoint] for rule in self.generate_rules())

    def schema(self) -> dict[str, Any]:
        """The whole document: OpenAPI 3.1. Made once, when every route is there."""
        return self._document

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """One route: quart-schema's description, completed."""
        paths, components = super().build_paths(rule)
        view = self._app.view_functions[rule.endpoint]
        for path, operations in paths.items():
            for operation in operations.values():
                _complete(operation, path, view)
        return paths, components

    def build_request_body(self, model: type[Model], source: DataSource) -> tuple[dict[str, Any], dict[str, Any]]:
        """A body with the model's own example, in the order it was written: pydantic sorts the keys in its schema."""
        content = {"schema": self._models[0][model, TAKEN]}
        examples = getattr(model, "model_config", {}).get("json_schema_extra", {}).get("examples")
        return {"content": {JSON: {**content, **({"example": examples[0]} if examples else {})}}}, {}

    def build_response_object(
        self, model: type[Model], headers_model: type[Model] | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """An answer by a reference to its model."""
        content = {JSON: {"schema": self._models[0][model, ANSWERED]}}
        return {"description": (model.__doc__ or "").strip(), "content": content}, {}

    def build_querystring_parameters(self, model: type[Model]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """What a query may hold."""
        parameters, components = super().build_querystring_parameters(model)
        return [as_sent(parameter) for parameter in parameters], components

    def build_headers_parameters(self, model: type[Model]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """What headers say."""
        parameters, components = super().build_headers_parameters(model)
        return [as_sent(parameter) for parameter in parameters], components

    def operation_id(self, method: str, path: str, func: Callable[..., Any]) -> str | None:
        """The view's own name: it begins with a verb, so the method need not stand before it."""
        return (super().operation_id(method, path, func) or "").removeprefix(f"{method.lower()}_")


def _pass_responses(app: Quart) -> None:
    """What is a response already, as each relayed answer, is nothing to be made one of a model."""
    of_models = app.make_response

    async def make_response(result: Any) -> Any:
        return result if isinstance(result, Response) else await of_models(result)

    app.make_response = make_response  # type: ignore[method-assign]


def add_schema(app: Quart, version: str, *, docs_enabled: bool) -> None:
    """Let quart-schema validate bodies and, when enabled, serve `/openapi.json`; the `docs` blueprint shows it."""
    QuartSchema(
        app,
        openapi_path="/openapi.json" if docs_enabled else None,
        info=Info(title="mlops_backend", version=version, description=_DESCRIPTION),
        # Beside this document, wherever a proxy has put it.
        servers=[Server(url=".", description="Where this description comes from")],
        tags=[
            Tag(name="llm", description="Inference: our own API, in Ollama's field names"),
            Tag(name="ollama", description="Ollama's own API: https://github.com/ollama/ollama/blob/main/docs/api.md"),
            Tag(name="openai", description="OpenAI's API: https://platform.openai.com/docs/api-reference"),
            Tag(name="anthropic", description="Anthropic's API: https://docs.anthropic.com/en/api/messages"),
            Tag(name="keys", description="Keys: the administrator's, and one's own"),
            Tag(name="backends", description="Backends, for administrators"),
            Tag(name="usage", description="Usage: one's own, and everybody's for the administrator"),
            Tag(name="console", description="Browsers that have signed in"),
            Tag(name="conversations", description="Conversations that are kept here, each for the key that made it"),
            Tag(name="responses", description="Responses of OpenAI's API that are kept here, each for its key"),
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
    _pass_responses(app)
    app.json.sort_keys = False  # type: ignore[attr-defined]


def _complete(operation: dict[str, Any], path: str, view: Callable[..., Any]) -> None:
    marks = marks_of(view)
    responses = operation["responses"] = {str(status): told for status, told in operation["responses"].items()}
    for status, media_types in marks.media_types.items():
        _add_media_types(responses, status, media_types, view)
    for error, reference in error_references(dialect_of(path), marks).items():
        responses.setdefault(error, reference)
    if marks.is_open:
        operation["security"] = []
    if marks.sent is not None:
        operation["requestBody"] = {"content": _sent(*marks.sent)}
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True


def _sent(media_type: str, schema: Mapping[str, Any], example: Any) -> dict[str, Any]:
    return {media_type: {"schema": schema, **({} if example is None else {"example": example})}}


def _add_media_types(
    responses: dict[str, Any], status: int, media_types: tuple[str, ...], view: Callable[..., Any]
) -> None:
    told = responses.get(str(status), {})
    schema = told.get("content", {}).get(JSON, {}).get("schema", {})
    model, _ = getattr(view, QUART_SCHEMA_RESPONSE_ATTRIBUTE, {}).get(status, (None, None))
    what = "What the backend answers" if marks_of(view).relayed else "" if media_types else "Nothing"
    content = {"content": content_of(media_types, schema, model)} if media_types else {}
    responses[str(status)] = {"description": told.get("description") or what, **content}
