"""Formats: the form that an answer is to have, a JSON schema most of all, in the words of the OpenAI API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mlops_backend.errors import BadRequest, Unsupported
from mlops_backend.services.llm.dialects.openai.messages import Model

# While llama.cpp reads a schema it serves nobody, and what it makes of properties that may be missing grows with their
# square: as many as are taken were measured at 1.5 s.
_MOST_SQUARED: Final = 500**2
_JSON: Final = {"response_format": {"type": "json_object"}}


def schema_of(form: Any, model: Model) -> Mapping[str, Any] | None:
    """The JSON schema that Ollama's `format` asks for.

    Raises:
        BadRequest: it is neither `json` nor a schema.
        Unsupported: one that would stop the engine for too long.
    """
    if form is None or form == "":
        return None
    if form == "json":
        return {"type": "object"}
    if isinstance(form, Mapping):
        return _bounded(form, model)
    raise BadRequest(f'invalid format: {json.dumps(form)[:100]}; expected "json" or a valid JSON Schema object')


def response_format(form: Any, model: Model) -> dict[str, Any]:
    """Ollama's `format` as the field of OpenAI's; raises what `schema_of` raises."""
    schema = schema_of(form, model)
    if schema is None:
        return {}
    # LM Studio refuses "json_object".
    return dict(_JSON) if form == "json" and model.llama_cpp else _described(schema)


def checked_format(form: Any, holder: str, model: Model) -> dict[str, Any]:
    """OpenAI's own field, made anew.

    Args:
        form: the client's; chats hold the schema in an object of its own, responses do not.
        holder: that object's name, or an empty text.
        model: for whom it is.

    Raises:
        BadRequest: it is not one of OpenAI's.
        Unsupported: a schema that would stop the engine for too long.
    """
    if form is None:
        return {}
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind in ("text", "json_object"):
        return {} if kind == "text" else dict(_JSON)
    described = form.get(holder) if holder and isinstance(form, Mapping) else form
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if kind != "json_schema" or not isinstance(schema, Mapping):
        raise BadRequest('the answer\'s format must be of type "text", "json_object" or "json_schema" with a schema')
    return _described(_bounded(schema, model))


def _described(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "format", "schema": schema}}}


def _bounded(schema: Mapping[str, Any], model: Model) -> Mapping[str, Any]:
    left: list[Any] = [schema] if model.llama_cpp else []
    squared = 0
    while left:
        part = left.pop()
        if isinstance(part, Mapping):
            squared += _optional(part) ** 2
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(part)
    if squared > _MOST_SQUARED:
        raise Unsupported("the JSON schema has more optional properties than this backend can take")
    return schema


def _optional(part: Mapping[str, Any]) -> int:
    """How many of an object's properties may be missing."""
    properties, required = part.get("properties"), part.get("required")
    if not isinstance(properties, Mapping):
        return 0
    needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    return len(properties.keys() - needed)
