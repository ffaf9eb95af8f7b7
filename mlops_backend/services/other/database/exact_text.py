"""A column for text of any kind: what comes out is what went in, although no database takes all that JSON can say."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import Text
from sqlalchemy.types import TypeDecorator

# Data link escape: what it was once made for, and next to never in a text. What follows it is no letter, so that a word
# ends there for a search too.
_ESCAPE: Final = "\x10"
_ESCAPED_NUL: Final = _ESCAPE + "\x0e"
_ESCAPED_ESCAPE: Final = _ESCAPE + "\x0f"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE: Final = re.compile(_ESCAPE + "\x11(d[89a-f][0-9a-f]{2})")


class ExactText(TypeDecorator[str]):
    """Text that reads back as it was; on both databases alike, so that rows can be copied.

    PostgreSQL takes no NUL, and UTF-8 no half of a pair of surrogates.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """Python's text as the database keeps it."""
        if value is None:
            return None
        if "\0" in value or _ESCAPE in value:
            value = value.replace(_ESCAPE, _ESCAPED_ESCAPE).replace("\0", _ESCAPED_NUL)
        return value if value.isascii() else _SURROGATE.sub(_escaped, value)

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        """And back."""
        if value is None or _ESCAPE not in value:
            return value
        value = _ESCAPED_SURROGATE.sub(_unescaped, value.replace(_ESCAPED_NUL, "\0"))
        return value.replace(_ESCAPED_ESCAPE, _ESCAPE)


def _escaped(found: re.Match[str]) -> str:
    return f"{_ESCAPE}\x11{ord(found[0]):04x}"


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))
