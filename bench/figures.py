"""What a measurement is made of: figures by name, by target, by round."""

import statistics
from collections.abc import Sequence
from typing import Any

from bench.stream_client import Tally

Figures = dict[str, Any]
Round = dict[str, Figures]


def milliseconds(values: Sequence[int], name: str) -> Figures:
    """Return the median and the 99th percentile of nanoseconds."""
    if len(values) < 2:
        return {}
    hundredths = statistics.quantiles(values, n=100)
    return {f"{name}_p50_ms": statistics.median(values) / 1e6, f"{name}_p99_ms": hundredths[98] / 1e6}


def outcome(tally: Tally, expected: int) -> Figures:
    """Return how streams began and ended."""
    failed = expected - tally.completed
    return milliseconds(tally.first, "first_token") | {"errors": failed, "error_texts": dict(tally.errors)}
