"""A body of megabytes without its long texts: images and sound, of which nothing has to be known but where they stand.

In base64 they hold no backslash, so a quotation mark ends each. What stands in their place is legal only within a
text: where a cut has gone wrong, between two texts, what is left is no JSON, and the body is read as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mlops_backend.services.llm.dialects.go_json import Member, bytes_of, members, text_of

_LARGE: Final = 256 * 1024
_LONG: Final = 32 * 1024
# After so many quotation marks the rest is left as it is: looking at each takes time.
_MOST_MARKS: Final = 20_000
_STANDS_IN: Final = b"\\u0000%d;"
_STOOD_IN: Final = re.compile(rb"\\u0000(\d+);")


@dataclass(frozen=True, slots=True)
class Shortened:
    """A body's text, and the members of its object as in `members`, where `\\u0000` and a number stand for a long text.

    `members` is `None` where there is no whole object. A text that has to be known, and has a NUL in it, may be long:
    read it in full.
    """

    text: str
    members: list[Member] | None
    _body: bytes = b""
    _left_out: tuple[tuple[int, int], ...] = ()

    def restored(self, text: str) -> bytes:
        """The bytes of `text`, made of this one's, with the long texts in their places."""
        short = bytes_of(text)
        return _STOOD_IN.sub(self._that_stood_in, short) if self._left_out else short

    def _that_stood_in(self, found: re.Match[bytes]) -> bytes:
        start, end = self._left_out[int(found[1])]
        return self._body[start:end]


def shortened(body: bytes) -> Shortened:
    """Read a body's top level.

    Raises:
        InvalidJSON: it nests more deeply, or has more fields or values, than this service reads.
    """
    if len(body) > _LARGE and (spans := tuple(_long_texts(body))) and not _looks_cut(body):
        text = text_of(b"".join(_cut(body, spans)))
        if (found := members(text)) is not None:
            return Shortened(text, found, body, spans)
    return in_full(body)


def in_full(body: bytes) -> Shortened:
    """The same with nothing left out."""
    text = text_of(body)
    return Shortened(text, members(text))


def _looks_cut(body: bytes) -> bool:
    return b"\\" in body and b"\\u0000" in body


def _long_texts(body: bytes) -> Iterator[tuple[int, int]]:
    """Where there may be one, its quotation marks left out."""
    start = body.find(b'"') + 1
    for _ in range(_MOST_MARKS):
        end = body.find(b'"', start) if start else -1
        if end < 0:
            return
        if end - start > _LONG and body.find(b"\\", start, end) < 0:
            yield start, end
            end = body.find(b'"', end + 1)
        start = end + 1


def _cut(body: bytes, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    kept = 0
    for number, (start, end) in enumerate(spans):
        yield body[kept:start]
        yield _STANDS_IN % number
        kept = end
    yield body[kept:]
