"""What Ollama says: the exact objects of its API, built from a scripted generation."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.fakes.http11 import Reply

JsonObject = dict[str, Any]
JSON_TYPE = "application/json; charset=utf-8"
NDJSON_TYPE = "application/x-ndjson"
TEXT_TYPE = "text/plain"
RUNNER_DIED = "an error was encountered while running the model: unexpected EOF"
BUSY = "server busy, please try again.  maximum pending requests exceeded"
MODIFIED_AT = "2026-08-21T10:00:00.5+02:00"
DIGEST = "365c0bd3c000a25d28ddbf732fe1c6add414de7275464c4e4d1c3b5fcb5d8ad1"
DETAILS: JsonObject = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "8.0B",
    "quantization_level": "Q4_0",
}
GO_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def encode(value: object) -> bytes:
    """Serialise as Go does: compact, UTF-8, HTML characters escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(GO_ESCAPES).encode()


def json_reply(value: object, status: int = 200) -> Reply:
    """Return one JSON object as a reply, without a newline at its end."""
    return Reply(status, JSON_TYPE, encode(value))


def error_reply(status: int, message: str) -> Reply:
    """Return Ollama's error object."""
    return json_reply({"error": message}, status)


def now() -> str:
    """Return the time as RFC 3339 with nanoseconds, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def metrics(prompt_count: int, eval_count: int) -> JsonObject:
    """Return the six figures of a last object; a count of zero is left out, as Ollama does."""
    figures = {
        "total_duration": 5_000_000 + 1_000_000 * eval_count,
        "load_duration": 1_000_000,
        "prompt_eval_count": prompt_count,
        "prompt_eval_duration": 2_000_000,
        "eval_count": eval_count,
        "eval_duration": 1_000_000 * eval_count,
    }
    return {name: value for name, value in figures.items() if value}


@dataclass(frozen=True)
class Generation:
    """What one request to generate or chat will say; what is thought counts as said in the figures."""

    model: str
    words: tuple[str, ...]
    prompt_words: int
    chat: bool
    done_reason: str = "stop"
    raw: bool = False
    tool_calls: tuple[JsonObject, ...] = ()
    thoughts: tuple[str, ...] = ()
    context_size: int = 3

    def line(self, text: str, *, thinking: str = "", tool_calls: Sequence[JsonObject] = ()) -> JsonObject:
        """Return an object that carries text and does not end the generation."""
        start: JsonObject = {"model": self.model, "created_at": now()}
        thought = {"thinking": thinking} if thinking else {}
        if not self.chat:
            return start | {"response": text} | thought | {"done": False}
        message: JsonObject = {"role": "assistant", "content": text} | thought
        if tool_calls:
            message["tool_calls"] = list(tool_calls)
        return start | {"message": message, "done": False}

    def last(self, text: str = "", *, thinking: str = "", tool_calls: Sequence[JsonObject] = ()) -> JsonObject:
        """Return the object that ends the generation, with its figures."""
        ended = self.line(text, thinking=thinking, tool_calls=tool_calls)
        ended |= {"done": True, "done_reason": self.done_reason}
        if not self.chat and not self.raw and self.context_size:
            ended["context"] = list(range(1, self.context_size + 1))
        return ended | metrics(self.prompt_words, len(self.thoughts) + len(self.words))

    def lines(self) -> list[JsonObject]:
        """Return every object of the stream but the last."""
        thought = [self.line("", thinking=word) for word in self.thoughts]
        said = [self.line(word) for word in self.words]
        called = [self.line("", tool_calls=self.tool_calls)] if self.tool_calls else []
        return thought + said + called

    def whole(self) -> JsonObject:
        """Return the one object of an answer that is not streamed."""
        return self.last("".join(self.words), thinking="".join(self.thoughts), tool_calls=self.tool_calls)

    def unfinished(self) -> JsonObject:
        """Return the one object of an answer that is not streamed and does not say that it is done."""
        return self.line("".join(self.words), thinking="".join(self.thoughts), tool_calls=self.tool_calls)

    def loaded(self, reason: str) -> JsonObject:
        """Return the answer to an empty prompt: the model was loaded or unloaded."""
        return self.line("") | {"done": True, "done_reason": reason}


def tags(models: Sequence[str]) -> JsonObject:
    """Return /api/tags."""
    return {"models": [_listed(name) | {"modified_at": MODIFIED_AT} for name in models]}


def loaded_models(models: Sequence[str]) -> JsonObject:
    """Return /api/ps: every model counts as loaded."""
    loaded = {"expires_at": "2036-08-21T10:05:00.5+02:00", "size_vram": 4_661_224_676, "context_length": 4096}
    return {"models": [_listed(name) | loaded for name in models]}


def _listed(name: str) -> JsonObject:
    return {"name": name, "model": name, "size": 4_661_224_676, "digest": DIGEST, "details": DETAILS}


def shown() -> JsonObject:
    """Return /api/show."""
    return {
        "modelfile": "FROM llama3:latest",
        "template": "{{ .Prompt }}",
        "details": DETAILS,
        "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
        "capabilities": ["completion", "tools"],
        "modified_at": MODIFIED_AT,
    }


def vector(text: str, size: int) -> list[float]:
    """Return a unit vector that depends on the text alone."""
    raw = [math.sin(1 + index + sum(text.encode())) for index in range(size)]
    length = math.sqrt(sum(value * value for value in raw))
    return [value / length for value in raw]
