"""The ledger against what was answered: one row each, or counted as dropped."""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

SEEDED = "seeded-"  # rows that a case put there itself


class Ids:
    """The requests for generations that the trial has sent: the id of each, and whether it was answered."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._numbers = count()
        self.sent: set[str] = set()
        self.answered: set[str] = set()

    def new(self) -> str:
        """Return the id of the next request."""
        name = f"{self._prefix}-{next(self._numbers)}"
        self.sent.add(name)
        return name

    def add(self, sent: Iterable[str], answered: Iterable[str]) -> None:
        """Count what somebody else has sent."""
        self.sent.update(sent)
        self.answered.update(answered)


@dataclass(frozen=True)
class Comparison:
    """What was found, in words, and whether it is right."""

    text: str
    ok: bool


def compare(ids: Ids, rows: Collection[str], dropped: int) -> Comparison:
    """Compare the rows' request ids with what was answered.

    A request whose client left without an answer may have a row or none; so it may also be what was dropped.
    """
    once = Counter(rows)
    twice = sum(number - 1 for number in once.values())
    strange = len(once.keys() - ids.sent)
    missing = len(ids.answered - once.keys())
    most = len(ids.sent - once.keys())
    text = f"{len(ids.answered) - missing} rows of {len(ids.answered)}"
    text += f", {dropped} dropped" if dropped else ""
    text += f", {twice} twice" if twice else ""
    text += f", {strange} of nobody" if strange else ""
    return Comparison(text, not twice and not strange and missing <= dropped <= most)


def rows_of(database: Path) -> list[str]:
    """Return the request ids in the ledger, but for those that a case put there."""
    with closing(sqlite3.connect(database, timeout=5)) as connection:
        found = connection.execute("SELECT request_id FROM generations").fetchall()
    return [name for (name,) in found if not name.startswith(SEEDED)]


def outcomes_of(database: Path, ids: Collection[str]) -> dict[str, str]:
    """Return how the generations of these requests ended, of those that have a row."""
    with closing(sqlite3.connect(database, timeout=5)) as connection:
        found = connection.execute("SELECT request_id, outcome FROM generations").fetchall()
    return {name: outcome for name, outcome in found if name in ids}
