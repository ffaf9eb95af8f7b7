"""A generation in the words of OpenTelemetry's GenAI conventions: those of opentelemetry-semantic-conventions 0.66b2.

The names stand here, and not in that package, which calls all of them deprecated since they moved to a repository of
their own (`docs/decisions/0027`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from mlops_backend.telemetry.record import RequestRecord

Attribute = str | bool | int | float | Sequence[str]

INPUT: Final = "gen_ai.input.messages"
OUTPUT: Final = "gen_ai.output.messages"
INSTRUCTIONS: Final = "gen_ai.system_instructions"
# The last part of a route's path -> what it does. What is not here is called by that part itself.
_OPERATIONS: Final = {
    **dict.fromkeys(("chat", "messages", "responses", "replies", "turns"), "chat"),
    **dict.fromkeys(("generate", "stream"), "text_completion"),
    **dict.fromkeys(("embed", "embeddings"), "embeddings"),
    "transcriptions": "transcription",
}
# More is no count, and what has more than 63 bits would keep all that is sent with it from being sent.
_MOST: Final = 10**12
_LONGEST: Final = 256
_PATHS: Final = 256
_MOST_REASONS: Final = 16


class Heard:
    """What the last objects of an answer tell, beside its usage."""

    __slots__ = ("_reasons", "_told")

    def __init__(self) -> None:
        self._told: dict[str, Attribute] = {}
        self._reasons: dict[int, str] = {}

    def take(self, told: Mapping[str, Any]) -> None:
        """Take one of them, in whatever dialect; what a later one says again counts."""
        if told.get("done") is False:  # Ollama's, amid its answer
            return
        for holder in _holders(told):
            self._note("gen_ai.response.model", _text(holder.get("model")))
            self._note("gen_ai.response.id", _text(holder.get("id")))
            self._take_usage(holder.get("usage"))
            self._finished(0, holder.get("done_reason"))
            self._finished(0, holder.get("stop_reason"))
            if holder.get("object") == "response":
                self._finished(0, _why_incomplete(holder) or holder.get("status"))
        for choice in _objects(told.get("choices")):
            self._finished(choice.get("index"), choice.get("finish_reason"))

    def attributes(self) -> dict[str, Attribute]:
        """All of it."""
        if not self._reasons:
            return self._told
        return {**self._told, "gen_ai.response.finish_reasons": [self._reasons[at] for at in sorted(self._reasons)]}

    def _take_usage(self, usage: object) -> None:
        if not isinstance(usage, dict):
            return
        prompt = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        answer = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
        cached = _count(prompt, "cached_tokens")
        read = _count(usage, "cache_read_input_tokens") if cached is None else cached
        self._note("gen_ai.usage.cache_read.input_tokens", read)
        self._note("gen_ai.usage.cache_creation.input_tokens", _count(usage, "cache_creation_input_tokens"))
        self._note("gen_ai.usage.reasoning.output_tokens", _count(answer, "reasoning_tokens"))

    def _note(self, name: str, value: str | int | None) -> None:
        if value is not None:
            self._told[name] = value

    def _finished(self, at: object, reason: object) -> None:
        index = at if type(at) is int else 0
        if (why := _text(reason)) and (index in self._reasons or len(self._reasons) < _MOST_REASONS):
            self._reasons[index] = why


def operation_of(record: RequestRecord) -> str:
    """What a generation does, in a word: `chat`, `text_completion`, `embeddings`, or what its route is called."""
    return _operation(record.asked_path, record.route)


@lru_cache(_PATHS)
def _operation(asked_path: str, route: str) -> str:
    for path in (asked_path, route):
        if path.endswith("/chat/completions"):
            return "chat"
        last = path.rpartition("/")[2]
        if last == "completions":
            return "text_completion"
        if last in _OPERATIONS:
            return _OPERATIONS[last]
    named = [part for part in route.split("/") if part and not part.startswith("<")]
    return named[-1] if named else "unknown"


def model_of(record: RequestRecord) -> str:
    """What the client called the model."""
    return record.requested_model or record.model


def asked_attributes(record: RequestRecord) -> dict[str, Attribute]:
    """What is known when a backend is asked: a sampler may look at it."""
    told: dict[str, Attribute] = {"gen_ai.operation.name": operation_of(record)}
    if model := model_of(record):
        told["gen_ai.request.model"] = model
    return told


def attributes_of(record: RequestRecord, heard: Heard) -> dict[str, Attribute]:
    """What is known of a generation at its end."""
    told = asked_attributes(record)
    told |= {name: value for name, value in _texts(record) if value}
    told["http.response.status_code"] = record.status
    told |= _place(record.upstream_url)
    if record.streams:
        told["gen_ai.request.stream"] = True
        if record.first_byte is not None and record.sent_upstream is not None:
            told["gen_ai.response.time_to_first_chunk"] = max(0.0, record.first_byte - record.sent_upstream)
    told |= heard.attributes()
    for name, count in (("input", record.prompt_tokens), ("output", record.completion_tokens)):
        if count is not None:
            told[f"gen_ai.usage.{name}_tokens"] = max(0, min(count, _MOST))
    if record.estimated:
        told["mlops_backend.usage.estimated"] = True
    if record.passed_over:
        told["mlops_backend.passed_over"] = record.passed_over
    if record.outcome != "done":
        told["error.type"] = error_type(record)
    return told


def error_type(record: RequestRecord) -> str:
    """Why a generation was not done: our error's code, the status that its backend answered, or how it ended."""
    if record.error:
        return record.error
    return str(record.status) if record.outcome in {"refused", "error"} else record.outcome


def _texts(record: RequestRecord) -> Iterator[tuple[str, str]]:
    yield "gen_ai.provider.name", record.provider
    yield "http.route", record.route
    yield "mlops_backend.request_id", record.id
    yield "mlops_backend.key_id", "" if record.caller is None else record.caller.id
    yield "mlops_backend.backend", record.backend
    yield "mlops_backend.route_reason", record.route_reason
    yield "mlops_backend.outcome", record.outcome
    if record.upstream_url:  # until an answer says otherwise
        yield "gen_ai.response.model", record.model


def _place(url: str) -> dict[str, Attribute]:
    """A backend's host and port."""
    if not url:
        return {}
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}


def _holders(told: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """An object, and those in it where dialects tell how an answer is."""
    yield told
    for name in ("response", "message", "delta"):
        if isinstance(inner := told.get(name), dict):
            yield inner


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    for each in value[:_MOST_REASONS] if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each


def _why_incomplete(response: Mapping[str, Any]) -> object:
    details = response.get("incomplete_details")
    return details.get("reason") if isinstance(details, dict) else None


def _text(value: object) -> str | None:
    return value[:_LONGEST].encode("utf-8", "replace").decode() if isinstance(value, str) and value else None


def _count(holder: object, name: str) -> int | None:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if type(value) is int and 0 <= value <= _MOST else None
