"""A body without its large values: of images, sound and long texts nothing has to be known but where they stand."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from mlops_backend.aside import LARGE, rest
from mlops_backend.errors import InvalidJSON
from mlops_backend.services.llm.dialects.go_json import Member, bytes_of, folded, members, text_of
from mlops_backend.services.llm.dialects.large_members import Place, number_in_list, places

# A value that is longer is left out, but for what has to be known of a body.
_LONG: Final = 1024
_KNOWN: Final = frozenset({"model", "name", "from", "source", "destination", "options", "stream_options", "metadata"})
_COUNTED: Final = "prompt"
_MOST_KEPT: Final = 1024 * 1024
# Nobody can know it who would put it into a body.
_WORD: Final = secrets.token_hex(8)
_STANDS_IN: Final = f'"{_WORD}%d"'.encode()
_STOOD_IN: Final = re.compile(rf'"{_WORD}(\d+)"'.encode())


@dataclass(frozen=True, slots=True)
class Shortened:
    """A body's text, and the members of its object as in `members`; a large value has another one in its place.

    A long text is an empty one then, an object an empty one, and a list one of as many values where they count.
    `members` is `None` where there is no whole object; of a large body there is no text then.
    """

    text: str
    members: list[Member] | None
    _body: bytes = b""
    _left_out: tuple[Place, ...] = ()

    def restored(self, text: str) -> bytes:
        """The bytes of `text`, made of this one's, with the large values in their places."""
        short = bytes_of(text)
        return _STOOD_IN.sub(self._that_stood_in, short) if self._left_out else short

    def _that_stood_in(self, found: re.Match[bytes]) -> bytes:
        place = self._left_out[int(found[1])]
        return self._body[place.value_start : place.end]


def shortened(body: bytes) -> Shortened:
    """Read a body's top level; of a large one without its large values.

    Raises:
        InvalidJSON: it nests more deeply, or has more or longer fields, or more values, than this service reads.
    """
    if len(body) <= LARGE:
        return in_full(body)
    if (found := places(body)) is None:
        return Shortened("", None)
    rest()
    large = tuple(place for place in found if _is_left_out(body, place))
    text = text_of(b"".join(_kept(body, large)))
    return Shortened(text, _with_values(body, large, members(text)), body, large)


def in_full(body: bytes) -> Shortened:
    """The same with nothing left out."""
    text = text_of(body)
    return Shortened(text, members(text))


def _is_left_out(body: bytes, place: Place) -> bool:
    is_long = place.end - place.value_start > _LONG and body[place.value_start] in b'"[{'
    return is_long and folded(place.name) not in _KNOWN


def _kept(body: bytes, large: Iterable[Place]) -> Iterator[bytes]:
    at = size = 0
    for number, place in enumerate((*large, None)):
        end = len(body) if place is None else place.value_start
        size += end - at
        if size > _MOST_KEPT:
            raise InvalidJSON("The body has too many fields, or too long ones.")
        yield body[at:end]
        if place is not None:
            yield _STANDS_IN % number
            at = place.end


def _with_values(body: bytes, large: tuple[Place, ...], found: list[Member] | None) -> list[Member] | None:
    """The members with what is known of each value that was left out."""
    if found is None or not large:
        return found
    left = {f"{_WORD}{number}": place for number, place in enumerate(large)}
    return [
        replace(member, value=_known_of(body, left[member.value])) if _stands_in(member.value, left) else member
        for member in found
    ]


def _stands_in(value: object, left: dict[str, Place]) -> bool:
    return isinstance(value, str) and value in left


def _known_of(body: bytes, place: Place) -> Any:
    match body[place.value_start : place.value_start + 1]:
        case b'"':
            return ""
        case b"{":
            return {"": None}
        case _:
            is_counted = folded(place.name) == _COUNTED
            return [None] * (number_in_list(body[place.value_start : place.end]) if is_counted else 1)
