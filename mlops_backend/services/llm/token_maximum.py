"""The most tokens that a generation may answer, as its client asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.dialects.go_json import folded

_EMBEDDINGS: Final = ("/api/embed", "/api/embeddings", "/v1/embeddings")
_TRANSCRIPTION: Final = "/v1/audio/transcriptions"
_MAXIMA: Final = frozenset({"num_predict", "max_tokens", "max_completion_tokens", "max_output_tokens"})
_TIMES: Final = frozenset({"n", "best_of"})


def most_completion_tokens(asked: Asked) -> int | None:
    """The largest maximum that any backend might read from the body, times the answers that are wanted.

    `None` where the client names none: what is not above zero is no end to Ollama. Embeddings answer none.
    """
    if asked.path in _EMBEDDINGS:
        return 0
    try:
        body = from_json(asked.content) if isinstance(asked.content, bytes) else None
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    named = list(_numbers(body, _MAXIMA))
    if not named or min(named) <= 0:
        return None
    return max(named) * max(1, *_numbers(body, _TIMES), 1)


def _numbers(body: Mapping[str, Any], names: frozenset[str]) -> Iterator[int]:
    """The numbers that fields called so hold, in whatever case, in the body and in Ollama's `options`."""
    for name, value in body.items():
        if folded(name) in names and isinstance(value, int | float):
            yield int(min(value, 1e15))
        elif folded(name) == "options" and isinstance(value, dict):
            yield from _numbers(value, names)
