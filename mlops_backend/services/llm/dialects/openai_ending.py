"""The ending of OpenAI's chat and completions, whose `[DONE]` alone makes no stream whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mlops_backend.errors import StreamIncomplete
from mlops_backend.services.llm.dialects.endings import ERROR, EventEnding
from mlops_backend.services.llm.dialects.families import Dialect
from mlops_backend.services.llm.dialects.objects import events_of, is_openai_end
from mlops_backend.services.llm.dialects.usage import read_usage
from mlops_backend.telemetry.record import RequestRecord

_END: Final = b"[DONE]"
_RUNNING: Final = b'"finish_reason":null'
# An event's name or a comment, its data and the empty line behind it: two events have more.
_LINES: Final = 3
_USAGE: Final = b'"usage"'
# An old llama.cpp's way of telling an error.
_BARE: Final = b"error:"
# A reason that is none is `null`, or an empty text.
FINISHED: Final = re.compile(rb'"finish_reason":\s*"[^"]')


class OpenAIEnding(EventEnding):
    """OpenAI's chat and completions: a `finish_reason` for every choice that was begun, and `[DONE]` behind them.

    Some servers send no `[DONE]` and are done; one that was cut short may send it all the same (a llama-cpp-python
    whose next request ends the stream): then it is held back, and an error comes in its place.

    Args:
        choices: how many answers were asked for, as far as is known.

    `passes` says that an event amid the answer goes on without a look.
    """

    def __init__(self, choices: int = 1) -> None:
        super().__init__(Dialect.OPENAI, is_openai_end)
        self._choices = choices
        self.passes = choices == 1
        self._begun: set[Any] = set()
        self._finished: set[Any] = set()

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk as it arrives; gives its whole events."""
        frames = self._taken(chunk)
        # Most of what comes is one event amid the answer: it is told by its bytes alone.
        is_one = self.passes and frames.count(b"\n") <= _LINES
        if is_one and frames.rfind(_RUNNING) > 0 and frames.rfind(_USAGE) < 0 and frames.rfind(ERROR) < 0:
            return frames
        return self.looked_at(frames)

    def looked_at(self, frames: bytes) -> bytes:
        """What is to be sent of events that may be the last ones."""
        if frames.rfind(ERROR) >= 0 or frames.startswith(_BARE) or frames.rfind(b"\n" + _BARE) >= 0:
            self._look_for_failure(frames)
        if self._choices > 1 or FINISHED.search(frames):
            self._note_choices(frames)
        return self._held_back(frames) if _END in frames and self._is_cut() else frames

    def rest(self) -> bytes:
        """An end without its empty line."""
        left = super().rest()
        self._note_choices(left)
        return b"" if _END in left and self._is_cut() else left

    def finish(self, record: RequestRecord) -> None:
        """Take the usage; see `Ending.finish`."""
        told = list(self._last_objects())
        if self._is_whole() and not self._failure:
            for each in told:
                read_usage(each, record)
            return
        if any(map(self._is_last, told)) and self._is_cut():
            raise StreamIncomplete("The backend ended the stream without saying why each of its choices ended.")
        super().finish(record)

    def _is_whole(self) -> bool:
        return bool(self._finished) and self._begun <= self._finished

    def _is_cut(self) -> bool:
        """Whether a choice was begun, as far as is known, that has no reason to end, nor the backend told one."""
        self._note_choices(b"".join((self._first, *self._recent)))
        return not (self._failure or self._begun <= self._finished)

    def _note_choices(self, frames: bytes) -> None:
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
