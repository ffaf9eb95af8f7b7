"""Numbers for Prometheus: read from their owners when somebody asks, so that nothing pays for them meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


@dataclass(frozen=True, slots=True)
class _Number:
    name: str
    meaning: str
    read: Callable[[], float]
    grows: bool


class Metrics:
    """The numbers of one process; no label comes from a client."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._numbers: list[_Number] = []
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A number that rises and falls."""
        self._numbers.append(_Number(f"mlops_{name}", meaning, read, grows=False))

    def counter(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A number that only grows; its name gets `_total`."""
        self._numbers.append(_Number(f"mlops_{name}", meaning, read, grows=True))

    def text(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What prometheus-client asks of a collector."""
        for number in self._numbers:
            family = CounterMetricFamily if number.grows else GaugeMetricFamily
            yield family(number.name, number.meaning, value=float(number.read()))

    def describe(self) -> list[Metric]:
        """Nothing: the numbers come later than the registration."""
        return []
