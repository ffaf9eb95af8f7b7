"""Plain pieces: events that bring some text, or some thinking, and nothing else. Nearly all of a stream's are.

What stands around the text hardly changes from one such event to the next. It is learnt of one that was read in full;
an event in the same bytes differs by its text alone, so that nothing else of it has to be read.
"""

from __future__ import annotations

import json
import re
from typing import Final

from pydantic_core import from_json

from mlops_backend.services.llm.dialects.openai.pieces import Conversing, first_choice, now, said_now

_PLACE: Final = re.compile(rb'"(?:content|text|reasoning_content|reasoning)"\s*:\s*"((?:[^"\\]|\\.)*+)"')
# Two, for one of them may be what an event says anyway.
_OTHERS: Final = ("one", "another")
_quoted: Final = json.JSONEncoder(ensure_ascii=False).encode
_DATA: Final = b"data:"
# What is around a text is kept for as long as its stream lasts; servers send some hundred bytes.
_MOST_BYTES: Final = 4096
_MOST_PLACES: Final = 4
# So many in a row were learnt in vain: this server writes something else into each of its events.
_MOST_MISSES: Final = 8


class PlainPieces:
    """The plain pieces of one stream: their lines, and how many of them there were.

    Args:
        operation: whose shape the lines take.
        model: the name that the client used.
    """

    __slots__ = ("_after", "_before", "_end", "_middle", "_middles", "_misses", "_start", "characters", "frames")

    def __init__(self, operation: Conversing, model: str) -> None:
        chat = operation == "chat"
        middle = '","message":{"role":"assistant","content":' if chat else '","response":'
        self._start = f'{{"model":{_quoted(model)},"created_at":"'
        self._middles = middle, f'{middle}"","thinking":'
        self._end = '},"done":false}\n' if chat else ',"done":false}\n'
        self._before = self._after = b""
        self._middle = middle
        self._misses = 0
        self.frames = self.characters = 0

    def count(self, text: str) -> None:
        """Count a piece that was read in full."""
        self.frames += 1
        self.characters += len(text)

    def line(self, text: str) -> bytes:
        """The line of a text that was read in full."""
        return f"{self._start}{now()}{self._middles[False]}{_quoted(text)}{self._end}".encode()

    def learn(self, event: bytes, *, thinking: bool) -> None:
        """Learn what is around the text of an event that was plain, if it came by itself."""
        if self._misses > _MOST_MISSES or len(event) > _MOST_BYTES or not _is_alone(event):
            return
        self._misses += 1
        self._after = b""
        for place, _ in zip(_PLACE.finditer(event), range(_MOST_PLACES), strict=False):
            before, after = event[: place.start(1)], event[place.end(1) :]
            if all(_is_said(before + other.encode() + after, other, thinking=thinking) for other in _OTHERS):
                self._before, self._after, self._middle = before, after, self._middles[thinking]
                return

    @property
    def thinks(self) -> bool:
        """Whether the piece that was learnt is one of thinking."""
        return self._middle is self._middles[True]

    def text_alone(self, event: bytes) -> bytes:
        """The text of an event like the one that was learnt, as it is spelt; nothing for any other."""
        before, after = self._before, self._after
        if not (after and event.startswith(before) and event.endswith(after)):
            return b""
        spelt = event[len(before) : -len(after)]
        if text := _read(spelt):
            self._took(text)
            return spelt
        return b""

    def like_learnt(self, events: bytes) -> bytes:
        """The lines of events like the one that was learnt; nothing, where there is any other among them."""
        before, after = self._before, self._after
        if not (after and events.startswith(before) and events.endswith(after)):
            return b""
        if not (text := _read(events[len(before) : -len(after)])):
            return self._of_several(events)
        self._took(text)
        return f"{self._start}{now()}{self._middle}{_quoted(text)}{self._end}".encode()

    def _took(self, text: str) -> None:
        self.frames += 1
        self.characters += len(text)
        self._misses = 0

    def _of_several(self, events: bytes) -> bytes:
        before, pieces = self._before, events.split(self._after)[:-1]
        texts = [_read(piece[len(before) :]) for piece in pieces if piece.startswith(before)]
        if len(texts) < len(pieces) or not all(texts):
            return b""
        self.frames += len(texts)
        self.characters += sum(map(len, texts))
        self._misses = 0
        start, end = f"{self._start}{now()}{self._middle}", self._end
        return "".join(f"{start}{_quoted(text)}{end}" for text in texts).encode()


def _is_alone(event: bytes) -> bool:
    return event.startswith(_DATA) and event.endswith(b"\n") and b"\n" not in event.rstrip(b"\r\n")


def _is_said(event: bytes, text: str, *, thinking: bool) -> bool:
    """Whether an event says this text."""
    choice = first_choice(from_json(event[len(_DATA) :]))
    return choice is not None and said_now(choice)[:2] == (("", text) if thinking else (text, ""))


def _read(spelt: bytes) -> str:
    """The text between two quotation marks; empty where they do not hold one alone."""
    try:
        text: str = from_json(b'"' + spelt + b'"')
    except ValueError:
        return ""
    return text
