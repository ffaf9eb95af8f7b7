"""The tables of docs/performance.md, made from what a run has written: between marks, so that the rest stays."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.bounds import HOLDS, figure, verdicts
from bench.jobs import DISTURBED
from bench.processes import ROOT
from bench.report import Row
from bench.rivals import NAMES

PAGE = ROOT / "docs" / "performance.md"
NAMED = {
    "server": "`/v1/chat/completions`, before a server of OpenAI's API",
    "openai": "`/v1/chat/completions`, before an Ollama",
    "ollama": "`/api/generate`",
    "llm": "`/api/llm/stream`, `/api/llm/generate`",
    "anthropic": "`/v1/messages`",
    "translated": "`/api/chat`, translated for a server of OpenAI's API",
    "embeddings": "`/v1/embeddings`",
    "stored": "a stored conversation's message",
    "workers": "one worker and two",
    "stalls": "`/health` beside large bodies",
}
HEADINGS = {
    "asyncio": "now, asyncio's loop",
    "bare": "bare relay",
    "one": "one worker",
    "two": "two workers",
    "gap": "ms",
    "own": "of it the service's own",
}
COLUMNS = (*NAMES, "unstored", "one", "two", "gap", "own")


def mark(name: str, edge: str) -> str:
    """Return the comment before or after what is written by a program."""
    return f"<!-- {name}:{edge} -->"


def with_part(page: str, name: str, text: str) -> str:
    """Return a page with what stands between two marks replaced."""
    start, end = mark(name, "start"), mark(name, "end")
    before, found, rest = page.partition(start)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise SystemExit(f"{PAGE.name} has no {start} with its {end}")
    return f"{before}{start}\n\n{text.strip()}\n\n{end}{after}"  # a table ends at a blank line


def write(told: dict[str, Any], path: Path = PAGE) -> None:
    """Put a run's tables into the page."""
    path.write_text(with_part(path.read_text("utf-8"), "against", tables(told)), "utf-8")


def tables(told: dict[str, Any]) -> str:
    """Return the tables of a run, the bounds first."""
    rows = [Row(**fields) for fields in told["rows"]]
    parts = [_machine(told), _bounds(rows)]
    parts += [_part(name, [row for row in rows if row.of == name]) for name in NAMED]
    return "\n\n".join(part for part in parts if part)


def merged(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return several runs as one: of each comparison the rows of the last run that has it."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for told in runs:
        names = dict.fromkeys(row["of"] for row in told["rows"])
        rows |= {name: [row for row in told["rows"] if row["of"] == name] for name in names}
    skipped = {name: why for name, why in runs[-1]["skipped"].items() if name not in rows}
    parts = {name: part for told in runs for name, part in told["parts"].items()}
    found = [row for own in rows.values() for row in own]
    return runs[-1] | {"rows": found, "skipped": skipped, "parts": parts}


def _machine(told: dict[str, Any]) -> str:
    line = "{date}, {cpus} CPUs ({cpu_model}), {memory_gib} GiB, Python {python}, {system}; load when it began {load}."
    without = [f"Without {name}: {why}." for name, why in told["skipped"].items()]
    compared = f"The build before is {told['against']}; medians, in brackets the middle half of the rounds' ratios."
    return "\n".join([line.format(**told["machine"]), *_disturbed(told), *without, compared])


def _disturbed(told: dict[str, Any]) -> list[str]:
    """Say so where others used the machine meanwhile."""
    used = max((most for part in told["parts"].values() for most in part.get("elsewhere", [])), default=0.0)
    return [f"Disturbed: others used up to {used:.1f} CPUs."] if used > DISTURBED else []


def _bounds(rows: Sequence[Row]) -> str:
    lines = ["| | bound | figure | holds |", "|---|---|---|---|"]
    for verdict in verdicts(rows):
        lines.append(f"| {verdict.words} | {verdict.bound} | {verdict.figure} | {HOLDS[verdict.holds]} |")
    return "\n".join(lines)


def _part(name: str, rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    columns = [column for column in COLUMNS if any(column in row.medians for row in rows)]
    heads = " | ".join(HEADINGS.get(column, column) for column in columns)
    lines = [f"| {NAMED[name]} | {heads} | compared |", "|---" * (len(columns) + 2) + "|"]
    return "\n".join([*lines, *(_line(row, columns) for row in rows)])


def _line(row: Row, columns: Sequence[str]) -> str:
    cells = " | ".join(f"{row.medians[name]:.{row.digits}f}" if name in row.medians else "" for name in columns)
    return f"| {re.sub('^  ', '… ', row.title)} | {cells} | {_compared(row)} |"


def _compared(row: Row) -> str:
    if row.words or row.result is None or row.result_spread is None:
        return row.words
    if row.comparison != "ratio":
        return figure(row)
    low, high = row.result_spread
    return f"× {row.result:.2f} ({low:.2f}–{high:.2f})"
