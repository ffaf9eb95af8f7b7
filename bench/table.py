"""The table that people read."""

from collections.abc import Sequence
from typing import Any

from bench.contests import Contest
from bench.jobs import DISTURBED
from bench.report import Row
from bench.scenarios import Measured

TITLE_WIDTH = 40
WIDTH = 9
VERDICTS = {True: "pass", False: "MISS", None: ""}


def render(contest: Contest, machine: dict[str, Any], rows: Sequence[Row], measured: Measured) -> str:
    """Return the table: medians of the rounds, the comparison with its spread (the middle half), its bound."""
    title = "{date} · {cpus} CPUs ({cpu_model}) · {memory_gib} GiB · Python {python} · {system}".format(**machine)
    lines = table(rows, contest.columns, contest.subject, contest.reference)
    return "\n".join([title, "", lines, *_notes(measured)])


def table(rows: Sequence[Row], columns: Sequence[str], subject: str, reference: str) -> str:
    """Return a table for a terminal."""
    names = [name for name in columns if any(name in row.medians for row in rows)]
    heads = "".join(f"{name:>{WIDTH}}" for name in names)
    head = f"{'median of the rounds':{TITLE_WIDTH}}{heads}   {f'{subject} (or / {reference})':26}{'bound':>8}"
    return "\n".join([head, "-" * (len(head) + 6), *(_line(row, names) for row in rows)])


def _notes(measured: Measured) -> list[str]:
    if not measured.pulse:
        return []
    fast, slow = min(measured.pulse), max(measured.pulse)
    notes = ["", f"Pulse of the machine (a fixed piece of work): {fast:.1f} to {slow:.1f} ms."]
    disturbed = sum(used > DISTURBED for used in measured.elsewhere)
    if disturbed:
        used = f"up to {max(measured.elsewhere):.1f} CPUs in {disturbed} of {len(measured.elsewhere)} measurements"
        notes.append(f"Disturbed: others used {used}.")
    return notes


def _line(row: Row, names: Sequence[str]) -> str:
    cells = "".join(f"{_number(row.medians.get(name), row.digits):>{WIDTH}}" for name in names)
    bound = "" if row.bound is None else f"{'≥' if row.least else '≤'} {row.bound:g}"
    line = f"{row.title:{TITLE_WIDTH}}{cells}   {_comparison(row):26}{bound:>8}  {VERDICTS[row.passed]}"
    return line.rstrip()


def _comparison(row: Row) -> str:
    if row.result is None or row.result_spread is None:
        return ""
    digits = 2 if row.comparison == "ratio" else row.digits
    low, high = row.result_spread
    sign = "× " if row.comparison == "ratio" else ""
    return f"{sign}{row.result:.{digits}f}  ({low:.{digits}f}-{high:.{digits}f})"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
