"""The most tokens that a generation may answer, as its client asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from mlops_backend.aside import rest
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.dialects import LargeBody, folded, value_of

# The last part of a path, of those too that only the operator knows.
_TEXTLESS: Final = (
    *("/embed", "/embeddings", "/pooling", "/rerank", "/reranking", "/score", "/classify", "/moderations"),
    *("/tokenize", "/detokenize"),
)
# OpenAI's, Anthropic's and Ollama's, and what llama.cpp (n_predict) and SGLang (max_new_tokens) take beside them.
MAXIMA: Final = frozenset(
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
_COUNTED: Final = MAXIMA | _TIMES
_OPTIONS: Final = "options"
_MOST: Final = 1e15
_DIGITS: Final = 40  # a text that is longer is too large a number, or none


class Output(NamedTuple):
    """The most tokens of all answers to a request together, `None` where that is not said, and how many answers."""

    most: int | None
    answers: int


NO_TEXT: Final = Output(0, 1)


def output_of(asked: Asked) -> Output:
    """The largest maximum that any backend might read from the body, times the answers and the prompts that there are.

    What is not above zero is no end to Ollama. What answers with no text, as embeddings do, has a most of 0.
    """
    if has_no_text(asked):
        return NO_TEXT
    rest()
    return output_in(value_of(asked.content) if isinstance(asked.content, bytes | LargeBody) else None)


def has_no_text(asked: Asked) -> bool:
    """Whether it answers with no text."""
    return asked.path.partition("?")[0].endswith(_TEXTLESS)


def output_in(body: Any) -> Output:
    """The same of a body's value, for what answers with a text."""
    if not isinstance(body, dict):
        return Output(None, 1)
    times, named = [1], list[int]()
    for name, number in _numbers(body):
        (times if name in _TIMES else named).append(number)
    answers = max(times) * _prompts(body)
    return Output(max(named) * answers if named and min(named) > 0 else None, answers)


def _numbers(body: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The numbers of answers and of their tokens, in whatever case they are called, in the body and in `options`."""
    for name, value in body.items():
        low = folded(name)
        if low in _COUNTED and (number := number_in(value)) is not None:
            is_none = isinstance(number, float) and math.isnan(number)  # `isnan` itself takes no number of any length
            yield low, 0 if is_none else int(max(-_MOST, min(number, _MOST)))
        elif low == _OPTIONS and isinstance(value, dict):
            yield from _numbers(value)


def number_in(value: Any) -> int | float | None:
    """The number that some server may read there: those in Python take a text that is one, too."""
    if isinstance(value, int | float):
        return value
    try:
        return float(value.strip()[:_DIGITS]) if isinstance(value, str) else None
    except ValueError:
        return None


def _prompts(body: Mapping[str, Any]) -> int:
    """How many prompts OpenAI's `prompt` holds, each with answers of its own; a list of numbers is one of tokens."""
    prompt = body.get("prompt")
    return sum(isinstance(each, str | list) for each in prompt) or 1 if isinstance(prompt, list) else 1
