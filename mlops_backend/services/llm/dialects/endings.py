"""Endings: how a whole stream of each kind ends, what its last objects tell, and how one that fails is ended.

A backend may swallow its own failure: the stream just ends, without the object that a whole one ends with. That is
never passed on as a silent end.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.errors import AppError, StreamIncomplete
from mlops_backend.services.llm.dialects.families import Dialect, error_event, error_line
from mlops_backend.services.llm.dialects.frames import EVENT, LINE, Frames
from mlops_backend.services.llm.dialects.usage import read_usage
from mlops_backend.telemetry.record import RequestRecord

Told = Mapping[str, Any]
# No object is as short: what is may be white space between two.
_BLANK: Final = 4
_TAIL_BYTES: Final = 64 * 1024
_END: Final = b"[DONE]"
_RUNNING: Final = b'"finish_reason":null'
_USAGE: Final = b'"usage"'
# A reason that is none is `null`, or an empty text.
FINISHED: Final = re.compile(rb'"finish_reason":\s*"[^"]')
_DONE: Final[Told] = {"[DONE]": True}


class Ending:
    """One stream, from its first chunk to its end: newline-delimited JSON, unless a subclass says otherwise.

    Only whole objects are passed on: whoever reads half of one never comes to the error behind it.

    Args:
        is_last: whether an object is the one that a whole stream ends with.
    """

    boundary = LINE
    kept = 1

    def __init__(self, is_last: Callable[[Told], bool]) -> None:
        self._is_last = is_last
        self._frames = Frames(self.boundary)
        self._recent: deque[bytes] = deque(maxlen=self.kept)
        self._newlines = 0
        self._first = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk as it arrives; gives what is to be sent now.

        Raises:
            BackendNonsense: an object longer than `MAX_FRAME_BYTES`.
        """
        frames = self._frames.feed(chunk)
        if len(frames) > _BLANK or frames.strip():
            if not self._newlines:
                self._first = frames
            self._recent.append(frames)
            self._newlines += frames.count(b"\n")
        return frames

    def rest(self) -> bytes:
        """What is still to be sent when the backend has ended its stream: an end without its newline, if it is one."""
        left = self._frames.rest()
        if not any(self._is_last(told) or told.get("error") for told in self._objects(left)):
            return b""
        self._recent.append(left)
        return left

    def finish(self, record: RequestRecord) -> None:
        """Look at the end of a stream that has ended: take its usage.

        An error that the backend told itself has reached the client already: it is only recorded.

        Raises:
            StreamIncomplete: the end is neither the last object nor an error.
        """
        told = list(self._objects(b"".join((self._first, *self._recent))))
        if any(map(self._is_last, told)):
            for each in told:
                read_usage(each, record)
        elif any(each.get("error") for each in told):
            record.outcome, record.error = "error", "backend_error_line"
        else:
            raise StreamIncomplete("The backend ended the stream without its last object.")

    def failure(self, error: AppError, request_id: str) -> bytes:
        """The bytes that end a stream which failed."""
        return error_line(error, request_id)

    def count(self) -> int:
        """How many objects have passed."""
        return self._newlines

    def _objects(self, text: bytes) -> Iterator[Told]:
        return lines_of(text)


class OwnEnding(Ending):
    """A stream of our own API: its last line has a newline, whatever the backend's has."""

    def rest(self) -> bytes:
        """A last line without newline gets one."""
        left = super().rest()
        return left + b"\n" if left else b""


class EventEnding(Ending):
    """One stream of server-sent events.

    Args:
        dialect: in whose words a failure is told.
        is_last: as for `Ending`; OpenAI's `[DONE]` is the object `{"[DONE]": true}`.
        lines_each: how many lines one event has, the empty one included.
    """

    boundary = EVENT
    kept = 4

    def __init__(self, dialect: Dialect, is_last: Callable[[Told], bool], lines_each: int) -> None:
        super().__init__(is_last)
        self._dialect = dialect
        self._lines_each = lines_each

    def failure(self, error: AppError, request_id: str) -> bytes:
        """An `error` event."""
        return error_event(self._dialect, error, request_id)

    def count(self) -> int:
        """How many events have passed."""
        return self._newlines // self._lines_each

    def _objects(self, text: bytes) -> Iterator[Told]:
        return events_of(text)


class UnknownEnding(Ending):
    """A stream whose format nobody here knows: any end is a proper one, and whatever usage it tells is taken."""

    def __init__(self) -> None:
        super().__init__(lambda told: True)
        self._tail = b""

    def feed(self, chunk: bytes) -> bytes:
        """Nothing is held: where its objects end is not known."""
        self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        self._newlines += chunk.count(b"\n")
        return chunk

    def finish(self, record: RequestRecord) -> None:
        """Take what looks like usage."""
        for told in (*lines_of(self._tail), *events_of(self._tail)):
            read_usage(told, record)

    def failure(self, error: AppError, request_id: str) -> bytes:
        """An `error` event where the last bytes look like events, else a line; half an object is ended first."""
        if b"data:" in self._tail:
            return b"\n\n" + error_event(Dialect.OPENAI, error, request_id)
        return b"\n" + error_line(error, request_id)


def is_openai_end(told: Told) -> bool:
    """Whether it is `[DONE]`."""
    return told is _DONE


def generation_ending() -> Ending:
    """Ollama's `generate` and `chat`: the last object has `done: true` and the counts."""
    return Ending(_is_done)


def own_ending() -> Ending:
    """The same, in our own API."""
    return OwnEnding(_is_done)


def progress_ending() -> Ending:
    """Ollama's `pull`, `push` and `create`: the last status is `success`."""
    return Ending(lambda told: told.get("status") == "success")


class OpenAIEnding(EventEnding):
    """OpenAI's chat and completions: a `finish_reason` for every choice that was begun, and `[DONE]` behind them.

    Some servers send no `[DONE]` and are done; one that was cut short may send it all the same (a llama-cpp-python
    whose next request ends the stream): then it is held back, and an error comes in its place.

    Args:
        choices: how many answers were asked for, as far as is known.

    `passes` says that an event amid the answer goes on without a look.
    """

    def __init__(self, choices: int = 1) -> None:
        super().__init__(Dialect.OPENAI, is_openai_end, 2)
        self._choices = choices
        self.passes = choices == 1
        self._begun: set[Any] = set()
        self._finished: set[Any] = set()

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk as it arrives; gives its whole events."""
        frames = super().feed(chunk)
        # Most of what comes is one event amid the answer: it is told by its bytes alone.
        if self.passes and _RUNNING in frames and frames.find(b"\n\n") == len(frames) - 2 and _USAGE not in frames:
            return frames
        return self.looked_at(frames)

    def looked_at(self, frames: bytes) -> bytes:
        """What is to be sent of events that may be the last ones."""
        if self._choices > 1 or FINISHED.search(frames):
            self._note(frames)
        return self._held_back(frames) if _END in frames and self._is_cut() else frames

    def rest(self) -> bytes:
        """An end without its empty line."""
        left = super().rest()
        self._note(left)
        return b"" if _END in left and self._is_cut() else left

    def finish(self, record: RequestRecord) -> None:
        """Take the usage; see `Ending.finish`."""
        told = list(self._objects(b"".join((self._first, *self._recent))))
        if self._is_whole() and not any(each.get("error") for each in told):
            for each in told:
                read_usage(each, record)
            return
        if any(map(self._is_last, told)) and not any(each.get("error") for each in told) and self._is_cut():
            raise StreamIncomplete("The backend ended the stream without saying why each of its choices ended.")
        super().finish(record)

    def _is_whole(self) -> bool:
        return bool(self._finished) and self._begun <= self._finished

    def _is_cut(self) -> bool:
        """Whether a choice was begun, as far as is known, that has no reason to end."""
        self._note(b"".join((self._first, *self._recent)))
        return not self._begun <= self._finished

    def _note(self, frames: bytes) -> None:
        for told in events_of(frames):
            choices = told.get("choices")
            for choice in choices if isinstance(choices, list) else ():
                if isinstance(choice, Mapping):
                    self._begun.add(choice.get("index", 0))
                    if choice.get("finish_reason"):
                        self._finished.add(choice.get("index", 0))

    def _held_back(self, frames: bytes) -> bytes:
        return frames[: frames.rindex(b"data:", 0, frames.index(_END) + 1)]


def openai_ending() -> EventEnding:
    """OpenAI's chat and completions, for one choice."""
    return OpenAIEnding()


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
