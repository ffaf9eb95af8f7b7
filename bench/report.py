"""From rounds to rows: medians, ratios, their spread, and the bounds they are held to."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.contests import Contest
from bench.figures import Round
from bench.metrics import Metric
from bench.scenarios import Measured

MB = 1e6
KB = 1e3
FEW = 8


@dataclass
class Row:
    """One row of the table, and of the JSON."""

    title: str
    medians: dict[str, float]
    spread: dict[str, tuple[float, float]]
    digits: int = 2
    comparison: str = ""
    result: float | None = None
    result_spread: tuple[float, float] | None = None
    bound: float | None = None
    passed: bool | None = field(default=None)


def rows_of(contest: Contest, measured: Measured) -> list[Row]:
    """Return every row that was measured."""
    metrics = [metric for metric in contest.metrics if metric.scenario in measured.rounds]
    rows = [_row(contest, metric, measured.rounds[metric.scenario]) for metric in metrics]
    return [*rows, *_memory_rows(contest, measured)]


def _values(metric: Metric, rounds: Sequence[Round]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for measured in rounds:
        for target in measured:
            value = metric.value(measured, target)
            if value is not None:
                values.setdefault(target, []).append(value)
    return values


def _row(contest: Contest, metric: Metric, rounds: Sequence[Round]) -> Row:
    values = _values(metric, rounds)
    row = Row(metric.title, *_summed_up(values), digits=metric.digits, bound=metric.bound)
    if metric.compare == "ratio":
        ratios = _ratios(contest, values)
        return _judged(row, "ratio", ratios) if ratios else row
    found = values.get(contest.subject, [])
    if metric.compare == "worst":
        found = [max(found)] if found else []
    return _judged(row, metric.compare, found) if metric.compare else row


def _ratios(contest: Contest, values: dict[str, list[float]]) -> list[float]:
    """Compare round by round: what a round suffered, both suffered."""
    pairs = zip(values.get(contest.subject, []), values.get(contest.reference, []), strict=False)
    return [subject / reference for subject, reference in pairs if reference]


def _summed_up(
    values: dict[str, list[float]],
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    medians = {name: statistics.median(found) for name, found in values.items()}
    return medians, {name: _middle(found) for name, found in values.items()}


def _middle(values: Sequence[float]) -> tuple[float, float]:
    """Return between which values the middle half lies; of a few values the least and the greatest."""
    if len(values) < FEW:
        return min(values), max(values)
    quarters = statistics.quantiles(values, n=4)
    return quarters[0], quarters[2]


def _judged(row: Row, comparison: str, results: Sequence[float]) -> Row:
    if results:
        row.comparison, row.result = comparison, statistics.median(results)
        row.result_spread = _middle(results)
        row.passed = None if row.bound is None else row.result <= row.bound
    return row


def _memory_rows(contest: Contest, measured: Measured) -> list[Row]:
    rows = []
    if contest.idle_bound is not None:
        idle = {name: [size / MB] for name, size in measured.idle_resident.items()}
        row = Row("resident at idle, MB", *_summed_up(idle), digits=1, bound=contest.idle_bound)
        rows.append(_judged(row, "value", idle.get(contest.subject, [])))
    if bursts := measured.rounds.get("burst"):
        first = bursts[0]  # later bursts find the memory that the first one left
        grown = {
            name: [(figures["resident_during"] - figures["resident_before"]) / KB / figures["spoke"]]
            for name, figures in first.items()
            if figures["spoke"]
        }
        row = Row("memory per open stream, kB", *_summed_up(grown), digits=1)
        rows.append(_judged(row, "ratio", _ratios(contest, grown)))
    return rows


def as_json(machine: dict[str, Any], plan: dict[str, Any], measured: Measured, rows: Sequence[Row]) -> dict[str, Any]:
    """Return everything, down to the single round."""
    return {
        "machine": machine,
        "plan": plan,
        "rows": [asdict(row) for row in rows],
        "idle_resident": measured.idle_resident,
        "elsewhere": measured.elsewhere,
        "pulse": measured.pulse,
        "rounds": measured.rounds,
    }
