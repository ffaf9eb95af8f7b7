"""What is counted here, told in prometheus-client's words."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric

from mlops_backend.telemetry.counted import Counts, Spreads
from mlops_backend.telemetry.metrics import Metrics

BOUNDS = (0.1, 1.0, 4)
VALUES = (0.0, 0.1, 0.1000001, 0.5, 1.0, 4.0, 4.1, 1e9)
Samples = list[tuple[str, dict[str, str], float]]


def samples(families: list[Metric]) -> Samples:
    """All of them, but for the moments at which prometheus-client began to count."""
    told = [sample for family in families for sample in family.samples]
    return [(each.name, each.labels, each.value) for each in told if not each.name.endswith("_created")]


def test_counts_are_told_as_prometheus_client_tells_its_own() -> None:
    """With labels and without; without them they are there before anything was counted."""
    registry = CollectorRegistry()
    theirs, ours = Counter("x", "X.", ("a", "b"), registry=registry), Counts("x", "X.", ("a", "b"))
    plain = Counter("y", "Y.", registry=registry)
    for said, count in ((("1", "2"), 1), (("1", '"\n'), 3), (("1", "2"), 5)):
        theirs.labels(*said).inc(count)
        ours[said] += count
    plain.inc(0)
    assert samples([*ours.collect(), *Counts("y", "Y.").collect()]) == samples(list(registry.collect()))


def test_values_fall_where_prometheus_client_has_them_fall() -> None:
    """On a bound, between two, and beyond the last one."""
    registry = CollectorRegistry()
    theirs, ours = Histogram("x", "X.", ("a",), registry=registry, buckets=BOUNDS), Spreads("x", "X.", ("a",), BOUNDS)
    Histogram("y", "Y.", registry=registry, buckets=BOUNDS)
    for number, value in enumerate(VALUES * 2):
        said = str(number % 3)
        theirs.labels(said).observe(value)
        ours.observe(value, (said,))
    assert samples([*ours.collect(), *Spreads("y", "Y.", (), BOUNDS).collect()]) == samples(list(registry.collect()))


def test_the_last_trace_that_fell_between_two_bounds_is_its_example() -> None:
    """And no other; a value without a trace leaves it."""
    metrics = Metrics()
    spreads = metrics.histogram("x", "X.", (), BOUNDS)
    for value, trace_id in ((0.5, "first"), (0.6, "second"), (0.7, ""), (3.0, "third")):
        spreads.observe(value, trace_id=trace_id)
    text = metrics.encoded("application/openmetrics-text;version=1.0.0")[0].decode()
    assert 'x_bucket{le="1.0"} 3.0 # {trace_id="second"} 0.6' in text
    assert 'x_bucket{le="4.0"} 4.0 # {trace_id="third"} 3.0' in text
    assert "first" not in text
