"""Streams: Ollama's NDJSON lines as the server-sent events of OpenAI's API, token by token."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from mlops_backend.errors import BackendFailed, BackendNonsense
from mlops_backend.services.llm.dialects import MAX_FRAME_BYTES, dumped, error_text, parse_object
from mlops_backend.services.llm.dialects.native.errors import error_of
from mlops_backend.services.llm.dialects.native.replies import message_of, new_id, reason_of, told_calls, usage_of
from mlops_backend.services.llm.dialects.native.shapes import Plain, Shape

_DONE: Final = b"data: [DONE]\n\n"
_FAILED: Final = 500
# Nobody can know it who would put it into a model's name.
_MARK: Final = secrets.token_hex(8)


class EventTranslator:
    """One stream.

    Args:
        shape: of its events.
        wants_usage: whether the client asked for an event with the usage.
    """

    def __init__(self, shape: Shape, *, wants_usage: bool) -> None:
        self._shape = shape
        self._wants_usage = wants_usage
        self._head: dict[str, Any] = {"id": new_id(shape.prefix), "created": int(time.time()), "model": ""}
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._plain: list[tuple[Plain, bytes, bytes]] = []
        self._called = 0
        self._ended = False
        self._failure: BackendNonsense | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they arrive, cut anywhere; give whole events, or nothing yet.

        The last of them are given once a line is `done`; what follows is left unread, and without such a line there
        are none. A failure that Ollama tells amid its answer becomes an event with an error.

        Raises:
            BackendFailed: it tells one before anything else.
            BackendNonsense: not lines of JSON objects, or one longer than `MAX_FRAME_BYTES`. Events that came before
                it are given first.
        """
        if self._failure is not None:
            raise self._failure
        if self._ended:
            return b""
        if not self._held and data.endswith(b"\n"):
            return self._events(data)
        head, newline, tail = data.rpartition(b"\n")
        block = b"".join((*self._held, head)) if newline else b""
        if newline:
            self._held, self._held_bytes = [], 0
        self._hold(tail)
        events = self._events(block)
        if self._failure is not None and not events:
            raise self._failure
        return events

    def end(self) -> bytes:
        """What is still to be given when the body has come to its end: an answer of one object has no newline."""
        return self.feed(b"\n") if self._held else b""

    def _hold(self, tail: bytes) -> None:
        if tail:
            self._held.append(tail)
            self._held_bytes += len(tail)
            if self._held_bytes > MAX_FRAME_BYTES:
                self._failure = BackendNonsense("The backend sent an object longer than this service accepts.")

    def _events(self, block: bytes) -> bytes:
        made: list[bytes] = []
        try:
            for line in block.split(b"\n"):
                for plain, before, after in self._plain:
                    if found := plain(line):
                        made += (before, found[1], after)
                        break
                else:
                    if not self._ended and line.strip():
                        made += self._of_line(parse_object(line))
        except BackendNonsense as error:
            if not made:
                raise
            self._failure = error
        return b"".join(made)

    def _of_line(self, told: Mapping[str, Any]) -> list[bytes]:
        is_first = not self._plain
        if told.get("error"):
            if is_first:
                raise BackendFailed(error_text(told))
            self._end_here()
            return [_event(error_of(_FAILED, error_text(told)))]
        if is_first:
            self._head["model"] = str(told.get("model", ""))
            self._plain = [(find, *self._around(said(_MARK))) for find, said in self._shape.plain]
        events = self._of_chat(told, is_first=is_first) if self._shape.is_chat else self._of_completion(told)
        if told.get("done") is not True:
            return list(map(_event, events))
        self._end_here()
        if self._wants_usage:
            events.append({**self._shape.chunk(self._head, []), "usage": usage_of(told)})
        return [*map(_event, events), _DONE]

    def _end_here(self) -> None:
        self._ended, self._plain = True, []

    def _of_chat(self, told: Mapping[str, Any], *, is_first: bool) -> list[dict[str, Any]]:
        """What was thought, what was said with the calls, and why it ended: an event each."""
        spoken = message_of(told)
        calls = told_calls(spoken.get("tool_calls"), self._called)
        self._called += len(calls)
        deltas: list[dict[str, Any]] = [{"reasoning": spoken["thinking"]}] if spoken.get("thinking") else []
        is_last = told.get("done") is True
        said = {name: value for name, value in (("content", spoken.get("content")), ("tool_calls", calls)) if value}
        if said or not (deltas or (is_last and not is_first)):
            deltas.append(said or {"content": ""})
        if is_first:
            deltas[0] = {"role": "assistant", **deltas[0]}
        scores = [told.get("logprobs"), None]
        events = [self._choice(delta, None, scores.pop(0)) for delta in deltas]
        return [*events, self._choice({}, self._reason(told))] if is_last else events

    def _of_completion(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        text = told.get("response")
        if not isinstance(text, str):
            raise BackendNonsense("The backend's stream is not made of the lines that its protocol promises.")
        reason = self._reason(told) if told.get("done") is True else None
        return [self._choice(text, reason, told.get("logprobs"))]

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
