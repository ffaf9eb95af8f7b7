"""Replies: whole answers of an OpenAI API as Ollama's objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects import parse_object, texts_in
from mlops_backend.services.llm.dialects.openai.calls import told_call
from mlops_backend.services.llm.dialects.openai.pieces import (
    Conversing,
    Estimate,
    done_reason,
    first_choice,
    logprobs,
    met,
    metrics,
    no_estimate,
    now,
    said,
    spoken,
    told_usage,
    usage_of,
)
from mlops_backend.services.llm.dialects.openai.stops import StopWatch


def loaded_reply(operation: Conversing, model: str, reason: str) -> dict[str, Any]:
    """The answer to a request without a prompt, made without the engine: the model is loaded as long as it runs."""
    return {"model": model, "created_at": now(), **said(operation, ""), "done": True, "done_reason": reason}


def whole_reply(
    operation: Conversing,
    body: bytes,
    model: str,
    total: int,
    top: int = 0,
    *,
    stops: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    free_form: Set[str] = frozenset(),
    estimate: Estimate = no_estimate,
    believed: bool = True,
) -> dict[str, Any]:
    """One whole answer.

    Args:
        operation: whose shape it takes.
        body: what `/v1/chat/completions` or `/v1/completions` answered.
        model: the name that the client used.
        total: nanoseconds since the request was sent.
        top: how many alternatives of each token the client wants to see.
        stops: texts at which it is cut, since the server was not told of them.
        names: a function's name as it was sent -> as the client wrote it.
        free_form: functions of which only the text is wanted, by the client's names.
        estimate: the usage, where the server tells none, of so many characters in so many frames.
        believed: whether what it tells counts.

    Raises:
        BackendNonsense: a piece that the protocol promises is missing.
    """
    answer = parse_object(body)
    choice = first_choice(answer)
    if choice is None:
        raise BackendNonsense("The backend's answer lacks its choices.")
    text, thinking, calls = _spoken(choice)
    reason = done_reason(choice.get("finish_reason"))
    told = _told_calls(calls, names or {}, free_form, may_fail=bool(text) or reason == "length")
    watch = StopWatch(stops)
    shape = said(operation, watch.feed(text) + watch.rest(), thinking, told)
    if scores := choice.get("logprobs"):
        shape["logprobs"] = logprobs(scores, top)
    spoken_of = len(text) + len(thinking) + sum(map(len, texts_in({"tool_calls": calls})))
    return {
        "model": model,
        "created_at": now(),
        **shape,
        "done": True,
        "done_reason": "stop" if watch.met else reason,
        **({"stop_sequence": watch.met} if watch.met else met(choice)),
        **metrics(usage_of(answer, spoken_of, 0, estimate, believed=believed), answer.get("timings"), total),
    }


def embed_reply(
    bodies: Sequence[bytes],
    model: str,
    total: int,
    dimensions: int = 0,
    *,
    estimate: Estimate = no_estimate,
    believed: bool = True,
) -> dict[str, Any]:
    """The answers of `/v1/embeddings` as one, each vector of length 1, in the order of the inputs.

    Args:
        bodies: what the engine answered, each for the inputs behind those of the one before.
        model: the name that the client used.
        total: nanoseconds since the request was sent.
        dimensions: vectors are cut to this many before they are made length 1; 0: they are left whole.
        estimate: the usage, where the server tells none.
        believed: whether what it tells counts.

    Raises:
        BackendNonsense: it holds no vectors.
    """
    answers = [parse_object(body) for body in bodies]
    try:
        vectors = [_unit(vector, dimensions) for answer in answers for vector in _vectors(answer)]
        told = [told_usage(answer, 0) for answer in answers]
        counts = [int(usage["prompt_tokens"]) for usage in told if usage is not None]
    except (KeyError, TypeError, ValueError) as error:
        raise BackendNonsense("The backend's answer lacks its embeddings.") from error
    is_told = believed and len(counts) == len(told)
    return {
        "model": model,
        "embeddings": vectors,
        "total_duration": total,
        "load_duration": 0,
        "prompt_eval_count": sum(counts) if is_told else estimate(0, 0)["prompt_tokens"],
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
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, Sequence):
        raise BackendNonsense("The backend's answer holds no text.")
    return *spoken(message), calls


def _told_calls(
    calls: Sequence[Any], names: Mapping[str, str], free_form: Set[str], *, may_fail: bool
) -> list[dict[str, Any]]:
    """The calls in Ollama's form; one that is out of shape costs no good one, nor the text."""
    told: list[dict[str, Any]] = []
    failures: list[BackendNonsense] = []
    for call in calls:
        try:
            told.append(told_call(len(told), call, names, free_form))
        except BackendNonsense as error:
            failures.append(error)
    if failures and not told and not may_fail:
        raise failures[0]
    return told


def _vectors(answer: Mapping[str, Any]) -> list[Sequence[float]]:
    entries = list(answer["data"])
    if all("index" in entry for entry in entries):
        entries.sort(key=lambda entry: int(entry["index"]))
    return [entry["embedding"] for entry in entries]


def _unit(vector: Sequence[float], dimensions: int) -> list[float]:
    cut = vector[:dimensions] if dimensions > 0 else vector
    length = math.sqrt(math.fsum(number * number for number in cut))
    return [number / length for number in cut] if length else list(cut)
