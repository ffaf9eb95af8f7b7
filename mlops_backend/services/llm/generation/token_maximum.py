"""The most tokens that a generation may answer, as its client asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.dialects import LargeBody, folded, value_of

_EMBEDDINGS: Final = ("/api/embed", "/api/embeddings", "/v1/embeddings")
# OpenAI's, Anthropic's and Ollama's, and what llama.cpp (n_predict) and SGLang (max_new_tokens) take beside them.
_MAXIMA: Final = frozenset(
    {
        "num_predict",
        "n_predict",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "max_new_tokens",
    }
)
_TIMES: Final = frozenset({"n", "best_of"})
_MOST: Final = 1e15


def most_completion_tokens(asked: Asked) -> int | None:
    """The largest maximum that any backend might read from the body, times the answers and the prompts that there are.

    `None` where the client names none: what is not above zero is no end to Ollama. Embeddings answer none.
    """
    if asked.path in _EMBEDDINGS:
        return 0
    body = value_of(asked.content) if isinstance(asked.content, bytes | LargeBody) else None
    if not isinstance(body, dict):
        return None
    named = list(_numbers(body, _MAXIMA))
    if not named or min(named) <= 0:
        return None
    return max(named) * max(1, *_numbers(body, _TIMES), 1) * _prompts(body)


def _numbers(body: Mapping[str, Any], names: frozenset[str]) -> Iterator[int]:
    """The numbers that fields called so hold, in whatever case, in the body and in Ollama's `options`."""
    for name, value in body.items():
        if folded(name) in names and isinstance(value, int | float):
            yield 0 if math.isnan(value) else int(max(-_MOST, min(value, _MOST)))
        elif folded(name) == "options" and isinstance(value, dict):
            yield from _numbers(value, names)


def _prompts(body: Mapping[str, Any]) -> int:
    """How many prompts OpenAI's `prompt` holds, each with answers of its own; a list of numbers is one of tokens."""
    prompt = body.get("prompt")
    return sum(isinstance(each, str | list) for each in prompt) or 1 if isinstance(prompt, list) else 1
