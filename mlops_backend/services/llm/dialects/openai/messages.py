"""Messages: turns of an Ollama conversation as turns of an OpenAI one, and what a model must be able to take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlops_backend.errors import BadRequest, Unsupported


@dataclass(frozen=True, slots=True)
class Model:
    """The model of one request.

    `name` is what the client calls it, `served` what its server does, if that differs; `capabilities` are in Ollama's
    words; `llama_cpp` says that a llama.cpp serves it that we know, so that its own fields may be sent.
    """

    name: str
    capabilities: frozenset[str] = field(default=frozenset({"completion"}))
    served: str = ""
    llama_cpp: bool = True

    @property
    def sent(self) -> str:
        """The name to send."""
        return self.served or self.name


def turn_of(message: Any, model: Model) -> dict[str, Any]:
    """One message of `/api/chat` as one of `/v1/chat/completions`.

    Raises:
        Unsupported: images for a model without `vision`.
        BadRequest: a field of the wrong type.
    """
    if not isinstance(message, Mapping):
        raise BadRequest("each of the messages must be an object")
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise BadRequest("each of the messages must have a role")
    text = text_of(message.get("content"), "content")
    turn: dict[str, Any] = {"role": role.lower(), "content": _content(text, message.get("images"), model)}
    if calls := message.get("tool_calls"):
        turn["tool_calls"] = _tool_calls(calls)
    for theirs, ours in (("tool_call_id", "tool_call_id"), ("tool_name", "name")):
        if message.get(theirs):
            turn[ours] = text_of(message[theirs], theirs)
    return turn


def with_call_ids(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same turns, a tool's answer with the id of its call: OpenAI's API needs one, Ollama's clients send none."""
    waiting: list[dict[str, Any]] = []
    for turn in turns:
        waiting = [*turn["tool_calls"]] if turn.get("tool_calls") else waiting
        if turn["role"] == "tool" and "tool_call_id" not in turn and waiting:
            called = next((call for call in waiting if call["function"]["name"] == turn.get("name")), waiting[0])
            turn["tool_call_id"] = called["id"]
        waiting = [call for call in waiting if call["id"] != turn.get("tool_call_id")]
    return turns


def _content(text: str, images: Any, model: Model) -> str | list[dict[str, Any]]:
    if not images:
        return text
    require("vision", model, "images")
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise BadRequest('the field "images" must be an array of base64 texts')
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:{_media_type(image)};base64,{image}"}} for image in images
    ]
    return [{"type": "text", "text": text}, *parts]


def _media_type(image: str) -> str:
    """From the first bytes in base64; a server that decodes by content takes any of them."""
    known = {"/9j/": "image/jpeg", "UklGR": "image/webp", "R0lGOD": "image/gif"}
    return next((kind for start, kind in known.items() if image.startswith(start)), "image/png")


def _tool_calls(calls: Any) -> list[dict[str, Any]]:
    """Ollama's arguments are an object, OpenAI's the text of one."""
    if not isinstance(calls, Sequence) or not all(
        isinstance(call, Mapping) and isinstance(call.get("function"), Mapping) for call in calls
    ):
        raise BadRequest("each of the tool_calls must be an object with a function")
    return [_tool_call(index, call) for index, call in enumerate(calls)]


def _tool_call(index: int, call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    named = {"name": text_of(function.get("name"), "name"), "arguments": text}
    return {"id": str(call.get("id") or f"call_{index}"), "type": "function", "function": named}


def require(capability: str, model: Model, what: str) -> None:
    """Refuse what the model cannot take.

    Raises:
        Unsupported: `capability` is not among the model's.
    """
    if capability not in model.capabilities:
        raise Unsupported(f'"{model.name}" does not support {what}')


def text_of(value: Any, name: str) -> str:
    """A text of the body; a missing one is empty.

    Raises:
        BadRequest: it is something else.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequest(f'the field "{name}" must be a string')
    return value
