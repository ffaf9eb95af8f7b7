"""A generation in the words of OpenTelemetry's GenAI conventions: those of opentelemetry-semantic-conventions 0.66b2.

The names stand here, and not in that package, which calls all of them deprecated since they moved to a repository of
their own (`docs/decisions/0027`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from mlops_backend.telemetry.record import RequestRecord

Attribute = str | bool | int | float | tuple[str, ...]

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
# The objects in an object where dialects tell how an answer is, the keys that tell why it ended, and what was cached.
_HOLDERS: Final = ("response", "message", "delta")
_ENDS: Final = ("done_reason", "stop_reason")
_READ: Final = "cache_read_input_tokens"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Heard:
    """What the last objects of an answer tell, beside its usage."""

    __slots__ = ("_reasons", "counts", "id", "model")

    def __init__(self) -> None:
        self.model = self.id = ""
        self.counts: dict[str, int] = {}
        self._reasons: dict[int, str] = {}

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why each of its answers ended."""
        return tuple([self._reasons[at] for at in sorted(self._reasons)]) if self._reasons else ()

    def take(self, told: Mapping[str, Any]) -> None:
        """Take one of them, in whatever dialect; what a later one says again counts."""
        if told.get("done") is False:  # Ollama's, amid its answer
            return
        self._take_from(told)
        for name in _HOLDERS:
            if isinstance(inner := told.get(name), dict):
                self._take_from(inner)
        if choices := told.get("choices"):
            for choice in _objects(choices):
                self._finished(choice.get("index"), choice.get("finish_reason"))

    def _take_from(self, holder: Mapping[str, Any]) -> None:
        self.model = _text(holder.get("model")) or self.model
        self.id = _text(holder.get("id")) or self.id
        if isinstance(usage := holder.get("usage"), dict):
            self._take_usage(usage)
        for name in _ENDS:
            if reason := holder.get(name):
                self._finished(0, reason)
        if holder.get("object") == "response":
            self._finished(0, _why_incomplete(holder) or holder.get("status"))

    def _take_usage(self, usage: Mapping[str, Any]) -> None:
        prompt = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        answer = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
        cached = _count(prompt, "cached_tokens")
        for name, count in (
            ("gen_ai.usage.cache_read.input_tokens", _count(usage, _READ) if cached is None else cached),
            ("gen_ai.usage.cache_creation.input_tokens", _count(usage, "cache_creation_input_tokens")),
            ("gen_ai.usage.reasoning.output_tokens", _count(answer, "reasoning_tokens")),
        ):
            if count is not None:
                self.counts[name] = count

    def _finished(self, at: object, reason: object) -> None:
        index = at if type(at) is int else 0
        if (why := _text(reason)) and (index in self._reasons or len(self._reasons) < _MOST_REASONS):
            self._reasons[index] = why


@lru_cache(_PATHS)
def operation_of(asked_path: str, route: str) -> str:
    """What a generation does, in a word: one of the conventions, else what its route is called."""
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


class Common(NamedTuple):
    """What is known of a generation at its end, and is the same for many of them."""

    asked_path: str
    route: str
    requested_model: str
    model: str
    answered_model: str
    reasons: tuple[str, ...]
    provider: str
    key_id: str
    backend: str
    url: str
    route_reason: str
    passed_over: tuple[str, ...]
    status: int
    outcome: str
    error: str
    streams: bool
    estimated: bool

    @property
    def operation(self) -> str:
        """What it does, in a word."""
        return operation_of(self.asked_path, self.route)

    @property
    def asked_model(self) -> str:
        """What the client called the model."""
        return self.requested_model or self.model

    @property
    def failure(self) -> str:
        """Why it was not done: our error's code, the status that its backend answered, or how it ended."""
        if self.outcome == "done":
            return ""
        return self.error or (str(self.status) if self.outcome in {"refused", "error"} else self.outcome)

    def attributes(self) -> dict[str, Attribute]:
        """In the words of the conventions; what is unknown is left out."""
        told: dict[str, Attribute] = {
            "gen_ai.operation.name": self.operation,
            "gen_ai.request.model": self.asked_model,
            "gen_ai.request.stream": self.streams,
            "gen_ai.provider.name": self.provider,
            "gen_ai.response.model": self.answered_model or (self.model if self.url else ""),
            "gen_ai.response.finish_reasons": self.reasons,
            "mlops_backend.usage.estimated": self.estimated,
            "http.route": self.route,
            "mlops_backend.key_id": self.key_id,
            "mlops_backend.backend": self.backend,
            "mlops_backend.route_reason": self.route_reason,
            "mlops_backend.passed_over": self.passed_over,
            "mlops_backend.outcome": self.outcome,
            "error.type": self.failure,
        }
        known = {name: value for name, value in told.items() if value}
        return {**known, "http.response.status_code": self.status, **_place(self.url)}


class Own(NamedTuple):
    """What is known of a generation at its end, and is its own. Times are `perf_counter()` seconds."""

    id: str
    answered_id: str
    counts: Mapping[str, int]
    prompt_tokens: int | None
    completion_tokens: int | None
    asked: float | None
    first_byte: float | None
    content: Mapping[str, str]

    def attributes(self) -> dict[str, Attribute]:
        """In the words of the conventions; what is unknown is left out."""
        told: dict[str, Attribute] = {"mlops_backend.request_id": self.id, **self.counts}
        if self.answered_id:
            told["gen_ai.response.id"] = self.answered_id
        if self.first_byte is not None and self.asked is not None:
            told["gen_ai.response.time_to_first_chunk"] = max(0.0, self.first_byte - self.asked)
        if self.prompt_tokens is not None:
            told["gen_ai.usage.input_tokens"] = max(0, min(self.prompt_tokens, _MOST))
        if self.completion_tokens is not None:
            told["gen_ai.usage.output_tokens"] = max(0, min(self.completion_tokens, _MOST))
        return {**told, **self.content}


def common_of(record: RequestRecord, heard: Heard) -> Common:
    """Of a generation that is over."""
    return Common(
        record.asked_path,
        record.route,
        record.requested_model,
        record.model,
        heard.model,
        heard.reasons,
        record.provider,
        "" if record.caller is None else record.caller.id,
        record.backend,
        record.upstream_url,
        record.route_reason,
        record.passed_over,
        record.status,
        record.outcome,
        record.error,
        record.streams,
        record.estimated,  # in the order of its fields: by their names it costs three times as much
    )


def own_of(record: RequestRecord, heard: Heard, content: Mapping[str, str] = _NONE) -> Own:
    """Of a generation that is over, with what was asked and answered, where that is told."""
    return Own(
        record.id,
        heard.id,
        heard.counts,
        record.prompt_tokens,
        record.completion_tokens,
        asked=record.sent_upstream,
        first_byte=record.first_byte if record.streams else None,
        content=content,
    )


def _place(url: str) -> dict[str, Attribute]:
    """A backend's host and port."""
    if not url:
        return {}
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    for each in value[:_MOST_REASONS] if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each


def _why_incomplete(response: Mapping[str, Any]) -> object:
    details = response.get("incomplete_details")
    return details.get("reason") if isinstance(details, dict) else None


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    shown = value[:_LONGEST]
    return shown if shown.isascii() else shown.encode("utf-8", "replace").decode()


def _count(holder: object, name: str) -> int | None:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if type(value) is int and 0 <= value <= _MOST else None
