"""The file of results, the table that `make test-clients` prints of them, and the table of the page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.clients.catalogue import CLIENTS
from tests.clients.stages import Behind
from tests.clients.verdicts import STEPS, Cell, Verdict, cell_of
from tests.e2e.page_blocks import DOCS

FILE: Final = Path(__file__).with_name("results.json")
PAGE: Final = DOCS / "clients-tested.md"
_KINDS: Final = {Verdict.FAILS: "**Fails.** ", Verdict.OWN: "The client's own fault: "}
MARK: Final = "clients"


@dataclass
class Row:
    """What came of one client; `missing` says why it could not be had."""

    name: str
    version: str
    seen: str
    missing: str = ""
    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)

    def failing(self) -> list[str]:
        """A line for each step that fails."""
        return [
            f"{self.name} {self.version}, {behind}, {step}: {cell.why}"
            for behind, cells in self.cells.items()
            for step, cell in cells.items()
            if cell.verdict is Verdict.FAILS
        ]


def read_results() -> dict[str, Row]:
    """The file's rows, by their client."""
    rows = json.loads(FILE.read_text("utf-8")) if FILE.exists() else []
    return {row["name"]: _row(row) for row in rows}


def _row(told: dict[str, Any]) -> Row:
    cells = {
        behind: {step: cell_of(text) for step, text in steps.items()} for behind, steps in told.pop("cells").items()
    }
    return Row(**told, cells=cells)


def write_results(rows: Sequence[Row]) -> None:
    """Put these rows into the file; those of clients that were not run stay."""
    known = read_results() | {row.name: row for row in rows}
    lines = [_line(known[client.name]) for client in CLIENTS if client.name in known]
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


def _line(row: Row) -> str:
    cells = {behind: {step: str(cell) for step, cell in steps.items()} for behind, steps in row.cells.items()}
    return json.dumps(vars(row) | {"cells": cells}, ensure_ascii=False)


def printed(rows: Sequence[Row]) -> list[str]:
    """The table for a terminal: a line for each client and backend, then why what does not work does not."""
    name, version = (max(len(getattr(row, part)) for row in rows) for part in ("name", "version"))
    behind = max(map(len, Behind))
    head = f"{'client':{name}}  {'version':{version}}  {'before':{behind}}  " + "  ".join(STEPS)
    lines, reasons = [head], []
    for row in rows:
        start = f"{row.name:{name}}  {row.version:{version}}  "
        if row.missing:
            lines.append(f"{start}{row.missing}")
        for place, cells in row.cells.items():
            shown = (f"{cells[step].verdict if step in cells else '-':{len(step)}}" for step in STEPS)
            lines.append(f"{start}{place:{behind}}  " + "  ".join(shown) + f"  {_ways(cells)}")
            reasons += [f"{row.name}, {place}, {step}: {cell}" for step, cell in cells.items() if cell.why]
    return [*lines, "", *reasons]


def page_table(rows: dict[str, Row]) -> str:
    """The page's table, and the reasons that its cells number."""
    reasons: list[str] = []
    lines = [
        f"| client | version | speaks | {' | '.join(Behind)} | the key |",
        f"|---|---|---|{'---|' * len(Behind)}---|",
    ]
    for client in CLIENTS:
        if not (row := rows.get(client.name)):
            continue
        places = [row.missing or _summary(row.cells.get(place, {}), reasons) for place in Behind]
        lines.append(f"| {client.name} | {row.version} | {client.wire} | {' | '.join(places)} | {client.key} |")
    numbered = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join([*lines, "", *numbered]) + "\n"


def _summary(cells: dict[str, Cell], reasons: list[str]) -> str:
    """`all`, or what does not work, with the numbers of the reasons; and which way the rest came."""
    grouped: dict[str, list[str]] = {}
    for step, cell in cells.items():
        if cell.verdict is not Verdict.WORKS:
            grouped.setdefault(sentence_of(cell), []).append(step)
    ways = f"; {told}" if (told := _ways(cells)) else ""
    if not grouped:
        return f"all{ways}"
    parts = []
    for reason, steps in grouped.items():
        if reason not in reasons:
            reasons.append(reason)
        parts.append(f"{', '.join(steps)} ({reasons.index(reason) + 1})")
    whole = len(cells) == sum(map(len, grouped.values()))
    return ("nothing: " if whole else "all but ") + "; ".join(parts) + ways


def _ways(cells: dict[str, Cell]) -> str:
    """`native` or `translated`; or by the steps, if they differ."""
    steps: dict[str, list[str]] = {}
    for step, cell in cells.items():
        if cell.way:
            steps.setdefault(cell.way, []).append(step)
    if len(steps) == 1:
        return next(iter(steps))
    return "; ".join(f"{way}: {', '.join(named)}" for way, named in steps.items())


def sentence_of(cell: Cell) -> str:
    """Why it does not work, for the page."""
    text = cell.why if cell.verdict is Verdict.OWN else cell.why[0].upper() + cell.why[1:]
    kind = _KINDS.get(cell.verdict, "")
    return kind + re.sub(r"([|<>`\[\]*_])", r"\\\1", text).rstrip(".") + "."


def write_page(rows: dict[str, Row]) -> None:
    """Put the table into the page."""
    put_between(MARK, page_table(rows))


def table_in_page() -> str:
    """The table as the page has it."""
    return between(MARK)


def put_between(mark: str, table: str) -> None:
    """Put a table between the page's two marks of this name."""
    begin, end = _marks(mark)
    before, _, rest = PAGE.read_text("utf-8").partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n{table}\n{end}{after}", "utf-8")


def between(mark: str) -> str:
    """What stands between the page's two marks of this name."""
    begin, end = _marks(mark)
    return PAGE.read_text("utf-8").partition(begin)[2].partition(end)[0].strip("\n") + "\n"


def _marks(mark: str) -> tuple[str, str]:
    return f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->\n"
