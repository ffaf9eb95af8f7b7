"""Turns: conversations in the words of three APIs, made anew as the embedded engine reads them.

It takes less than the APIs allow, and answers 500 where a client is wrong: so what it cannot read is refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mlops_backend.errors import BadRequest, Unsupported
from mlops_backend.services.llm.dialects.openai.messages import Model, require, text_of

Turn = dict[str, Any]
_TEXTS: Final = frozenset({"text", "input_text", "output_text"})
_IMAGES: Final = frozenset({"image", "image_url", "input_image"})
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})


def chat_turns(messages: Any, model: Model) -> list[Turn]:
    """The `messages` of `/v1/chat/completions`.

    Raises:
        Unsupported: a part that the model cannot take.
        BadRequest: not a list of messages, or one that cannot be read.
    """
    return [_chat_turn(turn, model) for turn in _objects(messages, "messages")]


def response_items(items: Any, model: Model) -> str | list[Turn]:
    """The `input` of `/v1/responses`; raises what `chat_turns` raises."""
    if isinstance(items, str):
        return items
    return [_item(item, model) for item in _objects(items, "input") if item.get("type") not in _THOUGHTS]


def message_turns(messages: Any, model: Model) -> list[Turn]:
    """The `messages` of `/v1/messages`; raises what `chat_turns` raises."""
    return [
        {"role": _role(turn), "content": _blocks(turn.get("content"), model)} for turn in _objects(messages, "messages")
    ]


def system_text(system: Any) -> str:
    """The `system` of `/v1/messages`: a text, or blocks of it.

    Raises:
        BadRequest: something else.
    """
    if system is None or isinstance(system, str):
        return system or ""
    return "\n".join(text_of(block.get("text"), "text") for block in _objects(system, "system"))


def _chat_turn(message: Mapping[str, Any], model: Model) -> Turn:
    turn: Turn = {"role": _role(message), "content": _text(message.get("content"), model)}
    if message.get("tool_calls"):
        turn["tool_calls"] = [_tool_call(call) for call in _objects(message["tool_calls"], "tool_calls")]
    return {**turn, **{name: text_of(message[name], name) for name in ("tool_call_id", "name") if message.get(name)}}


def _tool_call(call: Mapping[str, Any]) -> Turn:
    function = call.get("function")
    if not isinstance(function, Mapping):
        raise BadRequest("each of the tool_calls must have a function")
    named = {name: text_of(function.get(name), name) for name in ("name", "arguments")}
    return {"id": text_of(call.get("id"), "id"), "type": "function", "function": named}


def _item(item: Mapping[str, Any], model: Model) -> Turn:
    kind = item.get("type") or "message"
    if kind == "function_call":
        return {"type": kind, **{name: text_of(item.get(name), name) for name in ("call_id", "name", "arguments")}}
    if kind == "function_call_output":
        return {"type": kind, "call_id": text_of(item.get("call_id"), "call_id"), "output": _output(item, model)}
    if kind != "message":
        raise Unsupported(f"this backend takes no items of type {str(kind)[:100]!r}")
    role, text = _role(item), _text(item.get("content"), model)
    if role == "assistant":
        parts = [{"type": "output_text", "text": text}]
        return {"type": kind, "role": role, "status": "completed", "content": parts}
    return {"type": kind, "role": role, "content": [{"type": "input_text", "text": text}]}


def _output(item: Mapping[str, Any], model: Model) -> str:
    return _text(item.get("output"), model)


def _blocks(content: Any, model: Model) -> list[Turn]:
    """Anthropic's content: a text, or blocks of text, of a tool's use and of its result."""
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content or ""}]
    blocks = [block for block in _objects(content, "content") if block.get("type") not in _THOUGHTS]
    return [_block(block, model) for block in blocks]


def _block(block: Mapping[str, Any], model: Model) -> Turn:
    match block.get("type"):
        case "tool_use":
            used = {name: text_of(block.get(name), name) for name in ("id", "name")}
            given = block.get("input")
            return {"type": "tool_use", **used, "input": given if isinstance(given, Mapping) else {}}
        case "tool_result":
            told = {"tool_use_id": text_of(block.get("tool_use_id"), "tool_use_id")}
            return {"type": "tool_result", **told, "content": _text(block.get("content"), model)}
    return {"type": "text", "text": _part(block, model)}


def _text(content: Any, model: Model) -> str:
    """The text of a content, whose parts become lines; there are no others for a model that reads only text."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_part(part, model) for part in _objects(content, "content"))


def _part(part: Mapping[str, Any], model: Model) -> str:
    kind = part.get("type")
    if kind in _TEXTS:
        return text_of(part.get("text"), "text")
    if kind in _IMAGES:
        require("vision", model, "images")
    raise Unsupported(f'"{model.name}" does not support content of type {str(kind)[:100]!r}')


def _role(turn: Mapping[str, Any]) -> str:
    """Of OpenAI's two names for instructions the model knows the older one."""
    role = text_of(turn.get("role"), "role")
    if not role:
        raise BadRequest("each of the messages must have a role")
    return "system" if role == "developer" else role


def _objects(values: Any, name: str) -> Iterable[Mapping[str, Any]]:
    if not isinstance(values, list) or not values or not all(isinstance(value, Mapping) for value in values):
        raise BadRequest(f'the field "{name}" must be an array of objects')
    return values
