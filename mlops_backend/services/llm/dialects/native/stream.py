"""Streams: Ollama's lines as the events of OpenAI's chats and completions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects import dumped
from mlops_backend.services.llm.dialects.native.errors import error_of
from mlops_backend.services.llm.dialects.native.lines import LineTranslator
from mlops_backend.services.llm.dialects.native.replies import message_of, new_id, reason_of, told_calls, usage_of
from mlops_backend.services.llm.dialects.native.shapes import Shape

_DONE: Final = b"data: [DONE]\n\n"
_FAILED: Final = 500
# Nobody can know it who would put it into a model's name.
_MARK: Final = secrets.token_hex(8)


class EventTranslator(LineTranslator):
    """One stream.

    Args:
        shape: of its events.
        wants_usage: whether the client asked for an event with the usage.
    """

    def __init__(self, shape: Shape, *, wants_usage: bool) -> None:
        super().__init__()
        self._shape = shape
        self._wants_usage = wants_usage
        self._head: dict[str, Any] = {"id": new_id(shape.prefix), "created": int(time.time()), "model": ""}
        self._called = 0

    def _said(self, told: Mapping[str, Any], *, is_first: bool, is_last: bool) -> list[bytes]:
        if is_first:
            self._head["model"] = str(told.get("model", ""))
            self._plain = [(find, *self._around(said(_MARK))) for find, said in self._shape.plain]
        if self._shape.is_chat:
            events = self._of_chat(told, is_first=is_first, is_last=is_last)
        else:
            events = self._of_completion(told, is_last=is_last)
        if is_last and self._wants_usage:
            events.append({**self._shape.chunk(self._head, []), "usage": usage_of(told)})
        return [*map(_event, events), *([_DONE] if is_last else [])]

    def _error(self, words: str) -> bytes:
        return _event(error_of(_FAILED, words))

    def _of_chat(self, told: Mapping[str, Any], *, is_first: bool, is_last: bool) -> list[dict[str, Any]]:
        """What was thought, what was said with the calls, and why it ended: an event each."""
        spoken = message_of(told)
        calls = told_calls(spoken.get("tool_calls"), self._called)
        self._called += len(calls)
        deltas: list[dict[str, Any]] = [{"reasoning": spoken["thinking"]}] if spoken.get("thinking") else []
        said = {name: value for name, value in (("content", spoken.get("content")), ("tool_calls", calls)) if value}
        if said or not (deltas or (is_last and not is_first)):
            deltas.append(said or {"content": ""})
        if is_first:
            deltas[0] = {"role": "assistant", **deltas[0]}
        scores = [told.get("logprobs"), None]
        events = [self._choice(delta, None, scores.pop(0)) for delta in deltas]
        return [*events, self._choice({}, self._reason(told))] if is_last else events

    def _of_completion(self, told: Mapping[str, Any], *, is_last: bool) -> list[dict[str, Any]]:
        text = told.get("response")
        if not isinstance(text, str):
            raise BackendNonsense("The backend's stream is not made of the lines that its protocol promises.")
        return [self._choice(text, self._reason(told) if is_last else None, told.get("logprobs"))]

    def _reason(self, told: Mapping[str, Any]) -> str:
        """Why it ended: of an Ollama that does not say so it is not known to have been cut."""
        return reason_of(told, called=bool(self._called)) or "stop"

    def _choice(self, said: Mapping[str, Any] | str, reason: str | None, scores: Any = None) -> dict[str, Any]:
        return self._shape.chunk(self._head, [self._shape.choice(said, reason, scores)])

    def _around(self, said: Mapping[str, str] | str) -> tuple[bytes, bytes]:
        """What stands before and behind the mark in an event that says nothing else."""
        before, _, after = _event(self._choice(said, None)).partition(_MARK.encode())
        return before, after


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + dumped(value) + b"\n\n"
