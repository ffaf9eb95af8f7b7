"""Streams: an OpenAI server's server-sent events as Ollama's NDJSON lines, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from time import perf_counter_ns
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects import dump_line, error_text, texts_in
from mlops_backend.services.llm.dialects.openai.calls import CallGatherer
from mlops_backend.services.llm.dialects.openai.pieces import (
    NOT_AN_EVENT,
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
    said_now,
    told_usage,
    usage_of,
)
from mlops_backend.services.llm.dialects.openai.plain import PlainPieces
from mlops_backend.services.llm.dialects.openai.stops import StopWatch

MAX_EVENT_BYTES: Final = 8 * 1024 * 1024


class StreamTranslator:
    """One stream; make it when the request is sent, since `total_duration` counts from there.

    Args:
        operation: whose shape the lines take.
        model: the name that the client used.
        top: how many alternatives of each token the client wants to see, when it asked for `logprobs`.
        stops: texts to watch for, which the server was not told.
        names: a function's name as it was sent -> as the client wrote it.
        free_form: functions of which only the text is wanted, by the client's names.
        estimate: the usage, where the server tells none, of so many characters that came in so many frames.
        believed: whether what it tells counts.
    """

    def __init__(
        self,
        operation: Conversing,
        model: str,
        top: int = 0,
        *,
        stops: Sequence[str] = (),
        names: Mapping[str, str] | None = None,
        free_form: Set[str] = frozenset(),
        estimate: Estimate = no_estimate,
        believed: bool = True,
    ) -> None:
        self._operation = operation
        self._model = model
        self._top = top
        self._estimate, self._believed = estimate, believed
        self._stop = StopWatch(stops)
        self._started = perf_counter_ns()
        self._waited = 0
        self._of_calls = 0
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._calls = CallGatherer(names, free_form)
        self._reason = ""
        self._met: Mapping[str, str] = {}
        self._usage: Mapping[str, Any] = {}
        self._timings: Any = None
        self._failure: BackendNonsense | None = None
        self._ended = False
        self._pieces = PlainPieces(operation, model)
        self._is_amid = self._is_plain = self._is_thinking = self._tells_counts = False

    @property
    def stopped(self) -> bool:
        """Whether it ended at a stop text of which the server may not know: it is not listened to any more."""
        return bool(self._stop.met)

    @property
    def is_chat(self) -> bool:
        """Whether its lines are a chat's."""
        return self._operation == "chat"

    @property
    def thinks(self) -> bool:
        """Whether the pieces that `text_alone` knows are thinking."""
        return self._pieces.thinks

    def text_alone(self, data: bytes) -> bytes:
        """The text of a piece like the one before, as it is spelt, in place of its line; nothing: it has to be fed."""
        return self._pieces.text_alone(data) if self._is_amid else b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they arrive, cut anywhere; give whole lines, or nothing yet.

        The last line, with `done` and the counts, is given once the engine has told why it ended, and its counts or
        that it tells none; without a reason there is none. An error that the engine tells becomes `{"error": …}`. What
        follows either is left unread.

        Raises:
            BackendNonsense: not events of JSON objects, or one longer than `MAX_EVENT_BYTES`. Lines that came before
                it are given first.
        """
        if self._is_amid and (lines := self._pieces.like_learnt(data)):
            return lines
        is_cut = bool(self._held)
        self._is_amid = self._is_plain = self._tells_counts = False
        lines = self._in_full(data)
        self._is_amid = not (self._held or self._ended or self._reason or self._failure)
        if self._is_amid and self._is_plain and not (is_cut or self._tells_counts):
            self._pieces.learn(data, thinking=self._is_thinking)
        return lines

    def _in_full(self, data: bytes) -> bytes:
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

    def end(self) -> bytes:
        """What is still to be given when the body has come to its proper end: some servers send no `[DONE]`."""
        lines = self.feed(b"\n")
        return lines if self._ended or not self._reason else lines + self._last_line()

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
        if event.get("error") or event.get("object") == "error":
            self._ended = True
            return dump_line({"error": error_text(event)})
        self._take_counts(event)
        choice = first_choice(event)
        line = self._piece(choice) if choice is not None else b""
        if self._ended:
            return line
        if self._reason and told_usage({"usage": self._usage}, self._pieces.characters + self._of_calls) is not None:
            return line + self._last_line()
        if self._reason and self._calls and not self._stop.holds:
            line += self._called_lines(self._calls.told())
        return line

    def _take_counts(self, event: Mapping[str, Any]) -> None:
        """The usage and the engine's own figures, where an event tells them."""
        usage, timings = event.get("usage"), event.get("timings")
        if isinstance(usage, dict):
            self._usage = usage
        self._timings = timings or self._timings
        self._tells_counts = self._tells_counts or bool(timings) or isinstance(usage, dict)

    def _bare_error(self, data: bytes) -> bytes:
        """An error outside an event: llama.cpp once wrote `error: {…}`, and a proxy may write plain JSON."""
        self._ended = True
        told = _object(data)
        return dump_line({"error": error_text(told if "error" in told else {"error": told})})

    def _piece(self, choice: Mapping[str, Any]) -> bytes:
        """The line of one token, or nothing: the first event names only the role, the last one only the reason."""
        if not self._waited:
            self._waited = perf_counter_ns() - self._started
        if choice.get("finish_reason"):
            self._reason, self._met = done_reason(choice["finish_reason"]), met(choice)
        text, thinking, calls = said_now(choice)
        if text:
            self._pieces.count(text)
            text = self._stop.feed(text)
        if (scores := choice.get("logprobs")) or thinking or calls:
            line = self._rich_piece(text, thinking, scores, calls or ())
        else:
            self._is_plain, self._is_thinking = bool(text) and not self._stop.watches, False
            line = self._pieces.line(text) if text else b""
        if self._stop.met:
            self._reason, self._met = "stop", {"stop_sequence": self._stop.met}
            return line + self._last_line()
        return line

    def _rich_piece(self, text: str, thinking: str, scores: Any, calls: Any) -> bytes:
        if thinking:
            self._pieces.count(thinking)
        self._is_plain = self._is_thinking = not (text or scores or calls)
        line = b""
        if text or thinking or scores:
            told = {"model": self._model, "created_at": now(), **said(self._operation, text, thinking), "done": False}
            line = dump_line({**told, "logprobs": logprobs(scores, self._top)} if scores else told)
        if not isinstance(calls, Sequence):
            raise BackendNonsense(NOT_AN_EVENT)
        if calls:
            self._pieces.frames += 1
            self._of_calls += sum(map(len, texts_in({"tool_calls": calls})))
        for call in calls:
            self._calls.add(call)
        return line + self._called_lines(self._calls.begun())

    def _called_lines(self, calls: Sequence[Mapping[str, Any]]) -> bytes:
        """A line for each call, as a genuine Ollama sends them."""
        start = {"model": self._model, "created_at": now()}
        return b"".join(dump_line({**start, **said(self._operation, "", "", [call]), "done": False}) for call in calls)

    def _last_line(self) -> bytes:
        self._ended = True
        lines = self._called_lines(self._calls.rest())
        if self._calls.is_spoilt and not (self._calls.count or self._pieces.characters) and self._reason != "length":
            raise BackendNonsense("The backend's tool call is not in its form.")
        if rest := self._stop.rest():
            lines = dump_line({**self._start(), **said(self._operation, rest), "done": False}) + lines
        total = perf_counter_ns() - self._started
        told = {"usage": self._usage}
        usage = usage_of(
            told, self._pieces.characters + self._of_calls, self._pieces.frames, self._estimate, believed=self._believed
        )
        figures = metrics(usage, self._timings, total, self._waited)
        # A client that reads slowly lengthens the total: what counts is the time until the first event.
        waited = max(0, self._waited - figures["prompt_eval_duration"])
        figures["load_duration"] = min(waited, figures["load_duration"])
        ended = {"done": True, "done_reason": self._reason, **self._met}
        return lines + dump_line({**self._start(), **said(self._operation, ""), **ended, **figures})

    def _start(self) -> dict[str, Any]:
        return {"model": self._model, "created_at": now()}


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        value = from_json(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BackendNonsense(NOT_AN_EVENT)
    return value
