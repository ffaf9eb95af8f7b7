"""Lines: a stream of Ollama's NDJSON as the server-sent events of another API, token by token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from mlops_backend.errors import BackendFailed, BackendNonsense
from mlops_backend.services.llm.dialects import MAX_FRAME_BYTES, error_text, parse_object
from mlops_backend.services.llm.dialects.native.shapes import Plain


class LineTranslator(ABC):
    """One stream; a subclass knows the events.

    A line that brings a text and nothing else is found by its bytes, and its text goes on as it is spelt: `_plain` has
    what finds one, and what stands before and behind the text in its event; where behind it nothing does, `behind`
    tells each time.
    """

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._plain: list[tuple[Plain, bytes, bytes]] = []
        self._began = self._ended = False
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

    def around(self, plain: Plain) -> tuple[bytes, bytes] | None:
        """What stands before and behind a text in its event, where of a line that `plain` finds that alone counts."""
        for known, before, after in self._plain:
            if known is plain:
                return before, after
        return None

    def behind(self, text: bytes) -> bytes:
        """What stands behind a text that goes on as it is spelt, where that is never the same."""
        return b""

    @abstractmethod
    def _said(self, told: Mapping[str, Any], *, is_first: bool, is_last: bool) -> list[bytes]:
        """The events of one line; raises `BackendNonsense` where it is not in its form."""

    @abstractmethod
    def _error(self, words: str) -> bytes:
        """The event of a failure."""

    def _hold(self, tail: bytes) -> None:
        if tail:
            self._held.append(tail)
            self._held_bytes += len(tail)
            if self._held_bytes > MAX_FRAME_BYTES:
                self._failure = BackendNonsense("The backend sent an object longer than this service accepts.")

    def _events(self, block: bytes) -> bytes:
        made: list[bytes] = []
        try:
            for line in filter(None, block.split(b"\n")):  # the last one is empty, nearly always
                for plain, before, after in self._plain:
                    if (found := plain(line)) and found[1]:
                        made += (before, found[1], after or self.behind(found[1]))
                        break
                else:
                    if not self._ended and line.strip():
                        made += self._of_line(parse_object(line))
        except BackendNonsense as error:
            if not made:
                raise
            self._failure, self._plain = error, []
        return b"".join(made)

    def _of_line(self, told: Mapping[str, Any]) -> list[bytes]:
        is_first, self._began = not self._began, True
        if not told.get("error"):
            is_last = told.get("done") is True
            events = self._said(told, is_first=is_first, is_last=is_last)
        elif is_first:
            raise BackendFailed(error_text(told))
        else:
            is_last, events = True, [self._error(error_text(told))]
        if is_last:
            self._ended, self._plain = True, []
        return events
