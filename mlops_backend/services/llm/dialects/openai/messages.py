"""Messages: turns of an Ollama conversation as turns of an OpenAI one, and what a model must be able to take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlops_backend.errors import BadRequest, Unsupported
from mlops_backend.services.llm.dialects.openai.images import image_parts
from mlops_backend.services.llm.dialects.openai.tools import safe_name


@dataclass(frozen=True, slots=True)
class Model:
    """The model of one request.

    `name` is what the client calls it, `served` what its server does, if that differs; `capabilities` are in Ollama's
    words; `llama_cpp` says that a llama.cpp serves it that we know, so that its own fields may be sent. `context` is
    how many tokens prompt and answer may have together, 0 where nobody tells; `owner` is what the server calls itself.
    """

    name: str
    capabilities: frozenset[str] = field(default=frozenset({"completion"}))
    served: str = ""
    llama_cpp: bool = True
    context: int = 0
    owner: str = ""

    @property
    def sent(self) -> str:
        """The name to send."""
        return self.served or self.name


def turn_of(message: Any, model: Model) -> dict[str, Any]:
    """One message of `/api/chat` as one of `/v1/chat/completions`; its calls still lack ids where the client sent none.

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
    if turn["role"] == "assistant" and (thinking := text_of(message.get("thinking"), "thinking")):
        turn |= {"reasoning_content": thinking, "reasoning": thinking}  # servers differ in its name
    if calls := message.get("tool_calls"):
        turn["tool_calls"] = _tool_calls(calls, model)
    if called := text_of(message.get("tool_call_id"), "tool_call_id"):
        turn["tool_call_id"] = called
    if name := text_of(message.get("tool_name") or message.get("name"), "tool_name"):
        turn["name"] = safe_name(name, model.llama_cpp)
    return turn


def _content(text: str, images: Any, model: Model) -> str | list[dict[str, Any]]:
    if not images:
        return text
    require("vision", model, "images")
    return [*([{"type": "text", "text": text}] if text else []), *image_parts(images)]


def _tool_calls(calls: Any, model: Model) -> list[dict[str, Any]]:
    """Ollama's arguments are an object, OpenAI's the text of one."""
    if not isinstance(calls, Sequence) or not all(
        isinstance(call, Mapping) and isinstance(call.get("function"), Mapping) for call in calls
    ):
        raise BadRequest("each of the tool_calls must be an object with a function")
    return [_tool_call(call, model) for call in calls]


def _tool_call(call: Mapping[str, Any], model: Model) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    name = safe_name(text_of(function.get("name"), "name"), model.llama_cpp)
    return {"id": str(call.get("id") or ""), "type": "function", "function": {"name": name, "arguments": text}}


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
