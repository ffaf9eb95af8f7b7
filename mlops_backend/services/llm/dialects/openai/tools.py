"""Tools: descriptions as Ollama takes them, put right for servers that hold OpenAI's rules."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mlops_backend.errors import BadRequest

# OpenAI's rule for a function's name; what is longer ends in a mark of its own.
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME: Final = 64
_MARK: Final = 8


def fitting_name(name: str) -> str:
    """A function's name as long as may be: two that begin alike stay two."""
    if len(name) <= _LONGEST_NAME:
        return name
    mark = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_MARK]
    return f"{name[: _LONGEST_NAME - _MARK]}{mark}"


def safe_name(name: str, as_it_is: bool = False) -> str:
    """A function's name as a strict server takes it; `as_it_is` leaves it alone."""
    return name if as_it_is else _NOT_IN_A_NAME.sub("_", fitting_name(name))


def tool_list(tools: Any, as_they_are: bool = False) -> list[Any]:
    """The tools of a request.

    Raises:
        BadRequest: it is no list of objects with a function.
    """
    if as_they_are and isinstance(tools, list):
        return tools
    return [
        {
            "type": "function",
            "function": {
                **{name: value for name, value in function.items() if value is not None},
                "name": safe_name(str(function.get("name") or "")),
                "parameters": _schema(function.get("parameters")),
            },
        }
        for function in _functions(tools)
    ]


def tool_choice(body: Mapping[str, Any], as_it_is: bool = False) -> dict[str, Any]:
    """Whether, and which, tools are to be called: OpenAI's fields, which Ollama has not; others are left out."""
    chosen, together = body.get("tool_choice"), body.get("parallel_tool_calls")
    fields: dict[str, Any] = {"parallel_tool_calls": together} if isinstance(together, bool) else {}
    match chosen:
        case "auto" | "none" | "required":
            fields["tool_choice"] = chosen
        case {"type": "function", "function": {"name": str(name)}}:
            fields["tool_choice"] = {"type": "function", "function": {"name": safe_name(name, as_it_is)}}
    return fields


def names_to_restore(tools: Any) -> dict[str, str]:
    """A function's name as it is sent -> as the client wrote it, for those that differ; another one's own stays."""
    names = dict.fromkeys(str(function.get("name") or "") for function in _functions(tools or []))
    return {safe: name for name in names if (safe := safe_name(name)) not in names}


def free_form_of(body: Mapping[str, Any]) -> frozenset[str]:
    """The functions of which only the text is wanted: a member of this service's own, since Ollama has none."""
    named = body.get("free_form")
    return frozenset(name for name in named if isinstance(name, str)) if isinstance(named, list) else frozenset()


def _functions(tools: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(tools, list):
        raise BadRequest('the field "tools" must be an array')
    for tool in tools:
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping):
            raise BadRequest("each of the tools must be an object with a function")
        yield function


def _schema(parameters: Any) -> dict[str, Any]:
    given = parameters if isinstance(parameters, Mapping) else {}
    kept = {name: value for name, value in given.items() if value is not None}
    return {**kept, "type": kept.get("type") or "object", "properties": kept.get("properties") or {}}
