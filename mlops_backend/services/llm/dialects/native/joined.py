"""Both steps at once: an OpenAI server's events as Ollama's lines, and those as the events of another API."""

from __future__ import annotations

from mlops_backend.services.llm.dialects.native.lines import LineTranslator
from mlops_backend.services.llm.dialects.native.shapes import COMPLETED, SAID, THOUGHT
from mlops_backend.services.llm.dialects.openai import StreamTranslator


class Joined:
    """One stream.

    A piece that brings a text and nothing else, as nearly all do, is put between what stands around a text in the
    event that the client gets: no line is made of it. It changes nothing of what either translator knows, but for the
    count of pieces and characters.

    Args:
        lines: makes the lines.
        events: makes events of them.
    """

    __slots__ = ("_events", "_lines", "_said")

    def __init__(self, lines: StreamTranslator, events: LineTranslator) -> None:
        self._lines = lines
        self._events = events
        self._said = SAID if lines.is_chat else COMPLETED

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they arrive; gives and raises what `events` does when it is fed what `lines` gives."""
        around = self._events.around(THOUGHT if self._lines.thinks else self._said)
        if around is not None and (text := self._lines.text_alone(data)):
            return around[0] + text + (around[1] or self._events.behind(text))
        return self._events.feed(self._lines.feed(data))
