"""Messages: a conversation in OpenAI's words as one in Ollama's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.aside import rest
from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.native.fields import Fields

# How Go calls what may stand where a content should.
_GO_TYPES: Final = {bool: "bool", int: "float64", float: "float64", dict: "map[string]interface {}"}
# Ollama knows a few kinds of images, and older ones not the last two of these beginnings.
_IMAGES: Final = (*(f"data:image/{kind};base64," for kind in ("jpeg", "jpg", "png", "webp")), "data:;base64,")


def native_messages(request: Fields) -> list[dict[str, Any]]:
    """Ollama's messages: one for each message, and for each part of one that is a list of parts.

    Raises:
        BadRequest: what Ollama refuses.
    """
    messages = request.objects("messages", "openai.Message")
    names = _names_of_calls(messages)
    made: list[dict[str, Any]] = []
    for message in messages:
        made += _native(message, names)
        rest()
    return made


def _names_of_calls(messages: list[Fields]) -> dict[str, str]:
    """The names of the functions that a conversation's calls name, by the calls' ids; the last of several counts."""
    calls = [call for message in messages for call in message.objects("tool_calls", "openai.ToolCall")]
    return {call.text("id"): _function_of(call).text("name") for call in calls}


def _native(message: Fields, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    role, content = message.text("role"), message.any("content")
    extras = {name: value for name, value in _extras(message, names).items() if value}
    if isinstance(content, list):
        parts = [{"role": role, **_part(part)} for part in content]
        if parts:
            parts[-1] |= extras
        yield from parts
    elif isinstance(content, str):
        yield {"role": role, "content": content, **extras}
    elif "tool_calls" in message:
        yield {"role": role, "content": "", **extras}
    else:
        raise BadRequest(f"invalid message content type: {_GO_TYPES.get(type(content), '<nil>')}")


def _extras(message: Fields, names: dict[str, str]) -> dict[str, Any]:
    """What a message has beside its content."""
    told = message.text("tool_call_id")
    is_result = message.text("role").lower() == "tool"
    return {
        "thinking": message.text("reasoning"),
        "tool_calls": [_native_call(call) for call in message.objects("tool_calls", "openai.ToolCall")],
        "tool_name": (message.text("name") or names.get(told, "")) if is_result else "",
        "tool_call_id": told,
    }


def _part(part: Any) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"content": text}
        case {"type": "image_url", "image_url": {"url": str(url)}} | {"type": "image_url", "image_url": str(url)}:
            return {"content": "", "images": [image_of(url)]}
    raise BadRequest("invalid message format")


def image_of(url: str) -> str:
    """The base64 of an image in a data URL; whether it is some is for Ollama to say. Raises `BadRequest`."""
    for start in _IMAGES:
        if url.startswith(start):
            return url[len(start) :]
    raise BadRequest("invalid image input")


def _native_call(call: Fields) -> dict[str, Any]:
    """A call whose arguments are an object, and not the text of one."""
    function = _function_of(call)
    named = {"function": {"name": function.text("name"), "arguments": arguments_of(function.text("arguments"))}}
    return {"id": call.text("id"), **named} if call.text("id") else named


def _function_of(call: Fields) -> Fields:
    return call.inner("function", "") or Fields({}, "")


def arguments_of(text: str) -> dict[str, Any]:
    """The arguments of a call; raises `BadRequest` where they are no object."""
    try:
        value = from_json(text)
    except ValueError:
        raise BadRequest("invalid tool call arguments") from None
    if not isinstance(value, dict | None):
        raise BadRequest("invalid tool call arguments")
    return value or {}
