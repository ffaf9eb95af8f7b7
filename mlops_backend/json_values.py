"""How many values a large body may have: what reads them holds everybody up in proportion to their number."""

from __future__ import annotations

import re
from typing import Final

from mlops_backend.aside import LARGE, rest
from mlops_backend.errors import InvalidJSON

# What each mark of JSON stands for: a member of an object takes longer to be read than a number in a list.
_WEIGHTS: Final = {b",": 1, b"[": 1, b"{": 3, b":": 4}
_NO_MARKS: Final = bytes(set(range(256)) - set(b"".join(_WEIGHTS)))
_JSON: Final = re.compile(rb"\s*[\[{]")
_STEP: Final = 1024 * 1024
# Behind it a text may begin or end, at the last place where it is not a part of an escape.
_UNESCAPED: Final = re.compile(rb'\\[\\"]')


def check_values(body: bytes, most: int) -> None:
    """See that a large body of JSON has no more values than this service reads.

    Marks within texts count for nothing, but are only told apart where there are too many of all together.

    Raises:
        InvalidJSON: it has more.
    """
    if len(body) <= LARGE or not _JSON.match(body) or _weight_of_all(body) <= most:
        return
    weight, within = 0, False
    at = 0
    while at < len(body):
        piece = body[at : at + _STEP]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2 and len(piece) > 1:
            piece = piece[:-1]
        at += len(piece)
        parts = _UNESCAPED.sub(b"", piece).split(b'"')
        weight += _weight(b" ".join(parts[within::2]))
        within ^= len(parts) % 2 == 0
        if weight > most:
            raise InvalidJSON(f"The body has too many values: it may have {most} (MAX_JSON_VALUES).")
        rest()


def _weight_of_all(body: bytes) -> int:
    weight = 0
    for start in range(0, len(body), _STEP):
        weight += _weight(body[start : start + _STEP])
        rest()
    return weight


def _weight(text: bytes) -> int:
    marks = text.translate(None, _NO_MARKS)
    return sum(marks.count(mark) * weight for mark, weight in _WEIGHTS.items())
