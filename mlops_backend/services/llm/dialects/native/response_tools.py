"""Tools of OpenAI's Responses API as functions: what a model is told of them, and the items that its calls become.

A `custom` tool takes a text, and becomes a function with one parameter. A `namespace` holds tools of both kinds, whose
names have its name before them then. A `tool_search` that the client does is a function of that name; what it found
are tools from then on. All others are OpenAI's own: a model is not told of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.native.fields import Fields
from mlops_backend.services.llm.dialects.native.replies import Call, new_id
from mlops_backend.services.llm.dialects.openai import PARAMETER, fitting_name, free_text

_TOOL: Final = "ResponsesTool"
_EMPTY: Final = {"type": "object", "properties": {}}
SEARCH: Final = "tool_search"
_CALLED: Final = ("function", "custom")
_TOLD: Final[Mapping[str, tuple[str, ...]]] = {
    "function": ("type", "name", "description", "parameters", "strict"),
    "custom": ("type", "name", "description", "format"),
    SEARCH: ("type", "execution", "description", "parameters"),
}
_SYNTAXES: Final = {"lark": "Lark grammar", "regex": "regular expression"}
_AS_IT_STANDS: Final = f"Give the whole text as the parameter `{PARAMETER}`."
Item = dict[str, Any]
_Mark = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a model may call.

    Attributes:
        name: what the model calls it.
        own: what the client does.
        namespace: the client's that it is in, or an empty text.
        kind: of the client's: `function`, `custom` or `tool_search`.
        described: what the model is told.
    """

    name: str
    own: str
    namespace: str
    kind: str
    described: Mapping[str, Any]


def model_name(namespace: str, name: str) -> str:
    """What a model calls a tool that the client has in a namespace, if it is in one; no server cuts it."""
    return fitting_name(f"{namespace}__{name}") if namespace else name


def tools_of(request: Fields) -> list[Tool]:
    """The tools of a request that a model can be told of. Raises `BadRequest`, as those below do."""
    given = [*request.objects("tools", _TOOL), *_found(request)]
    tools: dict[str, Tool] = {}
    for each, namespace in _callable(given):
        tool = _tool(each, namespace)
        tools.setdefault(tool.name, tool)
    return list(tools.values())


def told_tools(request: Fields) -> list[dict[str, Any]]:
    """The same as an answer lists them."""
    return [told for tool in request.objects("tools", _TOOL) if (told := _told(tool)) is not None]


def chosen(request: Fields, tools: list[Tool]) -> list[Tool]:
    """Those that it may call now."""
    choice = request.any("tool_choice")
    kind = choice if isinstance(choice, str) else choice.get("type") if isinstance(choice, dict) else None
    if kind == "none":
        return []
    if kind == "required" and not tools:
        raise BadRequest("tool_choice asks for a call, and tools has none that can be called here")
    if not isinstance(choice, dict) or kind is None:
        return tools
    if kind == "allowed_tools":
        allowed = choice.get("tools")
        meant = _meant(allowed if isinstance(allowed, list) else [])
        return [tool for tool in tools if not meant.isdisjoint(_marks(tool))]
    meant = _meant([choice])
    found = [tool for tool in tools if kind != "namespace" and not meant.isdisjoint(_marks(tool))]
    if not found:
        raise BadRequest("tool_choice names a tool that is not among the functions in tools")
    return found


def tool_choice(request: Fields, tools: Sequence[Tool]) -> dict[str, Any]:
    """What no Ollama is sent, and others understand; `allowed_tools` has left others out of `tools` already."""
    choice, together = request.any("tool_choice"), request.any("parallel_tool_calls")
    if isinstance(choice, dict):
        named = {"type": "function", "function": {"name": tools[0].name}} if tools else None
        choice = choice.get("mode") if choice.get("type") == "allowed_tools" else named if choice.get("type") else None
    free_form = [tool.name for tool in tools if tool.kind == "custom"]
    told = {"tool_choice": choice or None, "free_form": free_form or None}
    apart = {"parallel_tool_calls": together} if isinstance(together, bool) else {}
    return {**{name: value for name, value in told.items() if value}, **apart}


def called_item(call: Call, tools: Mapping[str, Tool]) -> Item:
    """A call as an item of the output.

    Args:
        call: it.
        tools: those that the model was told of, by its names.
    """
    tool = tools.get(call.name)
    within = {"namespace": tool.namespace} if tool is not None and tool.namespace else {}
    named = {"status": "completed", "call_id": call.id, "name": call.name if tool is None else tool.own, **within}
    if tool is not None and tool.kind == "custom":
        return {"id": new_id("ctc_"), "type": "custom_tool_call", **named, "input": free_text(call.arguments)}
    if tool is not None and tool.kind == SEARCH:
        told = {"status": "completed", "call_id": call.id, "execution": "client", "arguments": call.arguments}
        return {"id": new_id("tsc_"), "type": "tool_search_call", **told}
    return {"id": new_id("fc_"), "type": "function_call", **named, "arguments": call.text}


def found_tools(item: Fields) -> str:
    """What a model is told of the tools that a search found."""
    names = [model_name(namespace, tool.text("name")) for tool, namespace in _callable(item.objects("tools", _TOOL))]
    return f"These tools can be called now: {', '.join(names)}." if names else "No tools were found."


def _found(request: Fields) -> Iterator[Fields]:
    """The tools that searches found."""
    given = request.any("input")
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict) and item.get("type") == "tool_search_output":
            yield from Fields(item, "ResponsesInputItem").objects("tools", _TOOL)


def _callable(tools: Sequence[Fields]) -> Iterator[tuple[Fields, str]]:
    for tool in tools:
        kind = tool.text("type")
        if kind == "namespace":
            inner = tool.objects("tools", _TOOL)
            yield from ((each, tool.text("name")) for each in inner if each.text("type") in _CALLED)
        elif kind in _CALLED or (kind == SEARCH and tool.text("execution") == "client"):
            yield tool, ""


def _tool(tool: Fields, namespace: str) -> Tool:
    kind, description = tool.text("type"), tool.text("description")
    own = SEARCH if kind == SEARCH else tool.text("name")
    name = model_name(namespace, own)
    if kind == "custom":
        description, parameters = _with_format(tool, description), _one_text()
    else:
        given = tool.inner("parameters", "map[string]interface {}")
        parameters = _EMPTY if given is None else tool.any("parameters")
    function = {"name": name, "description": description, "parameters": parameters}
    return Tool(name, own, namespace, kind, {"type": "function", "function": function})


def _one_text() -> dict[str, Any]:
    text = {"type": "string", "description": "The tool's whole input, as free text."}
    return {"type": "object", "properties": {PARAMETER: text}, "required": [PARAMETER]}


def _with_format(tool: Fields, description: str) -> str:
    """The description of a tool that takes a text, with the grammar of it, which nobody enforces."""
    form = tool.inner("format", "ResponsesToolFormat")
    words = [description, _AS_IT_STANDS]
    if form is not None and form.text("type") == "grammar":
        syntax = form.text("syntax")
        words.append(f"The text has to follow this {_SYNTAXES.get(syntax, syntax)}:\n{form.text('definition')}")
    elif form is not None and form.text("type") != "text":
        raise BadRequest(f'unknown format of the custom tool {tool.text("name")[:100]}: "{form.text("type")[:100]}"')
    return "\n\n".join(filter(None, words))


def _told(tool: Fields) -> dict[str, Any] | None:
    kind = tool.text("type")
    if kind == "namespace":
        inner = [told for each in tool.objects("tools", _TOOL) if (told := _told(each)) is not None]
        return {"type": kind, "name": tool.text("name"), "description": tool.text("description"), "tools": inner}
    if kind == SEARCH and tool.text("execution") != "client":
        return None
    return {name: tool.any(name) for name in _TOLD[kind]} if kind in _TOLD else None


def _meant(choices: Iterable[Any]) -> set[_Mark]:
    """The marks of the tools that are chosen: a kind and a name, one of them where that is enough."""
    named = [(each.get("type"), each.get("name")) for each in choices if isinstance(each, dict)]
    return {
        (kind, None) if kind == SEARCH else (kind, name)
        for kind, name in named
        if isinstance(kind, str | None) and isinstance(name, str | None)
    }


def _marks(tool: Tool) -> Iterator[_Mark]:
    """By what a choice may mean a tool, or the namespace that it is in."""
    if tool.kind == SEARCH:
        yield SEARCH, None
    for name in (tool.own, tool.name):
        yield from ((None, name), (tool.kind, name))
    yield "namespace", tool.namespace
