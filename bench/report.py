"""From rounds to rows: medians, ratios, their spread, and the bounds they are held to."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.figures import Round
from bench.scenarios import Measured

MB = 1e6
KB = 1e3
FEW = 8
Value = Callable[[Round, str], float | None]


@dataclass(frozen=True)
class Metric:
    """One row: where its figure is, and which comparison is held to which bound."""

    title: str
    scenario: str
    value: Value
    compare: str = "ratio"  # of service to bare relay; "value": the service's own; "worst": of all rounds; "": none
    bound: float | None = None
    digits: int = 2


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


def _plain(name: str) -> Value:
    return lambda measured, target: measured[target].get(name)


def _added(name: str) -> Value:
    def added(measured: Round, target: str) -> float | None:
        own, direct = measured[target].get(name), measured.get("direct", {}).get(name)
        return None if own is None or direct is None or target == "direct" else own - direct

    return added


def _not_direct(name: str) -> Value:
    return lambda measured, target: None if target == "direct" else measured[target].get(name)


METRICS = (
    Metric("100 streams: CPU per token, µs", "steady", _not_direct("cpu_per_token_us"), bound=1.25, digits=1),
    Metric("  time to first token, median, ms", "starts", _plain("first_token_p50_ms")),
    Metric("  added to it, ms", "starts", _added("first_token_p50_ms"), "value"),
    Metric("  lateness of a token, median, ms", "steady", _plain("late_p50_ms")),
    Metric("  lateness of a token, p99, ms", "steady", _plain("late_p99_ms")),
    Metric("  tokens counted a round", "steady", _plain("tokens"), "", digits=0),
    Metric("  failed streams", "starts", _plain("errors"), "worst", bound=0, digits=0),
    Metric("calls in turn: CPU per call, µs", "calls", _not_direct("cpu_per_call_us"), digits=0),
    Metric("  latency, median, ms", "calls", _plain("call_p50_ms")),
    Metric("  latency, p99, ms", "tails", _plain("call_p99_ms")),
    Metric("  added at the median, ms", "calls", _added("call_p50_ms"), "value", bound=1.5),
    Metric("  added at p99, ms", "tails", _added("call_p99_ms"), "value"),
    Metric("1,000 streams at once: failed", "burst", _plain("errors"), "worst", bound=0, digits=0),
    Metric("  open at the same time", "burst", _plain("open_at_once"), "", digits=0),
    Metric("  time to first token, median, ms", "burst", _plain("first_token_p50_ms"), digits=0),
    Metric("  time to first token, p99, ms", "burst", _plain("first_token_p99_ms"), bound=1.5, digits=0),
)


def rows_of(measured: Measured) -> list[Row]:
    """Return every row that was measured."""
    rows = [_row(metric, measured.rounds[metric.scenario]) for metric in METRICS if metric.scenario in measured.rounds]
    return [*rows, *_memory_rows(measured)]


def _values(metric: Metric, rounds: Sequence[Round]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for measured in rounds:
        for target in measured:
            value = metric.value(measured, target)
            if value is not None:
                values.setdefault(target, []).append(value)
    return values


def _row(metric: Metric, rounds: Sequence[Round]) -> Row:
    values = _values(metric, rounds)
    row = Row(metric.title, *_summed_up(values), digits=metric.digits, bound=metric.bound)
    if metric.compare == "ratio":
        ratios = _ratios(values)
        return _judged(row, "ratio", ratios) if ratios else row
    found = values.get("service", [])
    if metric.compare == "worst":
        found = [max(found)] if found else []
    return _judged(row, metric.compare, found) if metric.compare else row


def _ratios(values: dict[str, list[float]]) -> list[float]:
    """Compare round by round: what a round suffered, both suffered."""
    pairs = zip(values.get("service", []), values.get("bare", []), strict=False)
    return [service / bare for service, bare in pairs if bare]


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


def _memory_rows(measured: Measured) -> list[Row]:
    idle = {name: [size / MB] for name, size in measured.idle_resident.items()}
    row = Row("resident at idle, MB", *_summed_up(idle), digits=1, bound=90)
    rows = [_judged(row, "value", idle.get("service", []))]
    if bursts := measured.rounds.get("burst"):
        first = bursts[0]  # later bursts find the memory that the first one left
        grown = {
            name: [(figures["resident_during"] - measured.idle_resident[name]) / KB / figures["spoke"]]
            for name, figures in first.items()
            if figures["spoke"]
        }
        rows.append(_judged(Row("memory per open stream, kB", *_summed_up(grown), digits=1), "ratio", _ratios(grown)))
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
