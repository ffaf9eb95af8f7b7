"""Items: the input of OpenAI's Responses API as messages of Ollama's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mlops_backend.aside import rest
from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.native.fields import Fields, kind_of
from mlops_backend.services.llm.dialects.native.messages import arguments_of, image_of
from mlops_backend.services.llm.dialects.native.response_tools import SEARCH, found_tools, model_name
from mlops_backend.services.llm.dialects.openai import PARAMETER

_ITEM: Final = "ResponsesInputItem"
_CONTENT: Final = "ResponsesContent"
# The name of the field that a part's text stands in.
_TEXTS: Final = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_ASSISTANT: Final = "assistant"


def response_messages(request: Fields) -> list[dict[str, Any]]:
    """Ollama's messages: thoughts and calls go with what the assistant says around them.

    Raises:
        BadRequest: an item or a part that cannot be carried; nothing at all.
    """
    given = request.any("input")
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    if not isinstance(given, list | str | None):
        raise BadRequest(f"input must be a string or array, not {kind_of(given)}")
    made = _Messages()
    for index, item in enumerate(request.objects("input", _ITEM) if given else ()):
        try:
            made.take(item)
        except BadRequest as error:
            raise BadRequest(f"input[{index}]: {error.message}") from None
        rest()
    made.end_thought()
    if not made.messages:
        raise BadRequest("input is required")
    return made.messages


class _Messages:
    """What the items came to so far, and a thought that is still to find what was said after it."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._thought = ""
        self._names: dict[str, str] = {}

    def take(self, item: Fields) -> None:
        kind = item.text("type") or ("message" if item.text("role") else "")
        match kind:
            case "message":
                self._say(item)
            case "reasoning":
                self.end_thought()
                self._thought = _thought(item)
            case "function_call" | "custom_tool_call" | "tool_search_call":
                self._call(item, kind)
            case "function_call_output" | "custom_tool_call_output" | "tool_search_output":
                self.end_thought()
                self.messages.append(self._result(item))
            case "":
                raise BadRequest("input item missing required 'type' field")
            case _:
                raise BadRequest(f'unknown input item type: "{kind[:100]}"')

    def end_thought(self) -> None:
        """Behind it nothing was said."""
        if self._thought:
            self._add_answer({})

    def _say(self, item: Fields) -> None:
        role = item.text("role").lower()
        text, images = _content(item, "content")
        said = {"content": text, **({"images": images} if images else {})}
        if role == _ASSISTANT:
            self._add_answer(said)
            return
        self.end_thought()
        self.messages.append({"role": "system" if role == "developer" else role, **said})

    def _call(self, item: Fields, kind: str) -> None:
        own = SEARCH if kind == "tool_search_call" else item.text("name")
        name, call_id = model_name(item.text("namespace"), own), item.text("call_id")
        for field, value in (("name", name), ("call_id", call_id)):
            if not value:
                raise BadRequest(f"{kind} missing required '{field}' field")
        self._names[call_id] = name
        given = _given(item, kind)
        call = {"id": call_id, "function": {"name": name, "arguments": given}}
        if self._thought or not self.messages or self.messages[-1]["role"] != _ASSISTANT:
            self._add_answer({})
        self.messages[-1].setdefault("tool_calls", []).append(call)

    def _result(self, item: Fields) -> dict[str, Any]:
        """A result, with the name of the function that it is of: older templates know no other."""
        told = item.text("call_id")
        is_search = item.text("type") == "tool_search_output"
        text, images = (found_tools(item), ()) if is_search else _content(item, "output")
        extras = {"images": images, "tool_name": self._names.get(told, ""), "tool_call_id": told}
        return {"role": "tool", "content": text, **{name: value for name, value in extras.items() if value}}

    def _add_answer(self, said: dict[str, Any]) -> None:
        thought, self._thought = self._thought, ""
        thinking = {"thinking": thought} if thought else {}
        self.messages.append({"role": _ASSISTANT, "content": "", **said, **thinking})


def _given(item: Fields, kind: str) -> dict[str, Any]:
    """The arguments of a call, as an object."""
    if kind == "custom_tool_call":
        return {PARAMETER: item.text("input")}
    if kind == "tool_search_call" and isinstance(given := item.any("arguments"), dict):
        return given
    return arguments_of(item.text("arguments") or "{}")


def _thought(item: Fields) -> str:
    """What was thought, as far as it can be read: an `encrypted_content` is for the server that made it."""
    for name in ("content", "summary"):
        if texts := [part.text("text") for part in item.objects(name, _CONTENT)]:
            return "\n\n".join(texts)
    return ""


def _content(item: Fields, name: str) -> tuple[str, Sequence[str]]:
    """The text, and the base64 of images."""
    value = item.any(name)
    if value is None or isinstance(value, str):
        return value or "", ()
    if not isinstance(value, list):
        raise BadRequest(f"{name} must be a string or array, not {kind_of(value)}")
    text, images = "", []
    for part in item.objects(name, _CONTENT):
        kind = part.text("type")
        if kind in _TEXTS:
            text += part.text(_TEXTS[kind])
        elif kind == "input_image":
            images.append(image_of(part.text("image_url")))
        else:
            raise BadRequest(f"unknown content type: {kind[:100]}")
    return text, images
