"""OpenAI's rules for a conversation with tools, as servers hold them that refuse what breaks one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Turn = Mapping[str, Any]

# What templates of Mistral's ask of an id; other servers take any.
_ID: Final = re.compile(r"[A-Za-z0-9]{9}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPES: Final = {"string", "number", "integer", "boolean", "object", "array", "null"}
# Members of a schema that hold schemas: by name, in a list, or one.
_BY_NAME: Final = ("properties", "$defs", "definitions")
_IN_A_LIST: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE: Final = ("items", "additionalProperties", "not")


def broken(body: Mapping[str, Any]) -> str:
    """The first rule that a request breaks, in a sentence; nothing if it holds all."""
    reasons = (*_of_turns(body["messages"]), *_of_calls(body["messages"]), *_of_tools(body.get("tools")))
    return next(iter(reasons), "")


def _of_turns(turns: Sequence[Turn]) -> Iterator[str]:
    """Roles and contents."""
    before = ""
    for number, turn in enumerate(turns):
        role = turn.get("role")
        if role not in {"system", "user", "assistant", "tool"}:
            yield f"message {number} has the role {role!r}"
        if role == before == "assistant":
            yield f"message {number} is an assistant's behind an assistant's"
        before = str(role)
        yield from (f"message {number} {reason}" for reason in _of_content(turn))


def _of_content(turn: Turn) -> Iterator[str]:
    content = turn.get("content")
    if isinstance(content, list):
        if not content:
            yield "has no parts"
        for part in content:
            if part.get("type") == "text" and not part.get("text"):
                yield "has an empty text part"
            if part.get("type") == "image_url" and turn["role"] != "user":
                yield "has an image, and is not a user's"
    elif not isinstance(content, str) and not (content is None and turn.get("tool_calls")):
        yield "has no content"
    if turn.get("tool_calls") == [] or ("tool_calls" in turn and turn["role"] != "assistant"):
        yield "has no use for tool_calls"


def _of_calls(turns: Sequence[Turn]) -> Iterator[str]:
    """Calls and results."""
    seen: set[str] = set()
    waiting: list[str] = []
    for number, turn in enumerate(turns):
        if turn["role"] == "tool":
            told = turn.get("tool_call_id")
            if told not in waiting:
                yield f"message {number} answers no call before it: {told!r}"
                continue
            waiting.remove(told)
            continue
        if waiting:
            yield f"the calls {waiting} are not answered before message {number}"
        calls = turn.get("tool_calls") or ()
        waiting = [str(call.get("id")) for call in calls]
        yield from (f"the id {told!r} of message {number} is not new" for told in waiting if told in seen)
        yield from (f"message {number}: {reason}" for call in calls for reason in _of_call(call))
        seen |= set(waiting)
        if len(set(waiting)) < len(waiting):
            yield f"message {number} has one id twice"
    if waiting:
        yield f"the calls {waiting} are never answered"


def _of_call(call: Mapping[str, Any]) -> Iterator[str]:
    if not _ID.fullmatch(str(call.get("id"))):
        yield f"the id {call.get('id')!r} is not nine letters and digits"
    if call.get("type") != "function":
        yield "a call is no function"
    try:
        arguments = json.loads(call["function"]["arguments"])
    except (KeyError, TypeError, ValueError):
        arguments = None
    if not isinstance(arguments, dict):
        yield "arguments are not the text of an object"


def _of_tools(tools: Any) -> Iterator[str]:
    for tool in tools or ():
        function = tool.get("function", {})
        name = str(function.get("name"))
        if tool.get("type") != "function":
            yield f"the tool {name} has no type"
        if not _NAME.fullmatch(name):
            yield f"{name!r} is no name of a tool"
        if not isinstance(function.get("description", ""), str):
            yield f"the description of {name} is no text"
        if (function.get("parameters") or {}).get("type") != "object":
            yield f"the parameters of {name} are no object"
        yield from (f"the parameters of {name}: {reason}" for reason in _of_schema(function.get("parameters", {})))


def _of_schema(schema: Any) -> Iterator[str]:
    """Every schema within one, with itself."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield f"{schema!r} is no schema"
        return
    types = schema.get("type", "object")
    for each in types if isinstance(types, list) else [types]:
        if each not in _TYPES:
            yield f"{each!r} is no type"
    if not isinstance(schema.get("required", []), list):
        yield f"required is {schema['required']!r}"
    for inner in _inner_schemas(schema):
        yield from _of_schema(inner)


def _inner_schemas(schema: Mapping[str, Any]) -> Iterator[Any]:
    for name in _BY_NAME:
        yield from schema.get(name, {}).values()
    for name in _IN_A_LIST:
        yield from schema.get(name, [])
    yield from (schema[name] for name in _ONE if name in schema)
