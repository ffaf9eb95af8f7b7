"""The list of mutants that need not be noticed: `explained.toml`, each with its reason."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("explained.toml")


@dataclass(frozen=True)
class Explained:
    """A change that no test need notice: its lines before and after, and why."""

    file: str
    before: str
    after: str
    reason: str
    function: str = ""

    @property
    def change(self) -> tuple[str, str, str, str]:
        """What a mutant is known by: no number of a line, for those move."""
        return self.file, self.function, self.before.strip(), self.after.strip()


def explained(path: Path = LIST) -> list[Explained]:
    """Read the list."""
    entries = tomllib.loads(path.read_text("utf-8")).get("mutant", [])
    return [Explained(**entry) for entry in entries]


def slower(path: Path = LIST) -> dict[str, list[str]]:
    """Which tests outside `unit` and `web` run a file, in processes whose lines are not recorded."""
    entries = tomllib.loads(path.read_text("utf-8")).get("slower", [])
    return {file: entry["tests"] for entry in entries for file in entry["files"]}


def is_gone(entry: Explained, root: Path) -> bool:
    """Tell whether the lines that would be changed are not in their file any more."""
    file = root / entry.file
    if not file.is_file():
        return True
    lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
    wanted = [line.strip() for line in entry.before.splitlines()]
    starts = range(len(lines) - len(wanted) + 1)
    return not wanted or not any(lines[start : start + len(wanted)] == wanted for start in starts)
