"""What is counted here, in the event loop alone: for each thing that is counted an addition, and no lock.

prometheus-client's own numbers may be counted in any thread; each costs half a dozen calls of functions. They are told
in its words, and only when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf
from time import time
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, Exemplar, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

Said = tuple[str, ...]
_UNLABELLED: Final[Said] = ()


class Counts(defaultdict[Said, float]):
    """Numbers that only grow, by what their labels say.

    Args:
        name: without `_total`.
        meaning: for people.
        labels: their names.
    """

    def __init__(self, name: str, meaning: str, labels: Sequence[str] = ()) -> None:
        super().__init__(float)
        self._told = name, meaning, labels
        if not labels:
            self[_UNLABELLED] = 0.0

    def collect(self) -> Iterator[Metric]:
        """Them, as they are now."""
        name, meaning, labels = self._told
        family = CounterMetricFamily(name, meaning, labels=labels)
        for said, value in self.items():
            family.add_metric(said, value)
        yield family


class _Spread:
    """How often values fell between two bounds, what they come to, and the last trace that fell there."""

    __slots__ = ("counts", "examples", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.examples: dict[int, tuple[str, float, float]] = {}
        self.sum = 0.0


class Spreads:
    """How often values fell below each of some bounds, by what labels say.

    Args:
        name: of the histogram.
        meaning: for people.
        labels: their names.
        bounds: in rising order, without the last one, which is infinite.
    """

    def __init__(self, name: str, meaning: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._told = name, meaning, labels
        self._bounds = (*map(float, bounds), inf)
        self._names = [floatToGoString(bound) for bound in self._bounds]  # type: ignore[no-untyped-call]
        self._spreads: dict[Said, _Spread] = {}
        if not labels:
            self._spread(_UNLABELLED)

    def observe(self, value: float, said: Said = _UNLABELLED, trace_id: str = "") -> None:
        """Count a value, with the trace that it is of, where there is one."""
        spread = self._spreads.get(said) or self._spread(said)
        at = bisect_left(self._bounds, value)
        spread.counts[at] += 1
        spread.sum += value
        if trace_id:
            spread.examples[at] = trace_id, value, time()

    def collect(self) -> Iterator[Metric]:
        """They, as they are now."""
        name, meaning, labels = self._told
        family = HistogramMetricFamily(name, meaning, labels=labels)
        for said, spread in self._spreads.items():
            family.add_metric(said, list(self._buckets(spread)), spread.sum)
        yield family

    def _spread(self, said: Said) -> _Spread:
        return self._spreads.setdefault(said, _Spread(len(self._bounds)))

    def _buckets(self, spread: _Spread) -> Iterator[tuple[str, float] | tuple[str, float, Exemplar]]:
        for at, (name, count) in enumerate(zip(self._names, accumulate(spread.counts), strict=True)):
            if at in spread.examples:
                trace_id, value, seen = spread.examples[at]
                yield name, float(count), Exemplar({"trace_id": trace_id}, value, seen)
            else:
                yield name, float(count)
