"""Usage: the token counts that an answer tells, in whatever dialect it tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlops_backend.telemetry.record import RequestRecord

# Anthropic counts what comes from its cache, or goes into it, apart.
_CACHED: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")
_PROMPT: Final = ("prompt_tokens", "input_tokens", "prompt_eval_count")
# What English text comes to with the tokenizers of today's models; other languages and code take more.
CHARACTERS_PER_TOKEN: Final = 4
# What is more is nonsense. Millions of rows with these still have a sum that fits SQLite's integers.
MOST_TOKENS: Final = 10**12
# A reranker answers no tokens, and some tell only the sum.
_ALL: Final = ("total_tokens",)
_COMPLETION: Final = ("completion_tokens", "output_tokens", "eval_count")


def tokens_in(characters: int) -> int:
    """A guess at how many tokens so many characters are."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def read_usage(told: Mapping[str, Any], record: RequestRecord) -> bool:
    """Take the counts from an answer, or from a stream's object; false when it tells none, or nothing but zeros.

    Ollama tells them beside the answer and leaves a count of 0 out; OpenAI and Anthropic in `usage`, the Responses API
    in its `response`, Anthropic at a stream's start in its `message`.
    """
    record.trace.hear(told)
    for holder in (told, told.get("response"), told.get("message")):
        usage = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(usage, dict):
            return _take(usage, record)
    if told.get("done") is True:
        record.prompt_tokens = record.completion_tokens = 0
    return _take(told, record)


def _take(usage: Mapping[str, Any], record: RequestRecord) -> bool:
    prompt, completion = _first(usage, _PROMPT), _first(usage, _COMPLETION)
    if prompt is None and completion is None:
        prompt = _first(usage, _ALL)
    if not (prompt or completion or any(map(usage.get, _CACHED))):
        return False
    if prompt is not None:
        # OpenAI's own count holds what came from a cache; a server that tells both means the same tokens.
        apart = [count for name in _CACHED if (count := _first(usage, (name,))) is not None]
        if isinstance(usage.get("prompt_tokens"), int):
            record.cached_tokens = 0
        elif apart:  # what a later event leaves out keeps its value
            record.cached_tokens = sum(apart)
        record.prompt_tokens = min(prompt + record.cached_tokens, MOST_TOKENS)
    record.completion_tokens = record.completion_tokens if completion is None else completion
    return True


def _first(usage: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """The first count that is one: some servers say -1 where they do not know."""
    for name in names:
        value = usage.get(name)
        if type(value) is int and value >= 0:  # no bool
            return min(value, MOST_TOKENS)
    return None
