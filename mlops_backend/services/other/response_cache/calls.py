"""Which calls have one answer, and which of them are the same call.

A call has one answer where its temperature is 0, or it names a seed; embeddings always have. The members are those of
Ollama's API (https://github.com/ollama/ollama/blob/main/docs/api.md), OpenAI's
(https://platform.openai.com/docs/api-reference) and Anthropic's (https://docs.anthropic.com/en/api/messages).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from mlops_backend.services.llm.dialects import folded

Body = Mapping[str, Any]


class Kind(Enum):
    """What a route's body is written in."""

    OLLAMA = auto()
    EMBEDDINGS = auto()
    OPENAI = auto()
    RESPONSES = auto()
    ANTHROPIC = auto()


ROUTES: Final[Mapping[str, Kind]] = {
    "/api/llm/generate": Kind.OLLAMA,
    "/api/llm/stream": Kind.OLLAMA,
    "/api/llm/chat": Kind.OLLAMA,
    "/api/llm/embed": Kind.EMBEDDINGS,
    "/api/generate": Kind.OLLAMA,
    "/api/chat": Kind.OLLAMA,
    "/api/embed": Kind.EMBEDDINGS,
    "/api/embeddings": Kind.EMBEDDINGS,
    "/v1/chat/completions": Kind.OPENAI,
    "/v1/completions": Kind.OPENAI,
    "/v1/embeddings": Kind.EMBEDDINGS,
    "/v1/responses": Kind.RESPONSES,
    "/v1/messages": Kind.ANTHROPIC,
}
# Of what is asked there has to be something: an Ollama loads or unloads its model where there is nothing.
_ASKED: Final = ("prompt", "messages", "input")
# What changes no answer. The Responses API has it all in its answer, and so it is a part of the call there.
_BESIDE: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.OLLAMA: frozenset({"keep_alive"}),
    Kind.EMBEDDINGS: frozenset({"keep_alive", "user"}),
    Kind.OPENAI: frozenset({"user", "safety_identifier", "metadata", "prompt_cache_key", "keep_alive"}),
    Kind.RESPONSES: frozenset(),
    Kind.ANTHROPIC: frozenset({"metadata"}),
}
# What makes the answer depend on something that is not in the call.
_ELSEWHERE: Final[Mapping[Kind, Sequence[str]]] = {
    Kind.OLLAMA: (),
    Kind.EMBEDDINGS: (),
    Kind.OPENAI: ("web_search_options",),
    Kind.RESPONSES: ("previous_response_id", "conversation", "background", "prompt"),
    Kind.ANTHROPIC: ("container", "mcp_servers"),
}
# Tools that the client runs; all others are run by the server, and what they find changes.
_OF_CLIENT: Final = (None, "function", "custom")
_LINKS: Final = frozenset({"url", "image_url", "file_url", "video_url", "audio_url"})


@dataclass(frozen=True, slots=True)
class Call:
    """A call that has one answer: `text` is equal for equal ones, `model` as the client named it, or empty."""

    model: str
    text: bytes


def read_call(kind: Kind, body: bytes) -> Call | None:
    """The call in a body; `None` where it has not one answer, or where several readers would not read it alike."""
    try:
        read = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_refuse)
        if not isinstance(read, dict) or not isinstance(model := read.get("model", ""), str):
            return None
        if not _has_one_answer(kind, read):
            return None
        told = {name: value for name, value in read.items() if name not in _BESIDE[kind]}
        return Call(model, json.dumps(told, sort_keys=True, separators=(",", ":")).encode())
    except (ValueError, RecursionError):
        return None


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no name stands twice, not in other letters either: readers take the first or the last.

    Raises:
        ValueError: one does.
    """
    if len({folded(name) for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _has_one_answer(kind: Kind, body: Body) -> bool:
    if not any(body.get(name) for name in _ASKED) or any(body.get(name) for name in _ELSEWHERE[kind]):
        return False
    if kind is Kind.RESPONSES and body.get("store") is not False:  # each that is stored is one of its own
        return False
    if not _is_fixed(kind, body) or _has_links(body):
        return False
    tools = body.get("tools") or []
    return isinstance(tools, list) and all(isinstance(tool, dict) and tool.get("type") in _OF_CLIENT for tool in tools)


def _is_fixed(kind: Kind, body: Body) -> bool:
    match kind:
        case Kind.EMBEDDINGS:
            return True
        case Kind.OLLAMA:
            options = body.get("options")
            return isinstance(options, dict) and (_is_zero(options.get("temperature")) or _is_seed(options.get("seed")))
        case Kind.OPENAI:
            return _is_zero(body.get("temperature")) or _is_seed(body.get("seed"))
    return _is_zero(body.get("temperature"))


def _is_zero(value: Any) -> bool:
    return type(value) in (int, float) and value == 0


def _is_seed(value: Any) -> bool:
    """Whether it is one: below 0 it asks for chance."""
    return type(value) is int and value >= 0


def _has_links(value: Any) -> bool:
    """Whether something is to be fetched, which may be something else the next time."""
    if isinstance(value, dict):
        return any((name in _LINKS and _is_link(inner)) or _has_links(inner) for name, inner in value.items())
    return isinstance(value, list) and any(map(_has_links, value))


def _is_link(value: Any) -> bool:
    return isinstance(value, str) and not value.startswith("data:")
