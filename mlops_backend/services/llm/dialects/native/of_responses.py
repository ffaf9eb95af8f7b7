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
from mlops_backend.services.llm.dialects.native.response_tools import chosen, told_tools, tool_choice, tools_of

_STRUCT: Final = "ResponsesRequest"
# What `/v1/responses` of Ollama takes where a client names none; `top_p` it leaves to the model.
_TEMPERATURE: Final = 1.0
_ELSEWHERE: Final = ("previous_response_id", "conversation", "prompt")
_UNSUPPORTED: Final = ("background", "moderation")
# There is no other, whichever is asked for.
_TIER: Final = "default"
# What an answer repeats of what was asked.
_ECHOED: Final = (
    *("instructions", "tool_choice", "truncation", "parallel_tool_calls", "temperature", "top_p", "reasoning"),
    *("max_output_tokens", "max_tool_calls", "metadata", "store", "user", "safety_identifier", "prompt_cache_key"),
)


def responses(body: Mapping[str, Any]) -> Carried:
    """`/v1/responses` over `/api/chat`.

    Tools that are neither functions nor `custom`, as OpenAI's search of the web, are left out: a model is not told of
    them, and the answer does not list them. `tool_choice` leaves tools out too; an Ollama cannot be told to call one.

    Raises:
        BadRequest: what Ollama refuses; something that is kept elsewhere; a tool that must be called and is none.
    """
    request = Fields(body, _STRUCT)
    model, streamed = request.text("model"), request.flag("stream")
    for name in _ELSEWHERE:
        if request.any(name):
            raise BadRequest(f"{name} is not supported: nothing of that name is kept here")
    for name in _UNSUPPORTED:
        if request.any(name):
            raise BadRequest(f"{name} is not supported")
    tools = tools_of(request)
    able = chosen(request, tools)
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
        "tools": [tool.described for tool in able] or None,
        "think": native_think(request),
        "truncate": _truncate(request),
        "options": without_nothing(options),
    }
    echoed = {**_echoed(request), "model": model, "tools": told_tools(request)}
    by_name = {tool.name: tool for tool in tools}
    translator = partial(ResponseTranslator, echoed, by_name) if streamed else None
    whole = partial(response_reply, echoed, by_name)
    instead = (NO_EFFORTS, NO_THINKING)
    return Carried("/api/chat", without_nothing(made), whole, translator, instead, tool_choice(request, able))


def _instructions(request: Fields) -> list[dict[str, Any]]:
    text = request.text("instructions")
    return [{"role": "system", "content": text}] if text else []


def _format(text: Fields | None) -> Any:
    """The form of the answer: `json`, a schema, or none."""
    form = text.inner("format", "ResponsesTextFormat") if text is not None else None
    if form is None or (kind := form.text("type")) == "text":
        return None
    if kind == "json_object":
        return "json"
    if kind == "json_schema" and isinstance(schema := form.any("schema"), dict):
        return schema
    raise BadRequest('text.format must be of type "text", "json_object" or "json_schema" with a schema')


def _truncate(request: Fields) -> bool | None:
    """Whether an Ollama cuts what is too long, where that is said; it does where nothing is."""
    told = request.text("truncation")
    if told not in ("", "auto", "disabled"):
        raise BadRequest('truncation must be "auto" or "disabled"')
    return False if told == "disabled" else None


def _echoed(request: Fields) -> dict[str, Any]:
    echoed = {name: request.any(name) for name in _ECHOED if name in request}
    if "service_tier" in request:
        echoed["service_tier"] = _TIER
    text = request.any("text")
    return {**echoed, "text": {"format": {"type": "text"}, **text}} if isinstance(text, dict) else echoed
