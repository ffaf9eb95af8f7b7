"""Models as components: each stands once, under its name, and is referred to wherever it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema
from quart_schema.validation import (
    QUART_SCHEMA_QUERYSTRING_ATTRIBUTE,
    QUART_SCHEMA_REQUEST_ATTRIBUTE,
    QUART_SCHEMA_RESPONSE_ATTRIBUTE,
)

from mlops_backend.schemas.service import (
    AnthropicErrorResponse,
    ErrorResponse,
    OllamaErrorResponse,
    OpenAIErrorResponse,
)

SCHEMAS: Final = "#/components/schemas/"
TAKEN: Final[JsonSchemaMode] = "validation"
ANSWERED: Final[JsonSchemaMode] = "serialization"
ERRORS: Final = (ErrorResponse, OllamaErrorResponse, OpenAIErrorResponse, AnthropicErrorResponse)
References = Mapping[tuple[Any, JsonSchemaMode], dict[str, Any]]


class _Schemas(GenerateJsonSchema):
    """Without defaults of `null`: what a member means that is left out, its `null` may not mean."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if "default" in described and described["default"] is None:
            del described["default"]
        return described


def components_of(views: Iterable[Callable[..., Any]]) -> tuple[References, dict[str, Any]]:
    """A reference to each model that the views take or answer, and the components that they refer to."""
    used: dict[tuple[Any, JsonSchemaMode], None] = {(model, ANSWERED): None for model in ERRORS}
    for view in views:
        if (taken := getattr(view, QUART_SCHEMA_REQUEST_ATTRIBUTE, None)) is not None:
            used[taken[0], TAKEN] = None
        for model, _ in getattr(view, QUART_SCHEMA_RESPONSE_ATTRIBUTE, {}).values():
            used[model, ANSWERED] = None
    references, described = models_json_schema(
        list(used), ref_template=f"{SCHEMAS}{{model}}", schema_generator=_Schemas
    )
    return references, described["$defs"]


def complete_models(function: Callable[..., Any]) -> None:
    """Make the validators of what a view takes, if it is one: quart-schema would make them anew at each request."""
    taken = getattr(function, QUART_SCHEMA_REQUEST_ATTRIBUTE, None)
    for model in (taken[0] if taken else None, getattr(function, QUART_SCHEMA_QUERYSTRING_ATTRIBUTE, None)):
        if isinstance(model, type) and issubclass(model, BaseModel):
            model.model_rebuild()


def without_defaults(operation: Mapping[str, Any], components: Mapping[str, Any]) -> None:
    """Take the defaults out of what a `PATCH` takes: a member that is left out stays as it is.

    A client that is made from the description may send every default that stands there.
    """
    for content in operation.get("requestBody", {}).get("content", {}).values():
        model = components[content["schema"]["$ref"].removeprefix(SCHEMAS)]
        for member in model["properties"].values():
            member.pop("default", None)


def as_sent(parameter: dict[str, Any]) -> dict[str, Any]:
    """A parameter of a query or a header as it is sent: it is there or it is not, and never `null`."""
    schema = parameter["schema"]
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0])
    return parameter
