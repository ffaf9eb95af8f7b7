"""From rounds to rows: medians, ratios, their spread, and the bounds they are held to."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
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
    least: bool = False  # the result is to be the bound or more
    promise: str = ""
    words: str = ""  # in place of a figure
    of: str = ""  # the comparison that it is part of


def rows_of(contest: Contest, measured: Measured) -> list[Row]:
    """Return every row that was measured."""
    metrics = [metric for metric in contest.metrics if metric.scenario in measured.rounds]
    rows = [_row(contest, metric, measured.rounds[metric.scenario]) for metric in metrics]
    found = [*rows, *_memory_rows(contest, measured)]
    return [replace(row, of=contest.name) for row in found]


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
    row.promise = metric.promise
    if metric.against:
        row.medians = {}  # they stand in the row above
    if metric.compare == "ratio":
        return with_results(row, "ratio", ratios(contest.subject, metric.against or contest.reference, values))
    found = values.get(contest.subject, [])
    if metric.compare == "worst":
        found = [max(found)] if found else []
    return with_results(row, metric.compare, found) if metric.compare else row


def ratios(subject: str, reference: str, values: dict[str, list[float]]) -> list[float]:
    """Compare round by round: what a round suffered, both suffered."""
    pairs = zip(values.get(subject, []), values.get(reference, []), strict=False)
    return [one / other for one, other in pairs if other]


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


def with_results(row: Row, comparison: str, results: Sequence[float]) -> Row:
    """Give a row its comparison, if there is one, and hold it to its bound."""
    if results:
        row.comparison, row.result = comparison, statistics.median(results)
        row.result_spread = _middle(results)
        if row.bound is not None:
            row.passed = row.result >= row.bound if row.least else row.result <= row.bound
    return row


def told(title: str, values: dict[str, list[float]], digits: int) -> Row:
    """Return a row that compares nothing."""
    return Row(title, *_summed_up(values), digits=digits)


def compared(
    title: str,
    values: dict[str, list[float]],
    subject: str,
    reference: str,
    digits: int,
    *,
    least: float | None = None,
    promise: str = "",
) -> Row:
    """Return a row that compares two targets round by round; a ratio of at least so much is wanted, or none is."""
    row = Row(title, *_summed_up(values), digits=digits, bound=least, least=least is not None, promise=promise)
    return with_results(row, "ratio", ratios(subject, reference, values))


def _memory_rows(contest: Contest, measured: Measured) -> list[Row]:
    rows = []
    if contest.idle_bound is not None:
        idle = {name: [size / MB] for name, size in measured.idle_resident.items()}
        row = Row("resident at idle, MB", *_summed_up(idle), digits=1, bound=contest.idle_bound, promise="idle")
        rows.append(with_results(row, "value", idle.get(contest.subject, [])))
    if bursts := measured.rounds.get("burst"):
        first = bursts[0]  # later bursts find the memory that the first one left
        grown = {
            name: [(figures["resident_during"] - figures["resident_before"]) / KB / figures["spoke"]]
            for name, figures in first.items()
            if figures["spoke"]
        }
        row = Row("memory per open stream, kB", *_summed_up(grown), digits=1)
        rows.append(with_results(row, "ratio", ratios(contest.subject, contest.reference, grown)))
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
