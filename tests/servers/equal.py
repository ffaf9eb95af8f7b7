"""Whether two answers are the same but for what differs from one moment to the next: ids, times, and how text was cut.

An id becomes the place where it was first seen, so an id that should come again has to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final

from tests.e2e.wire import Answer

_IDS: Final = frozenset({"id", "item_id", "response_id", "call_id", "request_id", "tool_use_id", "tool_call_id"})
_TIMES: Final = frozenset({"created", "created_at", "completed_at", "timings", "prompt_cache_key"})
# How many pieces a text was cut into, and what the request before left in a cache.
_COUNTS: Final = frozenset({"sequence_number", "cached_tokens", "cache_read_input_tokens"})
_RANDOM: Final = re.compile(r"\b([a-z]{2,}(?:-tool)?[-_])?([0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f-]{36})\b")
_ABSENT: Final = "nothing"
_BREAK: Final = re.compile(rb"\r?\n\r?\n")


def told(answer: Answer, model: str = "") -> dict[str, Any]:
    """All of an answer that a client of the API can notice.

    Args:
        answer: to a request of `/v1`.
        model: a text that is this run's own, such as a folder.
    """
    masks = _Masks(model)
    kind = (answer.header("content-type") or "").partition(";")[0]
    if kind == "text/event-stream":
        return {"status": answer.status, "type": kind, "stream": _folded(masks.masked(list(events(answer.body))))}
    return {"status": answer.status, "type": kind, "body": masks.masked(read(answer.body))}


def read(body: bytes) -> Any:
    """A body's JSON, or its text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def events(body: bytes) -> Iterator[dict[str, Any]]:
    """The events of a stream, each with its name, if it has one, and its data."""
    for block in filter(None, _BREAK.split(body)):
        fields = [line.partition(b":") for line in block.splitlines()]
        values = {name.decode(): value.strip() for name, _, value in fields if name in {b"event", b"data"}}
        yield {name: value.decode() if name == "event" else read(value) for name, value in values.items()}


class _Masks:
    def __init__(self, model: str) -> None:
        self._model = model
        self._seen: dict[str, str] = {}

    def masked(self, value: Any, name: str = "") -> Any:
        if name in _COUNTS or (name in _TIMES and not isinstance(value, str)):
            return "a number"
        if isinstance(value, Mapping):
            if {"input_tokens", "cache_read_input_tokens"} <= value.keys():
                value = {**value, "input_tokens": value["input_tokens"] + value["cache_read_input_tokens"]}
            return {key: self.masked(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [self.masked(each) for each in value]
        if isinstance(value, float):
            return round(value, 3)
        return self._text(value, name) if isinstance(value, str) else value

    def _text(self, text: str, name: str) -> str:
        if name in _TIMES and text[:4].isdigit():
            return "a time"
        if name in _IDS and (not self._model or text != self._model):
            return self._seen.setdefault(text, f"id {len(self._seen)}")
        plain = text.replace(self._model, "MODEL") if self._model else text
        return _RANDOM.sub(lambda found: self._seen.setdefault(found[0], f"id {len(self._seen)}"), plain)


def _folded(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What a stream says, however its text was cut: a server joins the tokens that it has by then.

    Chunks of OpenAI's are gathered for each choice. Of other events those stay that do not only carry on a text.
    """
    chunks = [event["data"] for event in found if _is_chunk(event)]
    others = [event for event in found if not _is_chunk(event)]
    kept: list[dict[str, Any]] = []
    for event in others:
        if not kept or not _carries_on(kept[-1], event):
            kept.append(event)
    members: dict[str, Any] = {}
    choices: dict[str, dict[str, Any]] = {}
    for chunk in chunks:
        _gather(members, {name: value for name, value in chunk.items() if name != "choices"}, joined=False)
        for choice in chunk["choices"]:
            _gather(choices.setdefault(f"choice {choice.get('index')}", {}), choice, joined=False)
    return {
        "members": members,
        "choices": choices,
        "ends with": ["a chunk" if _is_chunk(event) else event for event in found[-1:]],
        "others": kept,
    }


def _is_chunk(event: Mapping[str, Any]) -> bool:
    data = event.get("data")
    return isinstance(data, dict) and isinstance(data.get("choices"), list)


def _gather(whole: dict[str, Any], piece: Mapping[str, Any], *, joined: bool) -> None:
    """Add a piece: texts and lists of a delta are joined, tool calls by their index; the last of others is kept."""
    for name, value in piece.items():
        before = whole.get(name)
        if name == "tool_calls" and isinstance(value, list):
            calls = whole[name] = before if isinstance(before, dict) else {}
            for call in value:
                _gather(calls.setdefault(f"call {call.get('index')}", {}), call, joined=True)
        elif isinstance(value, dict) and name in {"delta", "logprobs", "function"}:
            whole[name] = before if isinstance(before, dict) else {}
            _gather(whole[name], value, joined=True)
        elif (
            (joined or name == "text")
            and name not in {"role", "id", "type"}
            and isinstance(before, str | list)
            and value
        ):
            whole[name] = before + value
        elif value is not None or name not in whole:
            whole[name] = value


def _carries_on(before: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether an event only continues the text of the one before, which then has it."""
    place, other = _text_place(before), _text_place(event)
    if place is None or other is None or place[1] != other[1] or _without(before, place) != _without(event, other):
        return False
    place[0][place[1]] += other[0][other[1]]
    return True


def _text_place(event: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    """The object and the name of the only text that an event of the two other APIs brings."""
    data = event.get("data")
    delta = data.get("delta") if isinstance(data, dict) else None
    if isinstance(data, dict) and isinstance(delta, str):
        return data, "delta"
    if isinstance(delta, dict):
        return next(((delta, name) for name in ("text", "thinking", "partial_json") if name in delta), None)
    return None


def _without(event: Mapping[str, Any], place: tuple[dict[str, Any], str]) -> str:
    kept = place[0][place[1]]
    place[0][place[1]] = ""
    rest = json.dumps(event, sort_keys=True)
    place[0][place[1]] = kept
    return rest


def difference(theirs: Any, ours: Any, place: str = "") -> str:
    """Where two answers begin to differ, or nothing."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = dict.fromkeys([*theirs, *ours])
        found = (difference(theirs.get(name, _ABSENT), ours.get(name, _ABSENT), f"{place}.{name}") for name in names)
        return next(filter(None, found), "")
    if isinstance(theirs, list) and isinstance(ours, list):
        pairs = zip_longest(theirs, ours, fillvalue=_ABSENT)
        found = (difference(*pair, f"{place}[{number}]") for number, pair in enumerate(pairs))
        return next(filter(None, found), "")
    return "" if theirs == ours else f"{place.lstrip('.')}: the server has {_short(theirs)}, the service {_short(ours)}"


def _short(value: Any) -> str:
    return value if value is _ABSENT else json.dumps(value, ensure_ascii=False)[:300]
