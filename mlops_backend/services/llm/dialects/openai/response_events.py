"""llama.cpp's answers to `/v1/responses`, with the members that OpenAI's have and clients check for.

The engine leaves out where an event belongs (`sequence_number`, `output_index`, `content_index`), and most of the
response that `response.created` tells.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from time import time
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.services.llm.dialects import EVENT, Frames, dumped

RESPONSES_PATH: Final = "/v1/responses"
_DATA: Final = b"data: "
_KIND: Final = "response."
_ADDED: Final = "response.output_item.added"
_ECHOED: Final = ("instructions", "temperature", "top_p")
_TEXT: Final[Mapping[str, Any]] = {"annotations": [], "logprobs": []}
# In the order in which Ollama writes them.
RESPONSE: Final[Mapping[str, Any]] = {
    "id": "",
    "object": "response",
    "created_at": 0,
    "completed_at": None,
    "status": "in_progress",
    "incomplete_details": None,
    "model": "",
    "previous_response_id": None,
    "instructions": None,
    "output": [],
    "error": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "top_p": 1.0,
    "temperature": 1.0,
    "reasoning": None,
    "usage": None,
    "max_output_tokens": None,
    "store": False,
    "background": False,
    "metadata": {},
}
# Members of an event by the ends of its type; those of the engine's own stay.
_PLACES: Final[Mapping[str, Mapping[str, Any]]] = {
    "content_part": {"content_index": 0},
    "output_text": {"content_index": 0, "logprobs": []},
    "refusal": {"content_index": 0},
    "reasoning_text": {"content_index": 0},
    "reasoning_summary_part": {"summary_index": 0},
    "reasoning_summary_text": {"summary_index": 0},
}

Told = dict[str, Any]


async def completed_events(
    chunks: AsyncGenerator[bytes, None], asked: Mapping[str, Any]
) -> AsyncGenerator[bytes, None]:
    """The same stream, in whole events with all of their members.

    Args:
        chunks: the engine's own, cut anywhere; closed at the end.
        asked: the body that the engine was sent.

    Raises:
        BackendNonsense: an event longer than `MAX_FRAME_BYTES`.
        AppError: what `chunks` raises.
    """
    frames, events = Frames(EVENT), _Events(asked)
    async with aclosing(chunks):
        async for chunk in chunks:
            if whole := frames.feed(chunk):
                yield events.completed(whole)
    if left := frames.rest():
        yield left


def completed_response(told: bytes, asked: Mapping[str, Any]) -> bytes:
    """A whole answer with all of its members; what is no object stays as it is."""
    response = _object(told)
    return told if response is None else dumped(_response(response, asked, int(time())))


class _Events:
    """One stream: which item is where, and how many events have passed."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._asked = asked
        self._begun = int(time())
        self._sent = 0
        self._places: dict[str, int] = {}

    def completed(self, events: bytes) -> bytes:
        return b"\n".join(self._line(line) if line.startswith(_DATA) else line for line in events.split(b"\n"))

    def _line(self, line: bytes) -> bytes:
        event = _object(line.removeprefix(_DATA))
        kind = str(event.get("type", "")) if event is not None else ""
        if event is None or not kind.startswith(_KIND):
            return line
        event = {**event, **self._members(kind, event), "sequence_number": self._sent}
        self._sent += 1
        return _DATA + dumped(event)

    def _members(self, kind: str, event: Mapping[str, Any]) -> Told:
        if isinstance(response := event.get("response"), Mapping):
            return {"response": _response({**response, "created_at": self._begun}, self._asked, self._begun)}
        members: Told = {}
        if isinstance(item := event.get("item"), Mapping):
            members["item"] = _item(item)
        if isinstance(part := event.get("part"), Mapping):
            members["part"] = _part(part)
        named = str(event.get("item_id") or members.get("item", {}).get("id") or "")
        if kind == _ADDED:
            self._places[named] = len(self._places)
        place = self._places.get(named, max(0, len(self._places) - 1))
        return {**_PLACES.get(kind.split(".")[1], {}), "output_index": place, **_told(event), **members}


def _told(event: Mapping[str, Any]) -> Told:
    """What the engine itself says of an event's place, should it begin to."""
    return {
        name: event[name] for name in ("output_index", "content_index", "summary_index", "logprobs") if name in event
    }


def _response(told: Mapping[str, Any], asked: Mapping[str, Any], begun: int) -> Told:
    echoed = {name: asked[name] for name in _ECHOED if name in asked}
    ours = {"created_at": begun, "model": asked["model"], "max_output_tokens": asked.get("max_tokens"), **echoed}
    response = {**RESPONSE, **ours, **told}
    response["output"] = [_item(item) if isinstance(item, Mapping) else item for item in response["output"]]
    if response["status"] == "completed":
        response["completed_at"] = response["completed_at"] or int(time())
    if isinstance(usage := response["usage"], Mapping):
        response["usage"] = _usage(usage)
    return response


def _usage(told: Mapping[str, Any]) -> Told:
    read = {"cached_tokens": 0, "cache_write_tokens": 0, **(told.get("input_tokens_details") or {})}
    written = {"reasoning_tokens": 0, **(told.get("output_tokens_details") or {})}
    return {**told, "input_tokens_details": read, "output_tokens_details": written}


def _item(told: Mapping[str, Any]) -> Told:
    """An item of the output: a call of a function is named by its call, as the events of its arguments do."""
    item = {"id": told.get("call_id", ""), "status": "completed", **told}
    if isinstance(content := item.get("content"), list):
        item["content"] = [_part(part) if isinstance(part, Mapping) else part for part in content]
    return item


def _part(told: Mapping[str, Any]) -> Told:
    return {**_TEXT, **told} if told.get("type") == "output_text" else dict(told)


def _object(text: bytes) -> Told | None:
    try:
        value = from_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
