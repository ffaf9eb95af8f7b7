"""Replies: whole answers of an OpenAI API as Ollama's objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects import parse_object
from mlops_backend.services.llm.dialects.openai.pieces import (
    Conversing,
    done_reason,
    first_choice,
    logprobs,
    metrics,
    now,
    said,
    thought,
)


def loaded_reply(operation: Conversing, model: str, reason: str) -> dict[str, Any]:
    """The answer to a request without a prompt, made without the engine: the model is loaded as long as it runs."""
    return {"model": model, "created_at": now(), **said(operation, ""), "done": True, "done_reason": reason}


def whole_reply(operation: Conversing, body: bytes, model: str, total: int, top: int = 0) -> dict[str, Any]:
    """One whole answer.

    Args:
        operation: whose shape it takes.
        body: what `/v1/chat/completions` or `/v1/completions` answered.
        model: the name that the client used.
        total: nanoseconds since the request was sent.
        top: how many alternatives of each token the client wants to see.

    Raises:
        BackendNonsense: a piece that the protocol promises is missing.
    """
    answer = parse_object(body)
    choice = first_choice(answer)
    usage = answer.get("usage")
    if choice is None or not isinstance(usage, Mapping):
        raise BackendNonsense("The backend's answer lacks its choices or its usage.")
    shape = said(operation, *_spoken(choice))
    if scores := choice.get("logprobs"):
        shape["logprobs"] = logprobs(scores, top)
    return {
        "model": model,
        "created_at": now(),
        **shape,
        "done": True,
        "done_reason": done_reason(choice.get("finish_reason")),
        **metrics(usage, answer.get("timings"), total),
    }


def embed_reply(bodies: Sequence[bytes], model: str, total: int, dimensions: int = 0) -> dict[str, Any]:
    """The answers of `/v1/embeddings` as one, each vector of length 1, in the order of the inputs.

    Args:
        bodies: what the engine answered, each for the inputs behind those of the one before.
        model: the name that the client used.
        total: nanoseconds since the request was sent.
        dimensions: vectors are cut to this many before they are made length 1; 0: they are left whole.

    Raises:
        BackendNonsense: it holds no vectors.
    """
    answers = [parse_object(body) for body in bodies]
    try:
        vectors = [_unit(vector, dimensions) for answer in answers for vector in _vectors(answer)]
        count = sum(int(answer["usage"]["prompt_tokens"]) for answer in answers)
    except (KeyError, TypeError, ValueError) as error:
        raise BackendNonsense("The backend's answer lacks its embeddings or its usage.") from error
    return {
        "model": model,
        "embeddings": vectors,
        "total_duration": total,
        "load_duration": 0,
        "prompt_eval_count": count,
    }


def embedding_reply(body: bytes) -> dict[str, Any]:
    """The answer of `/v1/embeddings` to one text in the shape of `/api/embeddings`: the vector as it came.

    Raises:
        BackendNonsense: it holds no vector.
    """
    try:
        return {"embedding": [float(number) for number in _vectors(parse_object(body))[0]]}
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise BackendNonsense("The backend's answer lacks its embedding.") from error


def tokens(body: bytes) -> list[int]:
    """What `/tokenize` made of a text.

    Raises:
        BackendNonsense: it is not a list of numbers.
    """
    found = parse_object(body).get("tokens")
    if not isinstance(found, list) or not all(isinstance(token, int) for token in found):
        raise BackendNonsense("The backend's list of tokens is not a list.")
    return found


def _spoken(choice: Mapping[str, Any]) -> tuple[str, str, Sequence[Any]]:
    """Text, thinking and tool calls of a whole choice."""
    if isinstance(text := choice.get("text"), str):
        return text, "", ()
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise BackendNonsense("The backend's answer holds no text.")
    content, calls = message.get("content") or "", message.get("tool_calls") or ()
    if not isinstance(content, str) or not isinstance(calls, Sequence):
        raise BackendNonsense("The backend's answer holds no text.")
    return content, thought(message), calls


def _vectors(answer: Mapping[str, Any]) -> list[Sequence[float]]:
    ordered = sorted(answer["data"], key=lambda entry: int(entry["index"]))
    return [entry["embedding"] for entry in ordered]


def _unit(vector: Sequence[float], dimensions: int) -> list[float]:
    cut = vector[:dimensions] if dimensions > 0 else vector
    length = math.sqrt(math.fsum(number * number for number in cut))
    return [number / length for number in cut] if length else list(cut)
