"""Replies: whole answers of llama.cpp's OpenAI API as Ollama's objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects.ollama import parse_object
from mlops_backend.services.llm.dialects.openai_pieces import (
    Conversing,
    done_reason,
    first_choice,
    logprobs,
    metrics,
    now,
    said,
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


def embed_reply(body: bytes, model: str, total: int, dimensions: int = 0) -> dict[str, Any]:
    """The answer of `/v1/embeddings`, each vector of length 1, in the order of the inputs.

    Args:
        body: what the engine answered.
        model: the name that the client used.
        total: nanoseconds since the request was sent.
        dimensions: vectors are cut to this many before they are made length 1; 0: they are left whole.

    Raises:
        BackendNonsense: it holds no vectors.
    """
    answer = parse_object(body)
    try:
        ordered = sorted(answer["data"], key=lambda entry: int(entry["index"]))
        vectors = [_unit(entry["embedding"], dimensions) for entry in ordered]
        count = int(answer["usage"]["prompt_tokens"])
    except (KeyError, TypeError, ValueError) as error:
        raise BackendNonsense("The backend's answer lacks its embeddings or its usage.") from error
    return {
        "model": model,
        "embeddings": vectors,
        "total_duration": total,
        "load_duration": 0,
        "prompt_eval_count": count,
    }


def tokens(body: bytes) -> list[int]:
    """What `/tokenize` made of a text.

    Raises:
        BackendNonsense: it is not a list of numbers.
    """
    found = parse_object(body).get("tokens")
    if not isinstance(found, list) or not all(isinstance(token, int) for token in found):
        raise BackendNonsense("The backend's list of tokens is not a list.")
    return found


def tags(body: bytes, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models of `/v1/models` as entries of Ollama's `/api/tags`.

    Args:
        body: what the engine answered.
        known: what the engine does not tell: `size`, `digest`, `modified_at`, `family`.

    Raises:
        BackendNonsense: it is not a list of models.
    """
    models = parse_object(body).get("data")
    if not isinstance(models, list) or not all(isinstance(model, Mapping) for model in models):
        raise BackendNonsense("The backend's list of models is not a list.")
    return [_tag(model, known) for model in models]


def _tag(model: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    name, found = str(model.get("id", "")), model.get("meta")
    meta = found if isinstance(found, Mapping) else {}
    parameters = meta.get("n_params")
    return {
        "name": name,
        "model": name,
        "modified_at": known["modified_at"],
        "size": known["size"],
        "digest": known["digest"],
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": known["family"],
            "families": [known["family"]],
            "parameter_size": f"{parameters / 1e6:.2f}M" if isinstance(parameters, int) else "",
            "quantization_level": str(meta.get("ftype", "")),
        },
    }


def _spoken(choice: Mapping[str, Any]) -> tuple[str, str, Sequence[Any]]:
    """Text, thinking and tool calls of a whole choice."""
    if isinstance(text := choice.get("text"), str):
        return text, "", ()
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise BackendNonsense("The backend's answer holds no text.")
    content, thinking = message.get("content") or "", message.get("reasoning_content") or ""
    calls = message.get("tool_calls") or ()
    if not isinstance(content, str) or not isinstance(thinking, str) or not isinstance(calls, Sequence):
        raise BackendNonsense("The backend's answer holds no text.")
    return content, thinking, calls


def _unit(vector: Sequence[float], dimensions: int) -> list[float]:
    cut = vector[:dimensions] if dimensions > 0 else vector
    length = math.sqrt(math.fsum(number * number for number in cut))
    return [number / length for number in cut] if length else list(cut)
