"""Ollama's answers as objects of OpenAI's Responses API."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlops_backend.services.llm.dialects.native.message_events import texts_of
from mlops_backend.services.llm.dialects.native.replies import called, message_of, new_id, reason_of, usage_of
from mlops_backend.services.llm.dialects.native.response_tools import Item, Tool, called_item
from mlops_backend.services.llm.dialects.openai import RESPONSE

# Why an answer is not whole, in the words of each.
_CUT: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response_reply(echoed: Mapping[str, Any], tools: Mapping[str, Tool], told: Mapping[str, Any]) -> dict[str, Any]:
    """`/api/chat`'s answer as `/v1/responses`'.

    Args:
        echoed: what it repeats of what was asked.
        tools: those that the model was told of, by its names.
        told: Ollama's.

    Raises:
        BackendNonsense: it has none.
    """
    spoken = message_of(told)
    output = [MADE[kind](new_id(PREFIXES[kind]), text) for kind, text in texts_of(spoken)]
    output += [called_item(call, tools) for call in called(spoken.get("tool_calls"), 0)]
    return ended(begun(echoed), told, output)


def begun(echoed: Mapping[str, Any]) -> dict[str, Any]:
    """A response that has nothing in it yet."""
    return {**RESPONSE, **echoed, "id": new_id("resp_"), "created_at": int(time.time())}


def ended(response: Mapping[str, Any], told: Mapping[str, Any], output: Sequence[Item]) -> dict[str, Any]:
    """The response with all of its items; of an Ollama that does not say why it ended it is not known to be cut."""
    cut = _CUT.get(reason_of(told) or "")
    items = [*output[:-1], {**output[-1], "status": "incomplete"}] if cut and output else list(output)
    status: dict[str, Any] = {"status": "completed", "completed_at": int(time.time())}
    if cut:
        status = {"status": "incomplete", "incomplete_details": {"reason": cut}}
    return {**response, **status, "output": items, "usage": response_usage(told)}


def failed(response: Mapping[str, Any], words: str, output: Sequence[Item]) -> dict[str, Any]:
    """A response that the backend did not finish, in its own words."""
    return {**response, "status": "failed", "error": {"code": "server_error", "message": words}, "output": list(output)}


def reasoning_item(item_id: str, text: str) -> Item:
    """What was thought; an Ollama that has the route reads the `encrypted_content`, others the summary."""
    summary = [{"type": "summary_text", "text": text}]
    return {"id": item_id, "type": "reasoning", "summary": summary, "encrypted_content": text}


def message_item(item_id: str, text: str) -> Item:
    """What was said."""
    return {
        "id": item_id,
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [text_part(text)],
    }


def text_part(text: str) -> dict[str, Any]:
    """A part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def response_usage(told: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens, in the words of the Responses API."""
    usage = usage_of(told)
    read, written = usage.get("prompt_tokens_details", {}), usage.get("completion_tokens_details", {})
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": read.get("cached_tokens", 0), "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens", 0)},
        "total_tokens": usage["total_tokens"],
    }


# By what `texts_of` calls it.
MADE: Final = {"thinking": reasoning_item, "text": message_item}
PREFIXES: Final = {"thinking": "rs_", "text": "msg_"}
