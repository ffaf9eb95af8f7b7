"""Ollama's lines as the events of OpenAI's Responses API, in its order, each with its number."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects import MAX_FRAME_BYTES, dumped
from mlops_backend.services.llm.dialects.native.lines import LineTranslator
from mlops_backend.services.llm.dialects.native.message_events import texts_of
from mlops_backend.services.llm.dialects.native.replies import Call, called, message_of, new_id
from mlops_backend.services.llm.dialects.native.response_replies import (
    MADE,
    PREFIXES,
    begun,
    ended,
    failed,
    text_part,
)
from mlops_backend.services.llm.dialects.native.response_tools import Item, Tool, called_item
from mlops_backend.services.llm.dialects.native.shapes import SAID, THOUGHT

_PLAIN: Final = {"text": SAID, "thinking": THOUGHT}
_DELTA: Final = {"text": "response.output_text", "thinking": "response.reasoning_summary_text"}
_ADDED: Final[Mapping[str, Mapping[str, Any]]] = {
    "text": {"type": "message", "status": "in_progress", "role": "assistant", "content": []},
    "thinking": {"type": "reasoning", "summary": []},
}
_PART: Final = {"text": "response.content_part", "thinking": "response.reasoning_summary_part"}
_INDEX: Final = {"text": "content_index", "thinking": "summary_index"}
_SCORES: Final[Mapping[str, Mapping[str, Any]]] = {"text": {"logprobs": []}, "thinking": {}}
# All that was said is told once more at the end, in one event, together with what was asked.
_MOST_TEXT: Final = MAX_FRAME_BYTES // 2
# Nobody can know it who would put it into a text.
_MARK: Final = secrets.token_hex(8)


@dataclass(slots=True)
class _Writing:
    """A call whose text is still coming: which it is, and where its item stands in the output."""

    index: int
    place: int
    item: Item
    text: StringIO = field(default_factory=StringIO)


class ResponseTranslator(LineTranslator):
    """One stream.

    Args:
        echoed: what the response repeats of what was asked.
        tools: those that the model was told of, by its names.
    """

    def __init__(self, echoed: Mapping[str, Any], tools: Mapping[str, Tool]) -> None:
        super().__init__()
        self._response = begun(echoed)
        self._tools = tools
        self._writing: _Writing | None = None
        self._number = 0
        self._output: list[Item] = []
        self._open = self._item_id = ""
        self._after = b""
        self._pieces: list[bytes] = []
        self._size = 0
        self._called = 0

    def _said(self, told: Mapping[str, Any], *, is_first: bool, is_last: bool) -> list[bytes]:
        spoken = message_of(told)
        events = [self._lifecycle(kind, self._response) for kind in ("created", "in_progress")] if is_first else []
        for kind, text in texts_of(spoken):
            events += [*self._opened(kind), self._delta(text)]
        for call in called(spoken.get("tool_calls"), self._called):
            self._called += not call.partial
            events += self._of_call(call)
        return [*events, *self._end(told)] if is_last else events

    def _error(self, words: str) -> bytes:
        return self._lifecycle("failed", failed(self._response, words, self._output))

    def behind(self, text: bytes) -> bytes:
        """The number of its event; what was said is told once more at the end, and so is kept."""
        self._grow(len(text))
        self._pieces.append(text)
        number, self._number = self._number, self._number + 1
        return self._after % number

    def _opened(self, kind: str) -> list[bytes]:
        """What opens an item of that kind, where the last one is another."""
        if self._open == kind:
            return []
        events = self._closed()
        self._open, self._item_id = kind, new_id(PREFIXES[kind])
        item = {"id": self._item_id, **_ADDED[kind]}
        events += [self._item("added", item), self._of_item(f"{_PART[kind]}.added", part=_part(kind, ""))]
        delta = self._of_item(f"{_DELTA[kind]}.delta", delta=_MARK, **_SCORES[kind])
        self._number -= 1
        before, _, after = delta.partition(_MARK.encode())
        self._after = after.rpartition(b":")[0].replace(b"%", b"%%") + b":%d}\n\n"
        self._plain = [(_PLAIN[kind], before, b"")]
        return events

    def _delta(self, text: str) -> bytes:
        """One that is not found by its bytes alone, made as they are."""
        [(_, before, _)] = self._plain
        spelt = dumped({"": text})[5:-2]
        return before + spelt + self.behind(spelt)

    def _closed(self) -> list[bytes]:
        """What closes the item that is open."""
        kind = self._open
        if not kind:
            return []
        text, self._pieces, self._plain = _read(self._pieces), [], []
        done = self._of_item(f"{_DELTA[kind]}.done", text=text, **_SCORES[kind])
        part = self._of_item(f"{_PART[kind]}.done", part=_part(kind, text))
        self._open = ""
        return [done, part, *self._finished(MADE[kind](self._item_id, text))]

    def _of_call(self, call: Call) -> list[bytes]:
        item = called_item(call, self._tools)
        if item["type"] == "custom_tool_call":
            return self._of_text(call, item)
        text = call.text
        self._grow(len(text))
        if item["type"] != "function_call":
            return [*self._closed(), self._item("added", {**item, "status": "in_progress"}), *self._finished(item)]
        events = self._closed()
        place = {"item_id": item["id"], "output_index": len(self._output)}
        kind = "response.function_call_arguments"
        return [
            *events,
            self._item("added", {**item, "status": "in_progress", "arguments": ""}),
            self._event(f"{kind}.delta", **place, delta=text),
            self._event(f"{kind}.done", **place, name=call.name, arguments=text),
            *self._finished(item),
        ]

    def _of_text(self, call: Call, item: Item) -> list[bytes]:
        """A call that takes a text, or the next piece of one; other items may come between two pieces."""
        events: list[bytes] = []
        text = item["input"]
        if self._writing is None or self._writing.index != call.index:
            item |= {"status": "in_progress", "input": ""}
            events = [*self._ended_text(), *self._closed(), self._item("added", item)]
            self._writing = _Writing(call.index, len(self._output), item)
            self._output.append(item)
        if text:
            self._grow(len(text))
            self._writing.text.write(text)
            events.append(self._of_input("delta", self._writing, delta=text))
        return events if call.partial else [*events, *self._ended_text()]

    def _ended_text(self) -> list[bytes]:
        """What ends the call whose text is being written."""
        writing, self._writing = self._writing, None
        if writing is None:
            return []
        writing.item |= {"status": "completed", "input": writing.text.getvalue()}
        done = self._of_input("done", writing, input=writing.item["input"])
        return [done, self._item("done", writing.item, writing.place)]

    def _of_input(self, kind: str, writing: _Writing, **fields: str) -> bytes:
        place = {"item_id": writing.item["id"], "output_index": writing.place}
        return self._event(f"response.custom_tool_call_input.{kind}", **place, **fields)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > _MOST_TEXT:
            raise BackendNonsense("The backend sent an answer longer than this service accepts.")

    def _finished(self, item: Item) -> list[bytes]:
        event = self._item("done", item)
        self._output.append(item)
        return [event]

    def _end(self, told: Mapping[str, Any]) -> list[bytes]:
        events = [*self._ended_text(), *self._closed()]
        response = ended(self._response, told, self._output)
        return [*events, self._lifecycle(response["status"], response)]

    def _lifecycle(self, kind: str, response: Mapping[str, Any]) -> bytes:
        return self._event(f"response.{kind}", response=response)

    def _item(self, kind: str, item: Item, place: int | None = None) -> bytes:
        index = len(self._output) if place is None else place
        return self._event(f"response.output_item.{kind}", output_index=index, item=item)

    def _of_item(self, kind: str, **fields: Any) -> bytes:
        place = {"item_id": self._item_id, "output_index": len(self._output), _INDEX[self._open]: 0}
        return self._event(kind, **place, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        told = dumped({"type": kind, **fields, "sequence_number": self._number})
        self._number += 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), told)


def _part(kind: str, text: str) -> dict[str, Any]:
    return text_part(text) if kind == "text" else {"type": "summary_text", "text": text}


def _read(pieces: list[bytes]) -> str:
    """The text that is spelt so; half of a pair of surrogates is a question mark."""
    spelt = b'"' + b"".join(pieces) + b'"'
    text: str = json.loads(spelt.decode("utf-8", "replace"))
    return text.encode("utf-8", "replace").decode()
