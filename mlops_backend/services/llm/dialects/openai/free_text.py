"""Free text: what a model writes for a tool that takes a text, out of the JSON that it is written in, piece by piece.

The model is told of a function with one parameter, `input`, and so writes `{"input":"…"}`. A valid object of that kind
gives its text exactly, wherever it is cut. What is none is handed over as it was written: a text without an object
around it, an unknown escape, a quotation mark that should have had a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import StringIO
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.services.llm.dialects import dumped

PARAMETER: Final = "input"
# No more space than this, and no longer name, is looked at: so what it is depends on nothing but what is written.
_SPACE: Final = r"\s{0,200}"
_OPENING: Final = re.compile(rf'{_SPACE}\{{{_SPACE}"{PARAMETER}"{_SPACE}:{_SPACE}"')
_OPENED: Final = f'{{"{PARAMETER}":"'
_MOST_HELD: Final = 1024
# Something else that may have the text in it.
_VALUE: Final = re.compile(rf'{_SPACE}[{{"]')
_PLAIN: Final = re.compile(r'[^"\\]*')
_HIGH: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE: Final = re.compile(rf'{_HIGH}{_LOW}|\\u[0-9a-fA-F]{{4}}|\\["\\/bfnrt]')
# What may yet become an escape: more has to come.
_CUT_ESCAPE: Final = re.compile(
    rf"(?:\\|\\u[0-9a-fA-F]{{0,3}}|{_HIGH}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)\Z"
)
_SINGLE: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# A quotation mark ends the text before the object's end, or before another member.
_NAME: Final = r'"(?:[^"\\]|\\.){0,200}'
_CLOSING: Final = re.compile(
    rf'"\s{{200}}|"{_SPACE}\}}[\s\]}}]{{200}}|"{_SPACE},\s{{200}}|"{_SPACE},{_SPACE}{_NAME}"{_SPACE}:', re.DOTALL
)
_MAY_CLOSE: Final = re.compile(
    rf'"{_SPACE}(?:\}}[\s\]}}]{{0,200}}|,{_SPACE}(?:{_NAME}(?:\\|"{_SPACE})?)?)?\Z', re.DOTALL
)
_ENDED: Final = re.compile(rf'"{_SPACE}\}}')
# A whole that is something else is held until its end, but no more of it than this.
_MOST_WHOLE: Final = 8 * 1024 * 1024


class FreeText:
    """One call's text."""

    __slots__ = ("_held", "_take", "_written")

    def __init__(self) -> None:
        self._held = ""
        self._written = StringIO()
        self._take = self._beginning

    @property
    def is_whole(self) -> bool:
        """Whether it may end here: the object has."""
        return self._take == self._nothing or _ENDED.match(self._held) is not None

    def feed(self, piece: str) -> str:
        """Take the next piece of what was written, cut anywhere; gives what is new of the text."""
        return self._take(piece, is_last=False)

    def end(self) -> str:
        """What is still to be given when nothing more was written."""
        return self._take("", is_last=True)

    def _beginning(self, piece: str, *, is_last: bool) -> str:
        held, self._held = self._held + piece, ""
        if found := _OPENING.match(held):
            self._take = self._inside
            return self._inside(held[found.end() :], is_last=is_last)
        if not is_last and _OPENED.startswith("".join(held.split())) and len(held) <= _MOST_HELD:
            self._held = held
            return ""
        self._take = self._whole if _VALUE.match(held) else self._as_it_stands
        return self._take(held, is_last=is_last)

    def _inside(self, piece: str, *, is_last: bool) -> str:
        text, self._held = self._held + piece, ""
        made: list[str] = []
        place = 0
        while place < len(text):
            found = _PLAIN.match(text, place)
            if found is not None and found.end() > place:
                made.append(found[0])
                place = found.end()
            elif text[place] == "\\":
                if not is_last and _CUT_ESCAPE.match(text, place):
                    break
                spelt = _ESCAPE.match(text, place)
                made.append(_unescaped(spelt[0]) if spelt else "\\")
                place += len(spelt[0]) if spelt else 1
            elif _CLOSING.match(text, place) or (is_last and _MAY_CLOSE.match(text, place)):
                self._take = self._nothing
                return "".join(made)
            elif _MAY_CLOSE.match(text, place):
                break
            else:
                made.append('"')
                place += 1
        self._held = text[place:]
        return "".join(made)

    def _whole(self, piece: str, *, is_last: bool) -> str:
        self._written.write(piece)
        if not is_last and self._written.tell() <= _MOST_WHOLE:
            return ""
        written, self._written = self._written.getvalue(), StringIO()
        if is_last:
            return _found(written)
        self._take = self._as_it_stands
        return written

    def _as_it_stands(self, piece: str, *, is_last: bool) -> str:
        return piece

    def _nothing(self, piece: str, *, is_last: bool) -> str:
        return ""


def free_text(arguments: Any) -> str:
    """The text of whole arguments: of their object, or of what was written."""
    if isinstance(arguments, Mapping):
        text = _of_object(arguments)
        return (dumped(arguments).decode("utf-8", "replace") if arguments else "") if text is None else text
    if not isinstance(arguments, str):
        return ""
    reader = FreeText()
    return reader.feed(arguments) + reader.end()


def _found(written: str) -> str:
    """The text in something that is whole: an object with other members, or the text of one."""
    value: Any = written
    for _ in range(2):
        try:
            value = from_json(value)
        except ValueError:
            break
        if not isinstance(value, str):
            break
    if isinstance(value, str):
        return value
    text = _of_object(value) if isinstance(value, Mapping) else None
    return written if text is None else text


def _of_object(value: Mapping[str, Any]) -> str | None:
    """The member that is the text: that of the parameter's name, or the only one."""
    named = value.get(PARAMETER, next(iter(value.values())) if len(value) == 1 else None)
    return named if isinstance(named, str) else None


def _unescaped(spelt: str) -> str:
    """What an escape stands for; half of a pair of surrogates is the replacement character, as in Go."""
    if spelt[1] != "u":
        return _SINGLE.get(spelt[1], spelt[1])
    code = int(spelt[2:6], 16)
    if len(spelt) > len("\\uffff"):
        return chr(0x10000 + ((code - 0xD800) << 10) + (int(spelt[8:], 16) - 0xDC00))
    return "\N{REPLACEMENT CHARACTER}" if 0xD800 <= code < 0xE000 else chr(code)
