"""Endings: how a whole stream of each kind ends, what its last objects tell, and how one that fails is ended.

A backend may swallow its own failure: the stream just ends, without the object that a whole one ends with. That is
never passed on as a silent end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.errors import AppError, StreamIncomplete
from mlops_backend.services.llm.dialects.families import Dialect, error_event, error_line
from mlops_backend.services.llm.dialects.ollama import WholeLines
from mlops_backend.services.llm.dialects.tail import Tail
from mlops_backend.services.llm.dialects.usage import read_usage
from mlops_backend.telemetry.record import RequestRecord

Told = Mapping[str, Any]
_DONE: Final[Told] = {"[DONE]": True}


class Ending:
    """One stream of newline-delimited JSON, from its first chunk to its end.

    Args:
        is_last: whether an object is the one that a whole stream ends with.
    """

    def __init__(self, is_last: Callable[[Told], bool]) -> None:
        self.tail = Tail()
        self._is_last = is_last
        self._objects = lines_of

    def feed(self, chunk: bytes) -> bytes:
        """Note a chunk that passes; gives what is to be sent for it."""
        self.tail.feed(chunk)
        return chunk

    def rest(self) -> bytes:
        """What is still to be sent when the backend has ended its stream."""
        return b""

    def finish(self, record: RequestRecord) -> None:
        """Look at the end of a stream that has ended: take its usage.

        An error that the backend told itself has reached the client already: it is only recorded.

        Raises:
            StreamIncomplete: the end is neither the last object nor an error.
        """
        told = list(self._objects(self.tail.text()))
        if any(map(self._is_last, told)):
            for each in told:
                read_usage(each, record)
        elif any(each.get("error") for each in told):
            record.outcome, record.error = "error", "backend_error_line"
        else:
            raise StreamIncomplete("The backend ended the stream without its last object.")

    def failure(self, error: AppError, request_id: str) -> bytes:
        """The bytes that end a stream which failed; half a line that was sent is ended first."""
        line = error_line(error, request_id)
        return line if self.tail.last.endswith(b"\n") else b"\n" + line

    def frames(self) -> int:
        """How many objects have passed."""
        return self.tail.lines


class WholeLinesEnding(Ending):
    """A stream of our own API: nothing but whole lines is sent, so that a break never leaves half an object."""

    def __init__(self, is_last: Callable[[Told], bool]) -> None:
        super().__init__(is_last)
        self._lines = WholeLines()

    def feed(self, chunk: bytes) -> bytes:
        """Note a chunk that passes; gives its whole lines.

        Raises:
            BackendNonsense: a line longer than `MAX_LINE_BYTES`.
        """
        lines = self._lines.feed(chunk)
        if lines:
            self.tail.feed(lines)
        return lines

    def rest(self) -> bytes:
        """A last line without newline gets one."""
        lines = self._lines.finish()
        if lines:
            self.tail.feed(lines)
        return lines


class EventEnding(Ending):
    """One stream of server-sent events.

    Args:
        dialect: in whose words a failure is told.
        is_last: as for `Ending`; OpenAI's `[DONE]` is the object `{"[DONE]": true}`.
        lines_each: how many lines one event has, the empty one included.
    """

    def __init__(self, dialect: Dialect, is_last: Callable[[Told], bool], lines_each: int) -> None:
        super().__init__(is_last)
        self._objects = events_of
        self._dialect = dialect
        self._lines_each = lines_each

    def failure(self, error: AppError, request_id: str) -> bytes:
        """An `error` event; half an event that was sent is ended first."""
        event = error_event(self._dialect, error, request_id)
        return event if self.tail.last.endswith(b"\n\n") else b"\n\n" + event

    def frames(self) -> int:
        """How many events have passed."""
        return self.tail.lines // self._lines_each


class UnknownEnding(Ending):
    """A stream whose format nobody here knows: any end is a proper one, and whatever usage it tells is taken."""

    def __init__(self) -> None:
        super().__init__(lambda told: True)

    def finish(self, record: RequestRecord) -> None:
        """Take what looks like usage."""
        text = self.tail.text()
        for told in (*lines_of(text), *events_of(text)):
            read_usage(told, record)

    def failure(self, error: AppError, request_id: str) -> bytes:
        """An `error` event where the last bytes look like events, else a line."""
        if b"data:" not in self.tail.text():
            return super().failure(error, request_id)
        return b"\n\n" + error_event(Dialect.OPENAI, error, request_id)


def is_openai_end(told: Told) -> bool:
    """Whether it is `[DONE]`."""
    return told is _DONE


def generation_ending() -> Ending:
    """Ollama's `generate` and `chat`: the last object has `done: true` and the counts."""
    return Ending(_is_done)


def own_ending() -> Ending:
    """The same, in our own API."""
    return WholeLinesEnding(_is_done)


def progress_ending() -> Ending:
    """Ollama's `pull`, `push` and `create`: the last status is `success`."""
    return Ending(lambda told: told.get("status") == "success")


def openai_ending() -> EventEnding:
    """OpenAI's chat and completions: `[DONE]`."""
    return EventEnding(Dialect.OPENAI, is_openai_end, 2)


def responses_ending() -> EventEnding:
    """OpenAI's Responses API: `response.completed`, or one of its other ends."""
    ends = {"response.completed", "response.failed", "response.incomplete"}
    return EventEnding(Dialect.OPENAI, lambda told: told.get("type") in ends, 3)


def messages_ending() -> EventEnding:
    """Anthropic's messages: `message_stop`."""
    return EventEnding(Dialect.ANTHROPIC, lambda told: told.get("type") == "message_stop", 3)


def lines_of(text: bytes) -> Iterator[Told]:
    """The objects of NDJSON lines; what is no object is passed over."""
    for line in text.split(b"\n"):
        if (told := _object(line)) is not None:
            yield told


def events_of(text: bytes) -> Iterator[Told]:
    """The objects of server-sent events."""
    for line in text.split(b"\n"):
        if line.startswith(b"data:"):
            data = line[5:].strip()
            told = _DONE if data == b"[DONE]" else _object(data)
            if told is not None:
                yield told


def _is_done(told: Told) -> bool:
    return told.get("done") is True


def _object(line: bytes) -> Told | None:
    try:
        value = from_json(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
