"""Endings: how a whole stream of each kind ends, what its last objects tell, and how one that fails is ended.

A backend may swallow its own failure: the stream just ends, without the object that a whole one ends with. That is
never passed on as a silent end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from mlops_backend.errors import AppError, StreamIncomplete
from mlops_backend.services.llm.dialects.families import Dialect, error_event, error_line
from mlops_backend.services.llm.dialects.frames import EVENT, LINE, Frames
from mlops_backend.services.llm.dialects.objects import Told, events_of, failure_in, lines_of
from mlops_backend.services.llm.dialects.said import texts_in
from mlops_backend.services.llm.dialects.text_seen import TextSeen
from mlops_backend.services.llm.dialects.usage import read_usage, tokens_in
from mlops_backend.telemetry.record import RequestRecord

# No object is as short: what is may be white space between two.
_BLANK: Final = 4
_COMMENT: Final = ord(":")
_TAIL_BYTES: Final = 64 * 1024
# Looked for from behind, which is quick: forwards the many quotation marks of JSON cost more than all else here.
ERROR: Final = b'"error"'


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
        self._first = b""
        self._frames = Frames(self.boundary)
        self._recent: deque[bytes] = deque(maxlen=self.kept)
        self._seen = TextSeen(self._objects)
        self._failure = ""

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk as it arrives; gives what is to be sent now.

        Raises:
            BackendNonsense: an object longer than `MAX_FRAME_BYTES`.
        """
        frames = self._frames.feed(chunk)
        if len(frames) > _BLANK or frames.strip():
            self._recent.append(frames)
            self._seen.take(frames)
            if frames.rfind(ERROR) >= 0:
                self._look_for_failure(frames)
        return frames

    def rest(self) -> bytes:
        """What is still to be sent when the backend has ended its stream: an end without its newline, if it is one."""
        left = self._frames.rest()
        self._look_for_failure(left)
        if not any(self._is_last(told) or failure_in(told) for told in self._objects(left)):
            return b""
        self._note(left)
        return left

    def finish(self, record: RequestRecord) -> None:
        """Look at the end of a stream that has ended: take its usage, unless the backend told of its failure.

        Raises:
            StreamIncomplete: the end is neither the last object nor a failure.
        """
        told = list(self._last_objects())
        if self._failure:
            return
        if not any(map(self._is_last, told)):
            raise StreamIncomplete("The backend ended the stream without its last object.")
        for each in told:
            read_usage(each, record)

    def settle(self, record: RequestRecord) -> None:
        """Note what is known of a stream that is over, however it ended.

        A failure that the backend told has reached the client already: it is only recorded. So is an estimate of the
        tokens, where no usage was told, none beside a text, or one that is not to be believed.
        """
        if self._failure:
            record.fail("backend_error_line", self._failure)
        if record.lacks_usage:
            record.estimate(self.tokens())

    def failure(self, error: AppError, request_id: str) -> bytes:
        """The bytes that end a stream which failed."""
        return error_line(error, request_id)

    def tokens(self) -> int:
        """A guess at how many tokens have passed; see `TextSeen.tokens`."""
        return self._seen.tokens(self._recent)

    def _note(self, frames: bytes) -> None:
        """Keep frames in mind."""
        self._recent.append(frames)
        self._seen.take(frames)

    def _look_for_failure(self, frames: bytes) -> None:
        self._failure = self._failure or next(filter(None, map(failure_in, self._objects(frames))), "")

    def _last_objects(self) -> Iterator[Told]:
        """Those of the first frames and of the last ones."""
        return self._objects(b"".join((self._first, *self._recent)))

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
        bearing: what stands in each event that brings a text.
    """

    boundary = EVENT
    kept = 4

    def __init__(self, dialect: Dialect, is_last: Callable[[Told], bool], bearing: bytes = b"data:") -> None:
        super().__init__(is_last)
        self._dialect = dialect
        self._bearing = bearing

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk as it arrives; gives its whole events."""
        frames = self._taken(chunk)
        if frames.rfind(ERROR) >= 0:
            self._look_for_failure(frames)
        return frames

    def rest(self) -> bytes:
        """A last event without its empty line gets one: most readers drop it otherwise."""
        left = super().rest()
        return left.rstrip(b"\r\n") + b"\n\n" if left else b""

    def failure(self, error: AppError, request_id: str) -> bytes:
        """An `error` event."""
        return error_event(self._dialect, error, request_id)

    def tokens(self) -> int:
        """A guess by those that bring a text."""
        return self._seen.tokens(frames for frames in self._recent if frames.rfind(self._bearing) >= 0)

    def _taken(self, chunk: bytes) -> bytes:
        """The whole events of a chunk, which are kept in mind; a comment is none."""
        frames = self._frames.feed(chunk)
        if (len(frames) > _BLANK or frames.strip()) and (frames[0] != _COMMENT or b"data:" in frames):
            self._note(frames)
        return frames

    def _note(self, frames: bytes) -> None:
        self._first = self._first or frames
        self._recent.append(frames)
        if frames.rfind(self._bearing) >= 0:
            self._seen.take(frames)

    def _objects(self, text: bytes) -> Iterator[Told]:
        return events_of(text)


class UnknownEnding(Ending):
    """A stream whose format nobody here knows: any end is a proper one, and whatever usage it tells is taken."""

    def __init__(self) -> None:
        super().__init__(lambda told: True)
        self._tail = b""
        self._bytes = self._newlines = 0

    def feed(self, chunk: bytes) -> bytes:
        """Nothing is held: where its objects end is not known."""
        self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        self._bytes += len(chunk)
        self._newlines += chunk.count(b"\n")
        return chunk

    def finish(self, record: RequestRecord) -> None:
        """Take what looks like usage."""
        self._look_for_failure(self._tail)
        for told in self._objects(self._tail):
            read_usage(told, record)

    def failure(self, error: AppError, request_id: str) -> bytes:
        """An `error` event where the last bytes look like events, else a line; half an object is ended first."""
        if b"data:" in self._tail:
            return b"\n\n" + error_event(Dialect.OPENAI, error, request_id)
        return b"\n" + error_line(error, request_id)

    def tokens(self) -> int:
        """A guess by the last bytes; a token a line where they hold no text that is known for one."""
        texts = [text for told in self._objects(self._tail) for text in texts_in(told)]
        if not any(texts):
            return self._newlines
        part = max(tokens_in(sum(map(len, texts))), sum(map(bool, texts)))
        return round(part * self._bytes / len(self._tail))

    def _objects(self, text: bytes) -> Iterator[Told]:
        return events_of(text) if b"data:" in text else lines_of(text)


def generation_ending() -> Ending:
    """Ollama's `generate` and `chat`: the last object has `done: true` and the counts."""
    return Ending(_is_done)


def own_ending() -> Ending:
    """The same, in our own API."""
    return OwnEnding(_is_done)


def progress_ending() -> Ending:
    """Ollama's `pull`, `push` and `create`: the last status is `success`."""
    return Ending(lambda told: told.get("status") == "success")


class ResponsesEnding(EventEnding):
    """OpenAI's Responses API: `response.completed`, or one of its other ends."""

    ends: Final = frozenset({"response.completed", "response.failed", "response.incomplete"})

    def __init__(self) -> None:
        super().__init__(Dialect.OPENAI, _ends_response, b'.delta"')


def messages_ending() -> EventEnding:
    """Anthropic's messages: `message_stop`."""
    return EventEnding(Dialect.ANTHROPIC, lambda told: told.get("type") == "message_stop", b'_delta"')


def transcript_ending() -> EventEnding:
    """OpenAI's transcripts: `transcript.text.done`, or whatever else a server ends with, for many know other words."""
    return EventEnding(Dialect.OPENAI, lambda told: True)


def _ends_response(told: Told) -> bool:
    return told.get("type") in ResponsesEnding.ends


def _is_done(told: Told) -> bool:
    return told.get("done") is True
