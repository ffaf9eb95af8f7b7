"""OpenAI's chat and completions as Ollama speaks them."""

import json
import random
import time
from collections.abc import Sequence

from tests.fakes.ollama_dialect import Dialect, counts
from tests.fakes.ollama_shapes import JsonObject, encode

DONE = b"data: [DONE]\n\n"
CHUNK_ORDER = ("id", "object", "created", "choices", "model", "system_fingerprint")


def data_event(value: JsonObject) -> bytes:
    """Return a server-sent event without a name."""
    return b"data: " + encode(value) + b"\n\n"


def usage_of(line: JsonObject) -> JsonObject:
    """Return the usage that a line's figures make."""
    read, written = counts(line)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def call_id(call: JsonObject, index: int) -> str:
    """Return a native tool call's identifier, or one made up."""
    return str(call.get("id") or f"call_{index:08}")


def arguments_of(call: JsonObject) -> str:
    """Return a native tool call's arguments as the JSON string that the other APIs have."""
    return json.dumps(call["function"].get("arguments", {}), ensure_ascii=False, separators=(",", ":"))


def openai_calls(calls: Sequence[JsonObject]) -> list[JsonObject]:
    """Return native tool calls in OpenAI's form."""
    return [
        {
            "id": call_id(call, index),
            "index": call["function"].get("index", index),
            "type": "function",
            "function": {"name": call["function"]["name"], "arguments": arguments_of(call)},
        }
        for index, call in enumerate(calls)
    ]


class OpenAIChat(Dialect):
    """POST /v1/chat/completions."""

    def __init__(self, *, include_usage: bool = False) -> None:
        self._include_usage = include_usage
        self._id = f"chatcmpl-{random.randrange(999)}"
        self._created = int(time.time())
        self._role: JsonObject = {"role": "assistant"}
        self._called = False

    def _object(self, kind: str, line: JsonObject, choices: list[JsonObject]) -> JsonObject:
        start = {"id": self._id, "object": kind, "created": self._created, "model": line.get("model", "")}
        return start | {"system_fingerprint": "fp_ollama", "choices": choices}

    def _chunk(self, line: JsonObject, *choices: JsonObject) -> JsonObject:
        return self._object("chat.completion.chunk", line, list(choices))

    def _delta(self, line: JsonObject, delta: JsonObject, reason: str | None = None) -> bytes:
        delta, self._role = self._role | delta, {}
        return data_event(self._chunk(line, {"index": 0, "delta": delta, "finish_reason": reason}))

    def _reason(self, line: JsonObject) -> str | None:
        return "tool_calls" if self._called else line.get("done_reason")

    def events(self, line: JsonObject) -> list[bytes]:
        """Return a chunk for each kind of content; the last line makes a finish chunk, usage and the terminator."""
        message, done = line.get("message", {}), line.get("done", False)
        deltas: list[JsonObject] = []
        if thinking := message.get("thinking"):
            deltas.append({"reasoning": thinking})
        if calls := message.get("tool_calls"):
            self._called = True
            deltas.append({"tool_calls": openai_calls(calls)})
        content = message.get("content", "")
        if content or not (deltas or done) or (done and self._role):
            deltas.append({"content": content})
        events = [self._delta(line, delta) for delta in deltas]
        if done:
            events.append(self._delta(line, {}, self._reason(line)))
            if self._include_usage:
                events.append(data_event(self._chunk(line) | {"usage": usage_of(line)}))
            events.append(DONE)
        return events

    def summary(self, line: JsonObject) -> JsonObject:
        """Return the chat completion."""
        spoken = line["message"]
        message = {"role": "assistant", "content": spoken["content"]}
        if "thinking" in spoken:
            message["reasoning"] = spoken["thinking"]
        if calls := spoken.get("tool_calls"):
            self._called = True
            message["tool_calls"] = openai_calls(calls)
        choice = {"index": 0, "message": message, "finish_reason": self._reason(line)}
        return self._object("chat.completion", line, [choice]) | {"usage": usage_of(line)}


class OpenAICompletion(Dialect):
    """POST /v1/completions."""

    def __init__(self, *, include_usage: bool = False) -> None:
        self._include_usage = include_usage
        self._id = f"cmpl-{random.randrange(999)}"
        self._created = int(time.time())

    def _object(self, line: JsonObject) -> JsonObject:
        choice = {"text": line.get("response", ""), "index": 0, "finish_reason": line.get("done_reason")}
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": line.get("model", ""),
            "system_fingerprint": "fp_ollama",
            "choices": [choice],
        }

    def events(self, line: JsonObject) -> list[bytes]:
        """Return a chunk a line; with usage asked for, each has one of zeros, and one more has the totals."""
        whole = self._object(line)
        chunk = {name: whole[name] for name in CHUNK_ORDER}
        zeros = {"usage": usage_of({})} if self._include_usage else {}
        events = [data_event(chunk | zeros)]
        if line.get("done"):
            if self._include_usage:
                events.append(data_event(chunk | {"choices": [], "usage": usage_of(line)}))
            events.append(DONE)
        return events

    def summary(self, line: JsonObject) -> JsonObject:
        """Return the completion."""
        return self._object(line) | {"usage": usage_of(line)}
