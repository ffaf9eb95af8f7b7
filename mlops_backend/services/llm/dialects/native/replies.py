"""Replies: whole answers of Ollama's own routes as those of OpenAI's, in the form that Ollama gives them."""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects import dumped
from mlops_backend.services.llm.dialects.native.shapes import FINGERPRINT
from mlops_backend.services.llm.dialects.openai import native_reply

_COUNTS: Final = ("prompt_eval_count", "eval_count", "prompt_eval_cached_count", "eval_reasoning_count")
_NO_ANSWER: Final = "The backend's answer is not in the form that its protocol promises."


def new_id(prefix: str) -> str:
    """An id of an answer."""
    return prefix + secrets.token_hex(12)


def chat_reply(told: Mapping[str, Any]) -> dict[str, Any]:
    """`/api/chat`'s answer as `/v1/chat/completions`'.

    Raises:
        BackendNonsense: it has none.
    """
    spoken = message_of(told)
    calls = told_calls(spoken.get("tool_calls"), 0)
    message: dict[str, Any] = {"role": spoken.get("role") or "assistant", "content": spoken.get("content") or ""}
    if thinking := spoken.get("thinking"):
        message["reasoning"] = thinking
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": reason_of(told, called=bool(calls))}
    return {**_head("chatcmpl-", "chat.completion", told), "choices": [_scored(choice, told)], "usage": usage_of(told)}


def completion_reply(told: Mapping[str, Any]) -> dict[str, Any]:
    """`/api/generate`'s answer as `/v1/completions`'; raises what `chat_reply` raises."""
    text = told.get("response")
    if not isinstance(text, str):
        raise BackendNonsense(_NO_ANSWER)
    choice = {"text": text, "index": 0, "finish_reason": reason_of(told)}
    return {**_head("cmpl-", "text_completion", told), "choices": [_scored(choice, told)], "usage": usage_of(told)}


def embeddings_reply(told: Mapping[str, Any], model: str, encoding: str) -> dict[str, Any]:
    """`/api/embed`'s answer as `/v1/embeddings`'; raises what `chat_reply` raises."""
    if not isinstance(told.get("embeddings"), list):
        raise BackendNonsense(_NO_ANSWER)
    try:
        return native_reply({**told, "prompt_eval_count": told.get("prompt_eval_count", 0)}, model, encoding)
    except (TypeError, OverflowError, struct.error) as error:
        raise BackendNonsense(_NO_ANSWER) from error


def message_of(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a chat's object says.

    Raises:
        BackendNonsense: it says nothing.
    """
    spoken = told.get("message")
    if not isinstance(spoken, Mapping):
        raise BackendNonsense(_NO_ANSWER)
    return spoken


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of an answer; `id` is Ollama's, or a new one, since older Ollamas give none.

    Of one that is `partial` more follows, with the same `index`: a member of this service's own.
    """

    id: str
    index: int
    name: str
    arguments: Mapping[str, Any]
    partial: bool = False

    @property
    def text(self) -> str:
        """The arguments' JSON."""
        return dumped(self.arguments).decode()


def called(calls: Any, before: int) -> list[Call]:
    """Ollama's tool calls.

    Args:
        calls: they.
        before: how many the same answer had already.

    Raises:
        BackendNonsense: they are not in its form.
    """
    try:
        return [_call(call, before + number) for number, call in enumerate(calls or ())]
    except (AttributeError, KeyError, TypeError) as error:
        raise BackendNonsense(_NO_ANSWER) from error


def told_calls(calls: Any, before: int) -> list[dict[str, Any]]:
    """The same in OpenAI's form; takes and raises what `called` does."""
    return [
        {
            "id": call.id,
            "index": call.index,
            "type": "function",
            "function": {"name": call.name, "arguments": call.text},
        }
        for call in called(calls, before)
    ]


def reason_of(told: Mapping[str, Any], *, called: bool = False) -> str | None:
    """Why an answer ended, in OpenAI's words; `None` where it is not said."""
    reason = told.get("finish_reason") or told.get("done_reason")
    return "tool_calls" if called else reason if isinstance(reason, str) and reason else None


def usage_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens that an object tells of; what is left out is none."""
    read, written, cached, reasoned = (told.get(name) or 0 for name in _COUNTS)
    if not all(isinstance(count, int) for count in (read, written, cached, reasoned)):
        raise BackendNonsense(_NO_ANSWER)
    usage: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    if cached:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    return {**usage, "completion_tokens_details": {"reasoning_tokens": reasoned}} if reasoned else usage


def _call(call: Mapping[str, Any], number: int) -> Call:
    function = call["function"]
    index, arguments = function.get("index"), function.get("arguments")
    place = index if isinstance(index, int) else number
    told_id, is_partial = call.get("id") or new_id("call_"), call.get("partial") is True
    return Call(told_id, place, str(function["name"]), arguments or {}, is_partial)


def _head(prefix: str, kind: str, told: Mapping[str, Any]) -> dict[str, Any]:
    start = {"id": new_id(prefix), "object": kind, "created": int(time.time())}
    return {**start, "model": told.get("model", ""), "system_fingerprint": FINGERPRINT}


def _scored(choice: dict[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    scores = told.get("logprobs")
    return {**choice, "logprobs": {"content": scores}} if scores else choice
