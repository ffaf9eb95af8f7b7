"""OpenAI's responses as Ollama speaks them."""

import json
import random
import time
from typing import Any

from tests.fakes.ollama_dialect import SSE_TYPE, Dialect, counts, stream_head
from tests.fakes.ollama_shapes import JsonObject, encode
from tests.fakes.openai_dialect import arguments_of, call_id

# In the order in which Ollama writes them.
TEMPLATE: JsonObject = {
    "id": "",
    "object": "response",
    "created_at": 0,
    "completed_at": None,
    "status": "",
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
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "temperature": 1.0,
    "reasoning": None,
    "usage": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": False,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
ECHOED = ("instructions", "truncation", "top_p", "temperature", "reasoning", "max_output_tokens", "tools", "text")


def usage_of(line: JsonObject) -> JsonObject:
    """Return the usage that a line's figures make."""
    read, written = counts(line)
    return {
        "input_tokens": read,
        "output_tokens": written,
        "total_tokens": read + written,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def text_part(text: str) -> JsonObject:
    """Return a part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class OpenAIResponses(Dialect):
    """POST /v1/responses."""

    head = stream_head(SSE_TYPE, Cache_Control="no-cache", Connection="keep-alive")

    def __init__(self, request: JsonObject) -> None:
        self._request = request
        self._id = f"resp_{random.randrange(999_999)}"
        self._item_id = f"msg_{random.randrange(999_999)}"
        self._number = 0
        self._output: list[JsonObject] = []
        self._open = ""
        self._text = ""

    def _response(self, status: str, output: list[JsonObject], usage: JsonObject | None) -> JsonObject:
        now = int(time.time())
        echoed = {name: self._request[name] for name in ECHOED if name in self._request}
        own = {
            "id": self._id,
            "created_at": now,
            "completed_at": now if status == "completed" else None,
            "status": status,
            "model": self._request["model"],
            "output": output,
            "usage": usage,
        }
        return TEMPLATE | echoed | own

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {**fields, "type": kind, "sequence_number": self._number}
        self._number += 1
        # Ollama makes its events of maps, which Go writes in the order of their keys.
        in_order = json.loads(json.dumps(data, sort_keys=True))
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), encode(in_order))

    def _item_event(self, kind: str, item_id: str, **fields: Any) -> bytes:
        return self._event(f"response.{kind}", item_id=item_id, output_index=len(self._output), **fields)

    def _item(self, kind: str, item: JsonObject) -> bytes:
        return self._event(f"response.output_item.{kind}", output_index=len(self._output), item=item)

    def events(self, line: JsonObject) -> list[bytes]:
        """Return the events that a line makes; one without content makes none, but for the first."""
        message, events = line.get("message", {}), list[bytes]()
        if not self._number:
            begun = self._response("in_progress", [], None)
            events = [self._event(f"response.{kind}", response=begun) for kind in ("created", "in_progress")]
        if thinking := message.get("thinking"):
            events += self._think(thinking)
        if calls := message.get("tool_calls"):
            events += self._close()
            for index, call in enumerate(calls):
                events += self._call(call, index)
        elif content := message.get("content"):
            events += self._say(content)
        if line.get("done"):
            events += self._close()
            ended = self._response("completed", self._output, usage_of(line))
            events.append(self._event("response.completed", response=ended))
        return events

    def _think(self, text: str) -> list[bytes]:
        events = self._begin("reasoning", {"id": f"rs_{self._id}", "type": "reasoning", "summary": []})
        self._text += text
        said = self._item_event("reasoning_summary_text.delta", f"rs_{self._id}", summary_index=0, delta=text)
        return [*events, said]

    def _say(self, text: str) -> list[bytes]:
        item = {"id": self._item_id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        events = self._begin("message", item)
        if events:
            part = self._item_event("content_part.added", self._item_id, content_index=0, part=text_part(""))
            events.append(part)
        self._text += text
        return [*events, self._item_event("output_text.delta", self._item_id, content_index=0, delta=text, logprobs=[])]

    def _begin(self, kind: str, item: JsonObject) -> list[bytes]:
        if self._open == kind:
            return []
        events = self._close()
        self._open = kind
        return [*events, self._item("added", item)]

    def _close(self) -> list[bytes]:
        kind, text, item_id = self._open, self._text, self._item_id
        self._open = self._text = ""
        if kind == "reasoning":
            thought = f"rs_{self._id}"
            done = [self._item_event("reasoning_summary_text.done", thought, summary_index=0, text=text)]
            return [*done, *self._finish(self._reasoning(text))]
        if kind == "message":
            done = [
                self._item_event("output_text.done", item_id, content_index=0, text=text, logprobs=[]),
                self._item_event("content_part.done", item_id, content_index=0, part=text_part(text)),
            ]
            return [*done, *self._finish(self._spoken(text))]
        return []

    def _finish(self, item: JsonObject) -> list[bytes]:
        event = self._item("done", item)
        self._output.append(item)
        return [event]

    def _call(self, call: JsonObject, index: int) -> list[bytes]:
        item, arguments = self._called(call, index), arguments_of(call)
        return [
            self._item("added", item | {"status": "in_progress", "arguments": ""}),
            self._item_event("function_call_arguments.delta", item["id"], delta=arguments),
            self._item_event("function_call_arguments.done", item["id"], arguments=arguments),
            *self._finish(item),
        ]

    def _reasoning(self, text: str) -> JsonObject:
        summary = [{"type": "summary_text", "text": text}]
        return {"id": f"rs_{self._id}", "type": "reasoning", "summary": summary, "encrypted_content": text}

    def _spoken(self, text: str) -> JsonObject:
        item = {"id": self._item_id, "type": "message", "status": "completed", "role": "assistant"}
        return item | {"content": [text_part(text)]}

    def _called(self, call: JsonObject, index: int) -> JsonObject:
        return {
            "id": f"fc_{self._id}_{index}",
            "type": "function_call",
            "status": "completed",
            "call_id": call_id(call, index),
            "name": call["function"]["name"],
            "arguments": arguments_of(call),
        }

    def summary(self, line: JsonObject) -> JsonObject:
        """Return the response; one that calls tools has no message."""
        spoken = line["message"]
        thinking, calls = spoken.get("thinking"), spoken.get("tool_calls", [])
        output = [self._reasoning(thinking)] if thinking else []
        if calls:
            output += [self._called(call, index) for index, call in enumerate(calls)]
        else:
            output.append(self._spoken(spoken["content"]))
        return self._response("completed", output, usage_of(line))
