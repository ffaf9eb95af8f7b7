"""The file of the loops' results, the table for a terminal, and that of the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.clients.loop_catalogue import LOOPS
from tests.clients.results import between, put_between, sentence_of
from tests.clients.verdicts import Cell, Verdict

FILE: Final = Path(__file__).with_name("loops.json")
MARK: Final = "loops"


@dataclass
class LoopRow:
    """What came of one client's loop, by its ways; `missing` says why it could not be had."""

    name: str
    version: str
    seen: str
    missing: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)

    def failing(self) -> list[str]:
        """A line for each way that fails."""
        return [
            f"{self.name} {self.version}, {mode}: {cell.why}"
            for mode, cell in self.cells.items()
            if cell.verdict is Verdict.FAILS
        ]


def read_loops() -> dict[str, LoopRow]:
    """The file's rows, by their client."""
    rows = json.loads(FILE.read_text("utf-8")) if FILE.exists() else []
    return {row["name"]: _row(row) for row in rows}


def _row(told: dict[str, Any]) -> LoopRow:
    parted = {mode: text.partition(": ") for mode, text in told.pop("cells").items()}
    return LoopRow(**told, cells={mode: Cell(Verdict(verdict), why) for mode, (verdict, _, why) in parted.items()})


def write_loops(rows: Sequence[LoopRow]) -> None:
    """Put these rows into the file; those of clients that were not run stay."""
    known = read_loops() | {row.name: row for row in rows}
    kept = [known[client.name] for client in LOOPS if client.name in known]
    lines = [
        json.dumps(vars(row) | {"cells": {m: str(c) for m, c in row.cells.items()}}, ensure_ascii=False) for row in kept
    ]
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


def printed_loops(rows: Sequence[LoopRow]) -> list[str]:
    """A line for each client, with what is not right behind."""
    width = max(len(f"{row.name} {row.version}") for row in rows)
    return [f"{f'{row.name} {row.version}':{width}}  {row.missing or _in_a_line(row)}" for row in rows]


def _in_a_line(row: LoopRow) -> str:
    return ", ".join(f"{mode}: {cell}" for mode, cell in row.cells.items())


def loops_table(rows: dict[str, LoopRow]) -> str:
    """The page's table."""
    lines = ["| client | version | through the loop |", "|---|---|---|"]
    for client in LOOPS:
        if row := rows.get(client.name):
            told = row.missing or "; ".join(_told(mode, cell) for mode, cell in row.cells.items())
            lines.append(f"| {client.name} | {row.version} | {told} |")
    return "\n".join(lines) + "\n"


def _told(mode: str, cell: Cell) -> str:
    return f"{mode}: right" if cell.verdict is Verdict.WORKS else f"{mode}: {sentence_of(cell)}"


def write_loops_page() -> None:
    """Put the table into the page."""
    put_between(MARK, loops_table(read_loops()))


def loops_in_page() -> str:
    """The table as the page has it."""
    return between(MARK)
