"""The pieces of an answer that whole replies and streams share: what was said, why it ended, what it took.

Durations are nanoseconds. The engine's own figures (`timings`: `prompt_ms`, `predicted_ms`) give the two evaluation
times; `load_duration` is the rest of the time until the answer: waiting for a free slot of a model that is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic_core import from_json

from mlops_backend.errors import BackendNonsense

Conversing = Literal["generate", "chat"]
_NANOSECONDS_PER_MS: Final = 1_000_000


def now() -> str:
    """The present time as Ollama writes it: RFC 3339, UTC, with a fraction."""
    return datetime.now(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The one answer; the requests made here never ask for more."""
    choices = answer.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    return None


def said(operation: Conversing, text: str, thinking: str = "", calls: Sequence[Any] = ()) -> dict[str, Any]:
    """What the model said, where the operation's objects have it."""
    extras: dict[str, Any] = {"thinking": thinking} if thinking else {}
    if calls:
        extras["tool_calls"] = [tool_call(index, call) for index, call in enumerate(calls)]
    if operation == "generate":
        return {"response": text, **extras}
    return {"message": {"role": "assistant", "content": text, **extras}}


def done_reason(reason: Any) -> str:
    """Ollama knows `length` and `stop`; it says `stop` as well when the model calls a tool.

    Raises:
        BackendNonsense: there is none.
    """
    if not isinstance(reason, str):
        raise BackendNonsense("The backend's answer does not say why it ended.")
    return "length" if reason == "length" else "stop"


def metrics(usage: Mapping[str, Any], timings: Any, total: int) -> dict[str, int]:
    """Ollama's counts and durations; an engine that tells no `timings` leaves their fields out.

    Raises:
        BackendNonsense: a figure is not a number.
    """
    times = timings if isinstance(timings, Mapping) else {}
    try:
        prompt, answer = int(usage["prompt_tokens"]), int(usage.get("completion_tokens", 0))
        durations = [
            round(times[name] * _NANOSECONDS_PER_MS) for name in ("prompt_ms", "predicted_ms") if name in times
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BackendNonsense("The backend's usage figures are not numbers.") from error
    if len(durations) != 2:
        return {"total_duration": total, "prompt_eval_count": prompt, "eval_count": answer}
    return {
        "total_duration": total,
        "load_duration": max(0, total - sum(durations)),
        "prompt_eval_count": prompt,
        "prompt_eval_duration": durations[0],
        "eval_count": answer,
        "eval_duration": durations[1],
    }


def logprobs(scores: Any, top: int) -> list[dict[str, Any]]:
    """The tokens' log probabilities in Ollama's form.

    Raises:
        BackendNonsense: they are not in OpenAI's.
    """
    try:
        return [
            {
                **_score(entry),
                **({"top_logprobs": [_score(each) for each in entry["top_logprobs"][:top]]} if top else {}),
            }
            for entry in _scored(scores)
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise BackendNonsense("The backend's log probabilities are not in their form.") from error


def tool_call(index: int, call: Any) -> dict[str, Any]:
    """One call in Ollama's form: the arguments are an object, not the text of one.

    Raises:
        BackendNonsense: it is not in OpenAI's.
    """
    try:
        function = call["function"]
        arguments = from_json(function.get("arguments") or "{}")
        named = {"index": index, "name": str(function["name"]), "arguments": arguments}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BackendNonsense("The backend's tool call is not in its form.") from error
    return {"id": call["id"], "function": named} if call.get("id") else {"function": named}


def thought(said: Mapping[str, Any]) -> str:
    """What a message, or a piece of one, says of the model's thinking; its name differs between servers.

    Raises:
        BackendNonsense: it is not a text.
    """
    thinking = said.get("reasoning_content") or said.get("reasoning") or ""
    if not isinstance(thinking, str):
        raise BackendNonsense("The backend's thinking is not a text.")
    return thinking


def _scored(scores: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The scored tokens: a list of objects, or, from `/v1/completions` of others than llama.cpp, lists side by side."""
    if "tokens" not in scores:
        return scores.get("content") or ()
    others = scores.get("top_logprobs") or [None] * len(scores["tokens"])
    rows = zip(scores["tokens"], scores["token_logprobs"], others, strict=False)
    return [
        {**_named(token, score), "top_logprobs": [_named(*each) for each in (ranked or {}).items()]}
        for token, score, ranked in rows
    ]


def _named(token: str, score: float) -> dict[str, Any]:
    return {"token": token, "logprob": score, "bytes": list(token.encode())}


def _score(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": entry["token"], "logprob": entry["logprob"], "bytes": entry.get("bytes")}
