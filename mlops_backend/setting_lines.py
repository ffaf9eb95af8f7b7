"""Where something stands in a file of TOML: its standard reader says what a file holds, and not in which line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

# Whatever may hold a bracket, a `#` or a line's end that means nothing.
_OPAQUE: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|#[^\n]*", re.DOTALL
)
_HEAD: Final = re.compile(r"\s*(\[\[?)\s*([\w-]*)\s*(?:\.\s*([\w-]+))?")
_FIELD: Final = re.compile(r"\s*([\w-]+)\s*[.=]")
_ARRAY: Final = "[["


@dataclass(slots=True)
class Lines:
    """Numbers of lines.

    Attributes:
        top: of each field and table of the file.
        tables: of each table of an array, in their order: of its head, under no name, and of its fields.
    """

    top: dict[str, int] = field(default_factory=dict)
    tables: list[dict[str, int]] = field(default_factory=list)

    def of(self, index: int, name: str = "") -> int:
        """The line of a field, or of its table where the field is not there; 0: it cannot be told."""
        table: Mapping[str, int] = self.tables[index] if index < len(self.tables) else {}
        return table.get(name) or table.get("", 0)


def lines_of(text: str, array: str) -> Lines:
    """Where the fields of the file stand, and those of each table of one array.

    Args:
        text: what has been read as TOML without an error.
        array: the array's name: its tables begin with `[[array]]`.
    """
    found = Lines()
    here = found.top
    for number, line in _statements(text):
        if head := _HEAD.match(line):
            brackets, name, below = head.groups()
            found.top.setdefault(name, number)
            here = {}
            if name == array and below is not None and found.tables:
                found.tables[-1].setdefault(below, number)
            elif name == array and brackets == _ARRAY:
                here = {"": number}
                found.tables.append(here)
        elif named := _FIELD.match(line):
            here.setdefault(named[1], number)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each line in which a statement begins, with its number; what is opaque is left out."""
    depth = 0
    for number, line in enumerate(_OPAQUE.sub(_blanked, text).split("\n"), 1):
        if depth == 0 and line.strip():
            yield number, line
        depth += sum(map(line.count, "[{")) - sum(map(line.count, "]}"))


def _blanked(match: re.Match[str]) -> str:
    """As many lines as there were, and nothing in them."""
    return "\n" * match[0].count("\n")
