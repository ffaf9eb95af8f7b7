"""The fenced blocks of the README and of the documentation's pages, each under a name, so that none escapes its test.

A block is named by the line before it: `<!-- block: NAME -->`, or a file's path in back quotes. One that is a single
`--8<-- "PATH"` shows that file of the repository.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.e2e.processes import REPOSITORY

README: Final = REPOSITORY / "README.md"
DOCS: Final = REPOSITORY / "docs"
PAGES: Final = (README, *sorted(DOCS.glob("**/*.md")))
_FENCE: Final = re.compile(r"^(?P<before>.*)\n\n?```(?P<language>\w*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)
_SHOWN: Final = re.compile(r'--8<-- "(?P<path>[^"]+)"\n')
_NAME: Final = re.compile(r"<!-- block: (?P<name>[\w-]+) -->|`(?P<path>[\w/.]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: what it is called, its language, and its text."""

    name: str
    language: str
    text: str


def read_blocks() -> Mapping[str, Block]:
    """All blocks by name, in their order; a fence without a name, or with another's, is an error."""
    blocks: dict[str, Block] = {}
    for page in PAGES:
        text, before = page.read_text("utf-8"), len(blocks)
        for found in _FENCE.finditer(text):
            named = _NAME.fullmatch(found["before"])
            assert named, f"{page.name}: no name before the block that begins {found['text'][:60]!r}"
            name = named["name"] or named["path"]
            assert name not in blocks, f"{page.name}: two blocks are called {name}"
            blocks[name] = Block(name, found["language"], _whole(found["text"]))
        fences = len(re.findall(r"^[ >]*(?:```|~~~)", text, re.MULTILINE))
        assert (len(blocks) - before) * 2 == fences, f"{page.name}: a fence that was not understood"
    return blocks


def _whole(text: str) -> str:
    """A block's text; where it shows a file, the file's."""
    shown = _SHOWN.fullmatch(text)
    return (REPOSITORY / shown["path"]).read_text("utf-8") if shown else text


def read_table(page: str, heading: str, number: int = 0) -> list[tuple[str, ...]]:
    """The rows of a table under a heading of a page of `docs`, without its head; cells are stripped."""
    text = "\n" + (DOCS / page).read_text("utf-8")
    section = re.split(r"\n#+ ", text.partition(f"# {heading}\n")[2])[0]
    tables = re.findall(r"(?:^\|.*\n?)+", section, re.MULTILINE)
    assert number < len(tables), f"{page}: no such table under {heading}"
    rows = tables[number].splitlines()
    assert len(rows) > 2, f"{page}: an empty table under {heading}"
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows[2:]]
