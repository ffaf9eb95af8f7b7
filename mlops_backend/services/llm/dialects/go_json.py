"""The top level of a JSON object, read as Go's `encoding/json` reads it, with the place of every member.

Ollama is written in Go: names match in any case (and U+017F for `s`, U+212A for `k`), the last of several wins, `null`
leaves what was there, what follows the first value is ignored. Whatever Go accepts is accepted here, so that a body
which cannot be read here cannot be read there either, and the backend's own refusal is the answer.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.aside import LARGE
from mlops_backend.errors import InvalidJSON
from mlops_backend.services.llm.dialects.large import LargeBody
from mlops_backend.services.llm.dialects.large_members import places, value_in

_FOLD: Final = str.maketrans(string.ascii_uppercase + "\u017f\u212a", string.ascii_lowercase + "sk")
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_LONGEST_INTEGER: Final = 300
_DEEPEST: Final = 500
_A_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
# A request has some tens of fields. Each costs time on the event loop and some hundred bytes.
_MOST_MEMBERS: Final = 1000
_BLANKS: Final = frozenset(" \t\r\n")
_SHORT_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Member:
    """One member: its name and value, and where in the text it stands (`start`, its value at `value_start`, `end`)."""

    name: str
    value: Any
    start: int
    value_start: int
    end: int


def folded(name: str) -> str:
    """The spelling under which Go finds a field: `MODEL`, `Model` and `model` are one."""
    return _remembered(name) if len(name) <= _SHORT_NAME else name.translate(_FOLD)


@lru_cache(maxsize=1024)
def _remembered(name: str) -> str:
    """A request's fields are looked for by many names, and all requests have the same few fields."""
    return name.translate(_FOLD)


def text_of(body: bytes) -> str:
    """The body as text; bytes that are not UTF-8 survive a way back by `bytes_of`."""
    return body.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """The bytes that `text_of` was given."""
    return text.encode("utf-8", "surrogateescape")


def members(text: str, at: int = 0) -> list[Member] | None:
    """The members of the object that begins at `at`; `None` when there is no object, or not a whole one.

    Raises:
        InvalidJSON: it nests more deeply, or has more fields, than this service reads.
    """
    try:
        at = _behind_space(text, at)
        found = _members(text, at + 1) if text[at] == "{" else None
    except RecursionError:
        raise InvalidJSON("The body nests too deeply.") from None
    except (ValueError, IndexError, StopIteration):
        return None
    if found is not None and len(found) > _MOST_MEMBERS:
        raise InvalidJSON("The body has too many fields.")
    return found


def is_too_deep(error: ValueError) -> bool:
    """Whether the quick reader gave up since a text nests more deeply than it reads, some two hundred levels."""
    return "recursion limit" in str(error)


def check_depth(body: bytes) -> None:
    """See that a body of JSON nests no more than five hundred levels: what is made of it has to be written, and read.

    Raises:
        InvalidJSON: it does.
    """
    if body.count(b"[") + body.count(b"{") <= _DEEPEST:
        return
    brackets = _A_TEXT.sub(b"", body).translate(None, _NO_BRACKETS)
    if max(accumulate(1 if mark in b"[{" else -1 for mark in brackets)) > _DEEPEST:
        raise InvalidJSON("The body nests too deeply.")


def value_of(body: bytes | LargeBody) -> Any:
    """The body's value as some backend may read it; `None` where none can. It must not be changed.

    Go takes what is no JSON to others: texts that are no Unicode, and anything behind the first value.
    """
    if isinstance(body, LargeBody):
        return body.value
    try:
        return from_json(body)
    except ValueError:
        return _large_value(body) if len(body) > LARGE else _first_value(body)


def _first_value(body: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        text = text_of(body)
        return _DECODER.raw_decode(text, _behind_space(text, 0))[0]
    return None


def _large_value(body: bytes) -> Any:
    with suppress(ValueError, InvalidJSON):
        return {place.name: value_in(body[place.value_start : place.end]) for place in places(body) or ()} or None
    return None


def values_in(found: Sequence[Member]) -> Mapping[str, Any]:
    """What `last_of` tells, by every name."""
    return {folded(member.name): member.value for member in found if member.value is not None}


def last_of(found: Sequence[Member], name: str) -> Any:
    """The value that Go keeps in a field called `name`: the last that is not `null`; else `None`."""
    length, last = len(name), None
    for member in found:  # folding changes no length
        if len(member.name) == length and member.value is not None and folded(member.name) == name:
            last = member.value
    return last


def _members(text: str, at: int) -> list[Member]:
    """All of them, or one more than there may be; `StopIteration` is how the decoder says that there is no value."""
    found: list[Member] = []
    at = _behind_space(text, at)
    if text[at] == "}":
        return found
    while True:
        start = at
        name, value_start = _named(text, at)
        value, at = _SCAN(text, value_start)
        found.append(Member(name, value, start, value_start, at))
        if text[at] in _BLANKS:
            at = _behind_space(text, at)
        if text[at] == "}" or len(found) > _MOST_MEMBERS:
            return found
        if text[at] != ",":
            raise ValueError("no end")
        at += 1
        if text[at] in _BLANKS:
            at = _behind_space(text, at)


def _named(text: str, at: int) -> tuple[str, int]:
    """A member's name, and where its value begins."""
    if text[at] != '"':
        raise ValueError("no name")
    name, at = _SCAN(text, at)
    if text[at] != ":" and text[at := _behind_space(text, at)] != ":":
        raise ValueError("no value")
    at += 1
    return name, _behind_space(text, at) if text[at] in _BLANKS else at


def _behind_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # noqa: S101 - it matches nothing as well
    return found.end()


def _integer(digits: str) -> int | float:
    """Python refuses to read an integer of thousands of digits; Go skips it."""
    return int(digits) if len(digits) < _LONGEST_INTEGER else float(digits)


_DECODER: Final = json.JSONDecoder(parse_int=_integer)
# What `raw_decode` calls, without a call of its own for each name and value.
_SCAN: Final[Callable[[str, int], tuple[Any, int]]] = _DECODER.scan_once  # type: ignore[attr-defined]
