"""The top level of a large JSON object, found without its values being made: msgspec checks and skips them.

It takes what Go takes, but for halves of surrogate pairs and names that are no UTF-8. Those are looked for in a copy of
the same length in which other characters stand in their places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from json import JSONDecoder
from typing import Any, Final

from msgspec import DecodeError, Raw, ValidationError
from msgspec.json import Decoder
from pydantic_core import from_json

from mlops_backend.aside import rest
from mlops_backend.errors import InvalidJSON

_TOP: Final = Decoder(dict[str, Raw])
_LIST: Final = Decoder(list[Raw])
_BEHIND: Final = re.compile(r"trailing characters \(byte (\d+)\)")
_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_HALVES: Final = re.compile(rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[89a-fA-F][0-9a-fA-F]{2})")
_STAND_IN: Final = rb"\ufffd"
_ASCII: Final = bytes(range(128)) + b"?" * 128
_SPACE: Final = re.compile(rb"[ \t\n\r]*")
_NAME: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_LONGEST_NAME: Final = 4096
# What stands between quotation marks or brackets ends where it ends, whatever follows.
_BOUNDED: Final = b'"[{'
_SHORT: Final = re.compile(rb"[^,}\s]*")
_MOST_MEMBERS: Final = 1000
_SURROGATES: Final = "surrogateescape"
_NAMES: Final = JSONDecoder()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member stands in a body: its name, from `start`; its value, from `value_start` to `end`."""

    name: str
    start: int
    value_start: int
    end: int


def places(body: bytes) -> list[Place] | None:
    """Every member of the object that a body is, in order; `None` when it is none, or not a whole one.

    Raises:
        InvalidJSON: it nests more deeply, or has more fields or longer names, than this service reads; or one name
            stands twice with large values.
    """
    read = _skipped(body)
    return None if read is None else list(_walked(body, *read))


def value_in(raw: bytes) -> Any:
    """The value of JSON text, where it is some; what is no text in Unicode becomes U+FFFD, as in Go.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return from_json(raw)
    except ValueError:
        if _HALF.search(raw) is None and raw.isascii():
            raise
    rest()
    whole = raw if raw.isascii() else raw.decode(errors="replace").encode()
    rest()
    return from_json(_HALVES.sub(_mended(whole), whole))


def number_in_list(raw: bytes) -> int:
    """How many values a list has."""
    return len(_LIST.decode(_readable(raw)))


def _skipped(body: bytes) -> tuple[bytes, Mapping[str, Raw]] | None:
    """The body, or its copy with others in place of what is no text, and the text of each value by its name."""
    for readable in (bytes, _readable):
        text = readable(body)
        try:
            return text, _TOP.decode(text)
        except RecursionError:
            raise InvalidJSON("The body nests too deeply.") from None
        except ValidationError:
            return None
        except DecodeError as error:
            if found := _BEHIND.search(str(error)):
                return _skipped(body[: int(found[1]) - 1])  # told behind the first of them
        except UnicodeDecodeError:
            pass
        rest()
    return None


def _readable(text: bytes) -> bytes:
    """A copy of the same length that msgspec reads: the places in it are those of the text."""
    return text.replace(b"\\ud", b"\\u0").replace(b"\\uD", b"\\u0").translate(_ASCII)


def _walked(body: bytes, text: bytes, values: Mapping[str, Raw]) -> Iterator[Place]:
    at = _behind_space(text, text.index(b"{") + 1)
    for number in range(_MOST_MEMBERS + 1):
        if text[at : at + 1] == b"}":
            return
        if number == _MOST_MEMBERS:
            raise InvalidJSON("The body has too many fields.")
        start = at
        name = _NAME.match(text, at, at + _LONGEST_NAME)
        if name is None:
            raise InvalidJSON("The body has a field with too long a name.")
        value_start = _behind_space(text, _behind_space(text, name.end()) + 1)
        end = _end(text, value_start, values[_NAMES.decode(name[0].decode())])
        yield Place(_name(body[start : name.end()]), start, value_start, end)
        at = _behind_space(text, end)
        at = _behind_space(text, at + 1) if text[at : at + 1] == b"," else at


def _end(text: bytes, at: int, last: Raw) -> int:
    """Where a value ends: the last of its name, as a rule; else it is to be a short one."""
    if text[at] not in _BOUNDED:
        found = _SHORT.match(text, at)
        assert found is not None  # noqa: S101 - it matches nothing as well
        return found.end()
    if text.startswith(value := bytes(last), at):
        return at + len(value)
    short = text[at : at + _LONGEST_NAME].decode("latin-1")
    try:
        return at + _NAMES.raw_decode(short)[1]
    except (ValueError, RecursionError):
        raise InvalidJSON("The body has a field twice.") from None


def _name(quoted: bytes) -> str:
    return str(_NAMES.decode(quoted.decode("utf-8", _SURROGATES)))


def _behind_space(text: bytes, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # noqa: S101 - it matches nothing as well
    return found.end()


def _mended(text: bytes) -> Callable[[re.Match[bytes]], bytes]:
    """What takes the place of a pair, which stays, or of a half; a backslash before it makes letters of it."""

    def stands_for(found: re.Match[bytes]) -> bytes:
        pair, at = found[0], found.start()
        while at and text[at - 1] == 0x5C:
            at -= 1
        if (found.start() - at) % 2:
            return pair[:6] + (_STAND_IN if len(pair) > 6 else b"")
        return pair if len(pair) > 6 else _STAND_IN

    return stands_for
