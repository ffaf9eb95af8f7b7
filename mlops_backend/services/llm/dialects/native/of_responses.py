"""OpenAI's Responses API as a body of Ollama's own chat."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.native.carried import NO_EFFORTS, NO_THINKING, Carried, without_nothing
from mlops_backend.services.llm.dialects.native.fields import Fields
from mlops_backend.services.llm.dialects.native.options import native_think
from mlops_backend.services.llm.dialects.native.response_events import ResponseTranslator
from mlops_backend.services.llm.dialects.native.response_items import response_messages
from mlops_backend.services.llm.dialects.native.response_replies import response_reply

_STRUCT: Final = "ResponsesRequest"
_EMPTY: Final = {"type": "object", "properties": {}}
# What `/v1/responses` of Ollama takes where a client names none; `top_p` it leaves to the model.
_TEMPERATURE: Final = 1.0
_ELSEWHERE: Final = ("previous_response_id", "conversation", "prompt")
# What an answer repeats of what was asked.
_ECHOED: Final = (
    *("instructions", "tool_choice", "truncation", "parallel_tool_calls", "temperature", "top_p", "reasoning"),
    *("max_output_tokens", "max_tool_calls", "metadata", "store", "user", "safety_identifier", "prompt_cache_key"),
)


def responses(body: Mapping[str, Any]) -> Carried:
    """`/v1/responses` over `/api/chat`.

    Tools that OpenAI itself runs, as its search of the web, are left out: a model is not told of them, and the answer
    does not list them among its tools. `tool_choice` leaves tools out too; an Ollama cannot be told to call one.

    Raises:
        BadRequest: what Ollama refuses; something that is kept elsewhere; a tool that must be called and is none.
    """
    request = Fields(body, _STRUCT)
    model, streamed = request.text("model"), request.flag("stream")
    for name in _ELSEWHERE:
        if request.any(name):
            raise BadRequest(f"{name} is not supported: nothing of that name is kept here")
    if request.flag("background"):
        raise BadRequest("background is not supported")
    tools = [tool for tool in request.objects("tools", "ResponsesTool") if tool.text("type") == "function"]
    options = {
        "num_predict": request.whole_number("max_output_tokens"),
        "temperature": request.number("temperature") if "temperature" in request else _TEMPERATURE,
        "top_p": request.number("top_p"),
    }
    text = request.inner("text", "ResponsesText")
    made = {
        "model": model,
        "messages": [*_instructions(request), *response_messages(request)],
        "stream": streamed,
        "format": _format(text),
        "tools": [_native_tool(tool) for tool in _chosen(request, tools)] or None,
        "think": native_think(request),
        "options": without_nothing(options),
    }
    echoed = {**_echoed(request), "model": model, "tools": [_told_tool(tool) for tool in tools]}
    translator = partial(ResponseTranslator, echoed) if streamed else None
    whole = partial(response_reply, echoed)
    instead = (NO_EFFORTS, NO_THINKING)
    return Carried("/api/chat", without_nothing(made), whole, translator, instead, _tool_choice(request))


def _instructions(request: Fields) -> list[dict[str, Any]]:
    text = request.text("instructions")
    return [{"role": "system", "content": text}] if text else []


def _format(text: Fields | None) -> Any:
    """The form of the answer: `json`, a schema, or none."""
    form = text.inner("format", "ResponsesTextFormat") if text is not None else None
    match form.text("type") if form is not None else "":
        case "json_object":
            return "json"
        case "json_schema":
            return form.any("schema") if form is not None else None
    return None


def _chosen(request: Fields, tools: list[Fields]) -> list[Fields]:
    """The tools that a model may call."""
    choice = request.any("tool_choice")
    kind = choice if isinstance(choice, str) else choice.get("type") if isinstance(choice, dict) else None
    if kind == "none":
        return []
    if not isinstance(choice, dict) or kind is None:
        return tools
    if kind == "allowed_tools":
        allowed = choice.get("tools")
        named = {each.get("name") for each in allowed if isinstance(each, dict)} if isinstance(allowed, list) else set()
        return [tool for tool in tools if tool.text("name") in named]
    chosen = [tool for tool in tools if kind == "function" and tool.text("name") == choice.get("name")]
    if not chosen:
        raise BadRequest("tool_choice names a tool that is not among the functions in tools")
    return chosen


def _tool_choice(request: Fields) -> dict[str, Any]:
    """What no Ollama is sent, and servers of OpenAI's API understand; `allowed_tools` has left others out already."""
    choice, together = request.any("tool_choice"), request.any("parallel_tool_calls")
    if isinstance(choice, dict):
        function = {"function": {"name": choice.get("name")}}
        of_kind = {"function": {"type": "function", **function}, "allowed_tools": choice.get("mode")}
        choice = of_kind.get(str(choice.get("type")))
    apart = {"parallel_tool_calls": together} if isinstance(together, bool) else {}
    return {**({"tool_choice": choice} if choice else {}), **apart}


def _native_tool(tool: Fields) -> dict[str, Any]:
    parameters = tool.inner("parameters", "map[string]interface {}")
    schema = _EMPTY if parameters is None else tool.any("parameters")
    function = {"name": tool.text("name"), "description": tool.text("description"), "parameters": schema}
    return {"type": "function", "function": function}


def _told_tool(tool: Fields) -> dict[str, Any]:
    names = ("type", "name", "description", "parameters", "strict")
    return {name: tool.any(name) for name in names}


def _echoed(request: Fields) -> dict[str, Any]:
    echoed = {name: request.any(name) for name in _ECHOED if name in request}
    text = request.any("text")
    return {**echoed, "text": {"format": {"type": "text"}, **text}} if isinstance(text, dict) else echoed
