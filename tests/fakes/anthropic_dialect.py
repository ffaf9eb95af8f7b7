"""Anthropic's messages as Ollama speaks them."""

from typing import Any

from tests.fakes.ollama_dialect import Dialect, counts
from tests.fakes.ollama_errors import new_id
from tests.fakes.ollama_shapes import JsonObject, encode
from tests.fakes.openai_dialect import arguments_of, call_id

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


def named_event(kind: str, **fields: Any) -> bytes:
    """Return a server-sent event whose name is also its object's type."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), encode({"type": kind, **fields}))


def token_usage(read: int, written: int) -> JsonObject:
    """Return usage in Anthropic's words."""
    return {"input_tokens": read, "output_tokens": written}


class AnthropicMessages(Dialect):
    """POST /v1/messages; the input tokens of the start are an estimate, those of the end are true."""

    def __init__(self, model: str, estimate: int) -> None:
        self._id = new_id("msg")
        self._model = model
        self._estimate = estimate
        self._began = False
        self._open = ""
        self._index = 0
        self._called = False

    def _message(self, model: str, content: list[JsonObject] | None) -> JsonObject:
        return {"id": self._id, "type": "message", "role": "assistant", "model": model, "content": content}

    def _reason(self, line: JsonObject, called: bool) -> JsonObject:
        if called:
            return {"stop_reason": "tool_use"}
        reason = line.get("done_reason")
        return {"stop_reason": STOP_REASONS.get(reason, "stop_sequence")} if reason else {}

    def events(self, line: JsonObject) -> list[bytes]:
        """Return the events that a line makes; one without content makes none, but for the first."""
        message = line.get("message", {})
        events = [] if self._began else [self._start()]
        self._began = True
        if thinking := message.get("thinking"):
            events += self._say("thinking", "thinking", thinking)
        if content := message.get("content"):
            events += self._say("text", "text", content)
        for index, call in enumerate(message.get("tool_calls", [])):
            events += self._call(call, index)
        return events + self._end(line) if line.get("done") else events

    def _start(self) -> bytes:
        message = self._message(self._model, []) | {"usage": token_usage(self._estimate, 0)}
        return named_event("message_start", message=message)

    def _say(self, kind: str, name: str, text: str) -> list[bytes]:
        events = [] if self._open == kind else [*self._close(), self._block({"type": kind, name: ""})]
        self._open = kind
        return [*events, self._delta({"type": f"{kind}_delta", name: text})]

    def _call(self, call: JsonObject, index: int) -> list[bytes]:
        self._called = True
        name = call["function"]["name"]
        events = [
            *self._close(),
            self._block({"type": "tool_use", "id": call_id(call, index), "name": name, "input": {}}),
        ]
        events.append(self._delta({"type": "input_json_delta", "partial_json": arguments_of(call)}))
        self._open = "tool_use"
        return events + self._close()

    def _block(self, block: JsonObject) -> bytes:
        return named_event("content_block_start", index=self._index, content_block=block)

    def _delta(self, delta: JsonObject) -> bytes:
        return named_event("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> list[bytes]:
        if not self._open:
            return []
        event = named_event("content_block_stop", index=self._index)
        self._open, self._index = "", self._index + 1
        return [event]

    def _end(self, line: JsonObject) -> list[bytes]:
        delta, usage = self._reason(line, self._called), token_usage(*counts(line))
        return [*self._close(), named_event("message_delta", delta=delta, usage=usage), named_event("message_stop")]

    def summary(self, line: JsonObject) -> JsonObject:
        """Return the message."""
        spoken = line["message"]
        content: list[JsonObject] = []
        if thinking := spoken.get("thinking"):
            content.append({"type": "thinking", "thinking": thinking})
        if text := spoken["content"]:
            content.append({"type": "text", "text": text})
        calls = spoken.get("tool_calls", [])
        for index, call in enumerate(calls):
            function = call["function"]
            block = {"type": "tool_use", "id": call_id(call, index), "name": function["name"]}
            content.append(block | {"input": function.get("arguments", {})})
        ended = self._message(line["model"], content or None) | self._reason(line, bool(calls))
        return ended | {"usage": token_usage(*counts(line))}
