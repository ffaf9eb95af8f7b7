"""Anthropic's messages as a body of Ollama's own chat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from mlops_backend.aside import rest
from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects import dumped, tokens_in
from mlops_backend.services.llm.dialects.native.carried import (
    NO_EFFORTS,
    NO_REASONING,
    NO_THINKING,
    Carried,
    without_nothing,
)
from mlops_backend.services.llm.dialects.native.fields import Fields, kind_of
from mlops_backend.services.llm.dialects.native.message_events import MessageTranslator, message_reply

MESSAGES_PATH: Final = "/v1/messages"
_STRUCT: Final = "MessagesRequest"
_THINKING: Final = {"enabled": True, "disabled": False}
_EFFORTS: Final = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_EMPTY: Final = {"type": "object", "properties": {}}


def messages(body: Mapping[str, Any]) -> Carried:
    """`/v1/messages` over `/api/chat`.

    Raises:
        BadRequest: what Ollama refuses, in its words; and a search of the web, which only its own `/v1` does.
    """
    request = Fields(body, _STRUCT)
    model, streamed = request.text("model"), request.flag("stream")
    most, turns = request.whole_number("max_tokens"), request.objects("messages", "anthropic.MessageParam")
    if not model:
        raise BadRequest("model is required")
    if most is None or most <= 0:
        raise BadRequest("max_tokens is required and must be positive")
    if not turns:
        raise BadRequest("messages is required")
    made = {
        "model": model,
        "messages": [*_system(request.any("system")), *_native(turns)],
        "stream": streamed,
        "tools": [_tool(tool) for tool in request.objects("tools", "anthropic.Tool")] or None,
        "format": _format(request),
        "think": _think(request),
        "options": without_nothing(
            {
                "num_predict": most,
                "temperature": request.number("temperature"),
                "top_p": request.number("top_p"),
                "top_k": request.whole_number("top_k"),
                "stop": request.texts("stop_sequences") or None,
            }
        ),
    }
    translator = partial(MessageTranslator, model, _estimate(made)) if streamed else None
    instead = (NO_EFFORTS, NO_THINKING, *NO_REASONING)
    return Carried("/api/chat", without_nothing(made), message_reply, translator, instead, _tool_choice(request))


def _system(system: Any) -> Iterator[dict[str, Any]]:
    text = _text_of(system)
    if text:
        yield {"role": "system", "content": text}


def _native(turns: list[Fields]) -> Iterator[dict[str, Any]]:
    """A message for each turn, and one for each result of a tool."""
    names: dict[str, str] = {}
    for turn in turns:
        role, blocks = turn.text("role").lower(), _blocks(turn)
        results = [_result(block, names) for block in blocks if block.any("type") == "tool_result"]
        said = _said(blocks)
        for call in said.get("tool_calls", ()):
            names[call["id"]] = call["function"]["name"]
        spoken = [{"role": role, "content": "", **said}] if said else []
        yield from (*results, *spoken) if role == "user" else (*spoken, *results)
        rest()


def _blocks(turn: Fields) -> list[Fields]:
    content = turn.any("content")
    if content is None or isinstance(content, str):
        return [Fields({"type": "text", "text": content or ""}, "ContentBlock")]
    if not isinstance(content, list):
        raise BadRequest(f"json: cannot unmarshal {kind_of(content)} into Go value of type []anthropic.ContentBlock")
    return turn.objects("content", "anthropic.ContentBlock")


def _said(blocks: Iterable[Fields]) -> dict[str, Any]:
    """What a turn says beside results: text, images, calls, and what was thought last."""
    texts, images, calls, thought = "", [], [], ""
    for block in blocks:
        match block.any("type"):
            case "text":
                texts += block.text("text")
            case "image":
                images.append(_image(block.inner("source", "anthropic.ImageSource")))
            case "tool_use":
                calls.append(_call(block))
            case "thinking":
                thought = block.text("thinking")
    said = {"content": texts, "images": images, "tool_calls": calls, "thinking": thought}
    return {name: value for name, value in said.items() if value}


def _call(block: Fields) -> dict[str, Any]:
    for name in ("id", "name"):
        if not block.text(name):
            raise BadRequest(f"tool_use block missing required '{name}' field")
    given = block.any("input") or {}
    if not isinstance(given, dict):
        raise BadRequest("invalid tool call arguments")
    return {"id": block.text("id"), "function": {"name": block.text("name"), "arguments": given}}


def _result(block: Fields, names: Mapping[str, str]) -> dict[str, Any]:
    """A result, with the name of the function that it is of: older templates know no other."""
    content, told = block.any("content"), block.text("tool_use_id")
    parts = block.objects("content", "anthropic.ContentBlock") if isinstance(content, list) else []
    images = [_image(part.inner("source", "anthropic.ImageSource")) for part in parts if part.any("type") == "image"]
    extras = {"images": images, "tool_name": names.get(told, ""), "tool_call_id": told}
    return {"role": "tool", "content": _text_of(content), **{name: value for name, value in extras.items() if value}}


def _image(source: Fields | None) -> str:
    if source is None:
        raise BadRequest("invalid image source")
    if source.text("type") != "base64":
        kind = source.text("type")[:100]
        raise BadRequest(f"invalid image source type: {kind}. Only base64 images are supported.")
    return source.text("data")


def _text_of(content: Any) -> str:
    """A text, or the texts of blocks."""
    if isinstance(content, str):
        return content
    return "".join(map(_text_in, content)) if isinstance(content, list) else ""


def _text_in(block: Any) -> str:
    """The text of a block; a tool that a search found is told by its name, and other blocks have none."""
    match block:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "tool_reference", "tool_name": str(name)}:
            return f"{name}\n"
    return ""


def _tool(tool: Fields) -> dict[str, Any]:
    if tool.text("type").startswith("web_search"):
        raise BadRequest("This model is asked by Ollama's own chat, which does not search the web.")
    schema = tool.any("input_schema") or _EMPTY
    function = {"name": tool.text("name"), "description": tool.text("description"), "parameters": schema}
    return {"type": "function", "function": function}


def _tool_choice(request: Fields) -> dict[str, Any]:
    """Whether, and which, tools are to be called, in OpenAI's words: Ollama has none."""
    choice = request.inner("tool_choice", "anthropic.ToolChoice")
    if choice is None:
        return {}
    named = {"type": "function", "function": {"name": choice.text("name")}}
    chosen = named if choice.text("type") == "tool" else _CHOICES.get(choice.text("type"))
    apart = {"parallel_tool_calls": False} if choice.flag("disable_parallel_tool_use") else {}
    return {**({"tool_choice": chosen} if chosen else {}), **apart}


def _format(request: Fields) -> Any:
    """The schema of the answer, where one is asked for."""
    output = request.inner("output_config", "anthropic.OutputConfig")
    form = None if output is None else output.inner("format", "anthropic.OutputFormat")
    return form.any("schema") if form is not None and form.text("type") == "json_schema" else None


def _think(request: Fields) -> bool | str | None:
    thinking, output = (
        request.inner("thinking", "anthropic.ThinkingConfig"),
        request.inner("output_config", "anthropic.OutputConfig"),
    )
    if thinking is not None and (told := _THINKING.get(thinking.text("type"))) is not None:
        return told
    return None if output is None else _EFFORTS.get(output.text("effort").strip().lower())


def _estimate(made: Mapping[str, Any]) -> int:
    """The tokens of a prompt, by its length: they have to be told before the model has read it."""
    tools = dumped({"tools": made["tools"]}) if made["tools"] else b""
    return max(1, tokens_in(sum(len(message["content"]) for message in made["messages"]) + len(tools)))
