"""The pieces of an answer that whole replies and streams share: what was said, why it ended, what it took.

Durations are nanoseconds. The engine's own figures (`timings`: `prompt_ms`, `predicted_ms`) give the two evaluation
times; `load_duration` is the rest of the time until the answer: waiting for a free slot of a model that is loaded.
Where a server tells no figures the times are measured here, from when the answer's first and last bytes came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from time import time_ns
from typing import Any, Final, Literal

from mlops_backend.errors import BackendNonsense

Conversing = Literal["generate", "chat"]
Estimate = Callable[[int, int], Mapping[str, int]]
_NANOSECONDS_PER_MS: Final = 1_000_000
_NANOSECONDS_PER_SECOND: Final = 1_000_000_000
# Reasons that Ollama's `done_reason` and `tool_calls` tell.
_ENDS: Final = frozenset({"", "stop", "length", "tool_calls", "function_call"})
NOT_AN_EVENT: Final = "The backend's stream is not made of the events that its protocol promises."


def now() -> str:
    """The present time as Ollama writes it: RFC 3339, UTC, with a fraction."""
    second, rest = divmod(time_ns(), _NANOSECONDS_PER_SECOND)
    return f"{_second(second)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=1)
def _second(since_epoch: int) -> str:
    """Formatted once: thousands of tokens may share it."""
    return datetime.fromtimestamp(since_epoch, UTC).isoformat()[:19]


def no_estimate(characters: int, frames: int) -> Mapping[str, int]:
    """The usage of an answer that tells none, in OpenAI's words: a token for each frame, and none for the prompt."""
    return {"prompt_tokens": 0, "completion_tokens": frames}


def first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The one answer; the requests made here never ask for more."""
    choices = answer.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    return None


def said(operation: Conversing, text: str, thinking: str = "", calls: Sequence[Any] = ()) -> dict[str, Any]:
    """What the model said, where the operation's objects have it; `calls` in Ollama's form."""
    extras: dict[str, Any] = {"thinking": thinking} if thinking else {}
    if calls:
        extras["tool_calls"] = calls
    if operation == "generate":
        return {"response": text, **extras}
    return {"message": {"role": "assistant", "content": text, **extras}}


def done_reason(reason: Any) -> str:
    """Ollama knows `length` and `stop`; it says `stop` as well when the model calls a tool.

    Raises:
        BackendNonsense: there is none.
    """
    if not isinstance(reason, str) or not reason:
        raise BackendNonsense("The backend's answer does not say why it ended.")
    return "length" if reason == "length" else "stop"


def met(choice: Mapping[str, Any]) -> dict[str, str]:
    """What an answer's last object tells beyond Ollama's words: the stop text that was met, and another reason to end.

    vLLM and SGLang name the stop text; the reason is told where it is neither the model's end, its maximum nor a call.
    """
    stop, reason = choice.get("stop_reason", choice.get("matched_stop")), choice.get("finish_reason")
    told = {"stop_sequence": stop} if isinstance(stop, str) and stop else {}
    return told if reason in _ENDS or not isinstance(reason, str) else {**told, "finish_reason": reason}


def told_usage(answer: Mapping[str, Any], spoken: int) -> Mapping[str, Any] | None:
    """The usage that an answer tells; `None` for none, and for one of no tokens beside `spoken` characters."""
    usage = answer.get("usage")
    if not isinstance(usage, Mapping) or usage.get("prompt_tokens") is None:
        return None
    return None if spoken and not usage.get("completion_tokens") else usage


def usage_of(
    answer: Mapping[str, Any], characters: int, frames: int, estimate: Estimate, *, believed: bool = True
) -> Mapping[str, Any]:
    """The usage that an answer of so many characters and frames tells, or an estimate of what it does not tell.

    Of all, where what it tells is not to be believed.
    """
    if not believed:
        return estimate(characters, frames)
    told = told_usage(answer, characters)
    if told is not None:
        return told
    usage = answer.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    known = {name: count for name, count in counts.items() if isinstance(count, int) and count > 0}
    return {**estimate(characters, frames), **known}


def metrics(usage: Mapping[str, Any], timings: Any, total: int, first: int = 0) -> dict[str, int]:
    """Ollama's counts and durations, and a count of ours: `eval_reasoning_count`.

    Args:
        usage: the tokens, in OpenAI's words.
        timings: the engine's own figures, where it tells them.
        total: nanoseconds from the request until the answer's end.
        first: until the answer began: where the engine tells nothing, what it took to read the prompt.

    Raises:
        BackendNonsense: a figure is not a number.
    """
    times = timings if isinstance(timings, Mapping) else {}
    try:
        prompt, answer = int(usage["prompt_tokens"]), int(usage.get("completion_tokens") or 0)
        durations = [
            round(times[name] * _NANOSECONDS_PER_MS) for name in ("prompt_ms", "predicted_ms") if name in times
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BackendNonsense("The backend's usage figures are not numbers.") from error
    if len(durations) != 2:
        durations = [first, max(1, total - first)]
    return {
        "total_duration": total,
        "load_duration": max(0, total - sum(durations)),
        "prompt_eval_count": prompt,
        "prompt_eval_duration": durations[0],
        "eval_count": answer,
        "eval_duration": durations[1],
        **_parts(usage),
    }


def _parts(usage: Mapping[str, Any]) -> dict[str, int]:
    """Of the prompt's tokens those of a cache, of the answer's those of thoughts; the latter have no name in Ollama."""
    places = (
        ("prompt_eval_cached_count", usage.get("prompt_tokens_details"), "cached_tokens"),
        ("eval_reasoning_count", usage.get("completion_tokens_details"), "reasoning_tokens"),
    )
    told = ((name, holder.get(count)) for name, holder, count in places if isinstance(holder, Mapping))
    return {name: count for name, count in told if type(count) is int and count > 0}


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


def spoken(message: Mapping[str, Any]) -> tuple[str, str]:
    """The text and the thinking of a message, or of a piece of one; the latter's name differs between servers.

    Raises:
        BackendNonsense: they are no texts.
    """
    content = message.get("content")
    thinking = message.get("reasoning_content") or message.get("reasoning") or ""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, Mapping)]
        thinking = thinking or "".join(map(_part_text, (part.get("thinking") for part in parts)))
        content = "".join(_part_text(part.get("text")) for part in parts)
    if not isinstance(content or "", str) or not isinstance(thinking, str):
        raise BackendNonsense("What the backend's model says is not a text.")
    return content or "", thinking


def said_now(choice: Mapping[str, Any]) -> tuple[str, str, Any]:
    """The text, the thinking and the fragments of tool calls of one piece of a stream.

    Raises:
        BackendNonsense: it is no piece.
    """
    delta = choice.get("delta", choice)
    if isinstance(delta, dict):
        text = delta.get("text" if delta is choice else "content")
        if text.__class__ is str and not (delta.get("reasoning_content") or delta.get("reasoning")):
            return text, "", delta.get("tool_calls")
        return *spoken({**delta, "content": text}), delta.get("tool_calls")
    if delta is None:
        return "", "", None
    raise BackendNonsense(NOT_AN_EVENT)


def _part_text(part: Any) -> str:
    """A text, or Mistral's list of objects with texts."""
    if isinstance(part, list):
        return "".join(_part_text(each.get("text")) for each in part if isinstance(each, Mapping))
    return part if isinstance(part, str) else ""


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
