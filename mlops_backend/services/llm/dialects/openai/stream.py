"""Streams: an OpenAI server's server-sent events as Ollama's NDJSON lines, token by token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects import dump_line, error_text
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

MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
_NOT_AN_EVENT: Final = "The backend's stream is not made of the events that its protocol promises."


class StreamTranslator:
    """One stream; make it when the request is sent, since `total_duration` counts from there.

    Args:
        operation: whose shape the lines take.
        model: the name that the client used.
        top: how many alternatives of each token the client wants to see, when it asked for `logprobs`.
    """

    def __init__(self, operation: Conversing, model: str, top: int = 0) -> None:
        self._operation = operation
        self._model = model
        self._top = top
        self._started = perf_counter_ns()
        self._waited = 0
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._calls: dict[int, dict[str, Any]] = {}
        self._reason = ""
        self._usage: Mapping[str, Any] | None = None
        self._timings: Any = None
        self._ended = False
        self._failure: BackendNonsense | None = None
        chat = operation == "chat"
        self._before_time = f'{{"model":{json.dumps(model, ensure_ascii=False)},"created_at":"'
        self._before_text = '","message":{"role":"assistant","content":' if chat else '","response":'
        self._after_text = '},"done":false}\n' if chat else ',"done":false}\n'

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they arrive, cut anywhere; give whole lines, or nothing yet.

        The last line, with `done` and the counts, is given once the engine has told why it ended; without that there
        is none. An error that the engine tells becomes `{"error": …}`. What follows either is left unread.

        Raises:
            BackendNonsense: not events of JSON objects, or one longer than `MAX_EVENT_BYTES`. Lines that came before
                it are given first.
        """
        if self._failure is not None:
            raise self._failure
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            block = b"".join((*self._held, head)) if self._held else head
            self._held, self._held_bytes = [], 0
            lines = self._lines(block)
        else:
            lines = b""
        self._hold(tail)
        if self._failure is not None and not lines:
            raise self._failure
        return lines

    def _hold(self, tail: bytes) -> None:
        if tail and not self._ended:
            self._held.append(tail)
            self._held_bytes += len(tail)
            if self._held_bytes > MAX_EVENT_BYTES:
                self._failure = BackendNonsense("The backend sent an event longer than this service accepts.")

    def _lines(self, block: bytes) -> bytes:
        made: list[bytes] = []
        try:
            for line in block.split(b"\n"):
                if self._ended:
                    break
                if line.startswith(b"data:"):
                    made.append(self._event(line[5:]))
                elif line.startswith((b"error:", b"{")):
                    made.append(self._bare_error(line.removeprefix(b"error:")))
        except BackendNonsense as error:
            self._failure = error
        return b"".join(made)

    def _event(self, data: bytes) -> bytes:
        if data.lstrip().startswith(b"[DONE]"):
            return self._last_line() if self._reason else b""
        event = _object(data)
        if event.get("error"):
            self._ended = True
            return dump_line({"error": error_text(event)})
        self._usage = event.get("usage") or self._usage
        self._timings = event.get("timings") or self._timings
        choice = first_choice(event)
        line = self._piece(choice) if choice is not None else b""
        if self._reason and self._usage is not None:
            return line + self._last_line()
        return line

    def _bare_error(self, data: bytes) -> bytes:
        """An error outside an event: llama.cpp once wrote `error: {…}`, and a proxy may write plain JSON."""
        self._ended = True
        told = _object(data)
        return dump_line({"error": error_text(told if "error" in told else {"error": told})})

    def _piece(self, choice: Mapping[str, Any]) -> bytes:
        """The line of one token, or nothing: the first event names only the role, the last one only the reason."""
        if not self._waited:
            self._waited = perf_counter_ns() - self._started
        if choice.get("finish_reason") is not None:
            self._reason = done_reason(choice["finish_reason"])
        delta = choice.get("delta", choice)
        if not isinstance(delta, Mapping):
            raise BackendNonsense(_NOT_AN_EVENT)
        text = delta.get("content" if delta is not choice else "text")
        scores, thinking, calls = choice.get("logprobs"), thought(delta), delta.get("tool_calls")
        if scores or thinking or calls:
            return self._rich_piece(text or "", thinking, scores, calls or ())
        if not text:
            return b""
        if not isinstance(text, str):
            raise BackendNonsense(_NOT_AN_EVENT)
        quoted = json.dumps(text, ensure_ascii=False)
        return f"{self._before_time}{now()}{self._before_text}{quoted}{self._after_text}".encode()

    def _rich_piece(self, text: str, thinking: str, scores: Any, calls: Any) -> bytes:
        for call in calls:
            self._gather(call)
        if not (text or thinking or scores):
            return b""
        line = {"model": self._model, "created_at": now(), **said(self._operation, text, thinking), "done": False}
        return dump_line({**line, "logprobs": logprobs(scores, self._top)} if scores else line)

    def _gather(self, call: Any) -> None:
        """A tool call comes in pieces: its name first, then its arguments' text."""
        try:
            function = call.get("function") or {}
            whole = self._calls.setdefault(call.get("index", 0), {"id": "", "function": {"name": "", "arguments": ""}})
            whole["id"] = call.get("id") or whole["id"]
            for name in ("name", "arguments"):
                whole["function"][name] += function.get(name) or ""
        except (AttributeError, TypeError) as error:
            raise BackendNonsense(_NOT_AN_EVENT) from error

    def _last_line(self) -> bytes:
        self._ended = True
        total = perf_counter_ns() - self._started
        figures = {"total_duration": total} if self._usage is None else metrics(self._usage, self._timings, total)
        if "load_duration" in figures:
            # A client that reads slowly lengthens the total: what counts is the time until the first event.
            waited = max(0, self._waited - figures["prompt_eval_duration"])
            figures["load_duration"] = min(waited, figures["load_duration"])
        start = {"model": self._model, "created_at": now()}
        made = b""
        if self._calls:
            made = dump_line({**start, **said(self._operation, "", "", list(self._calls.values())), "done": False})
        last = {**start, **said(self._operation, ""), "done": True, "done_reason": self._reason, **figures}
        return made + dump_line(last)


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        value = from_json(data)
    except ValueError:
        value = None
    if not isinstance(value, Mapping):
        raise BackendNonsense(_NOT_AN_EVENT)
    return value
