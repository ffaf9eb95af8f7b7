"""Numbers for Prometheus: read from their owners when somebody asks, so that nothing pays for them meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mlops_backend.telemetry.numbers import OfAll, Told


@dataclass(frozen=True, slots=True)
class _Number:
    name: str
    meaning: str
    read: Callable[[], float]
    of_all: OfAll

    @property
    def grows(self) -> bool:
        return self.of_all == "grows"


class Metrics:
    """The numbers of one process; no label comes from a client."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._numbers: list[_Number] = []
        self._of_all: Mapping[str, float] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def gauge(self, name: str, meaning: str, read: Callable[[], float], *, of_all: OfAll = "sum") -> None:
        """A number that rises and falls; with several processes the sum of theirs, or the least."""
        self._numbers.append(_Number(f"mlops_{name}", meaning, read, of_all))

    def counter(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A number that only grows; its name gets `_total`."""
        self._numbers.append(_Number(f"mlops_{name}", meaning, read, "grows"))

    def told(self) -> list[Told]:
        """All of them as they are now, for who adds them to those of other processes."""
        return [(number.name, float(number.read()), number.of_all) for number in self._numbers]

    def text(self, of_all: Mapping[str, float] | None = None) -> bytes:
        """All of them, in Prometheus's text format.

        Args:
            of_all: what they are for all processes together; this one's own are told otherwise.
        """
        self._of_all = of_all or {}
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What prometheus-client asks of a collector."""
        for number in self._numbers:
            family = CounterMetricFamily if number.grows else GaugeMetricFamily
            own = float(number.read())
            yield family(number.name, number.meaning, value=self._of_all.get(number.name, own))

    def describe(self) -> list[Metric]:
        """Nothing: the numbers come later than the registration."""
        return []
