"""Ollama's answers in the words of Anthropic's messages, whole and as events."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from mlops_backend.services.llm.dialects import dumped
from mlops_backend.services.llm.dialects.native.lines import LineTranslator
from mlops_backend.services.llm.dialects.native.replies import called, message_of, new_id, reason_of, usage_of
from mlops_backend.services.llm.dialects.native.shapes import SAID, THOUGHT

_REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
_PLAIN: Final = {"text": SAID, "thinking": THOUGHT}
_FAILED: Final = 500
# Nobody can know it who would put it into a text.
_MARK: Final = secrets.token_hex(8)


def message_reply(told: Mapping[str, Any]) -> dict[str, Any]:
    """`/api/chat`'s answer as `/v1/messages`'.

    Raises:
        BackendNonsense: it has none.
    """
    spoken = message_of(told)
    content: list[dict[str, Any]] = [{"type": kind, kind: text} for kind, text in texts_of(spoken)]
    calls = called(spoken.get("tool_calls"), 0)
    content += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in calls]
    ended = _ended(told, called=bool(calls))
    return {**_message(str(told.get("model", "")), content), **ended, "usage": _usage(told)}


class MessageTranslator(LineTranslator):
    """One stream.

    Args:
        model: the name that the client used.
        estimate: of the prompt's tokens, which are told before they are known.
    """

    def __init__(self, model: str, estimate: int) -> None:
        super().__init__()
        self._model = model
        self._estimate = estimate
        self._open = ""
        self._index = 0
        self._called = 0

    def _said(self, told: Mapping[str, Any], *, is_first: bool, is_last: bool) -> list[bytes]:
        spoken = message_of(told)
        events = [self._start()] if is_first else []
        for kind, text in texts_of(spoken):
            events += [*self._opened(kind), self._delta(f"{kind}_delta", kind, text)]
        for call in called(spoken.get("tool_calls"), self._called):
            self._called += 1
            block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            events += [*self._closed(), self._began_with("tool_use", block)]
            events += [self._delta("input_json_delta", "partial_json", call.text), *self._closed()]
        return [*events, *self._end(told)] if is_last else events

    def _error(self, words: str) -> bytes:
        return _event("error", error={"type": "api_error", "message": words})

    def _start(self) -> bytes:
        usage = {"input_tokens": self._estimate, "output_tokens": 0}
        return _event("message_start", message={**_message(self._model, []), "usage": usage})

    def _opened(self, kind: str) -> list[bytes]:
        """What opens a block of that kind, where the last one is another."""
        if self._open == kind:
            return []
        events = [*self._closed(), self._began_with(kind, {"type": kind, kind: ""})]
        before, _, after = self._delta(f"{kind}_delta", kind, _MARK).partition(_MARK.encode())
        self._plain = [(_PLAIN[kind], before, after)]
        return events

    def _began_with(self, kind: str, block: Mapping[str, Any]) -> bytes:
        self._open = kind
        return _event("content_block_start", index=self._index, content_block=block)

    def _closed(self) -> list[bytes]:
        """What closes the block that is open."""
        if not self._open:
            return []
        event = _event("content_block_stop", index=self._index)
        self._open, self._index, self._plain = "", self._index + 1, []
        return [event]

    def _delta(self, kind: str, name: str, text: str) -> bytes:
        return _event("content_block_delta", index=self._index, delta={"type": kind, name: text})

    def _end(self, told: Mapping[str, Any]) -> list[bytes]:
        ended = _event("message_delta", delta=_ended(told, called=bool(self._called)), usage=_usage(told))
        return [*self._closed(), ended, _event("message_stop")]


def texts_of(spoken: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was thought and what was said, each where there is some."""
    thought, said = spoken.get("thinking"), spoken.get("content")
    return [(kind, str(text)) for kind, text in (("thinking", thought), ("text", said)) if text]


def _ended(told: Mapping[str, Any], *, called: bool) -> dict[str, str]:
    """Why an answer ended; of an Ollama that does not say so it is not known to have been cut."""
    if called:
        return {"stop_reason": "tool_use"}
    if isinstance(stop := told.get("stop_sequence"), str) and stop:
        return {"stop_reason": "stop_sequence", "stop_sequence": stop}
    return {"stop_reason": _REASONS.get(reason_of(told) or "stop", "stop_sequence")}


def _usage(told: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens; Anthropic counts those of a cache apart."""
    usage = usage_of(told)
    read, written = usage["prompt_tokens"], usage["completion_tokens"]
    cached = min(read, usage.get("prompt_tokens_details", {}).get("cached_tokens", 0))
    reasoned = usage.get("completion_tokens_details", {}).get("reasoning_tokens", 0)
    apart = {"cache_read_input_tokens": cached} if cached else {}
    within = {"output_tokens_details": {"thinking_tokens": reasoned}} if reasoned else {}
    return {"input_tokens": read - cached, **apart, "output_tokens": written, **within}


def _message(model: str, content: list[Any]) -> dict[str, Any]:
    return {"id": new_id("msg_"), "type": "message", "role": "assistant", "model": model, "content": content}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), dumped({"type": kind, **fields}))
