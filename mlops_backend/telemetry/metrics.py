"""Numbers for Prometheus: most are read from their owners when somebody asks, so that nothing pays for them meanwhile.

Names of labels are fixed, and what they say is bounded by whoever gives it (`Bounded`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from mlops_backend.aside import aside
from mlops_backend.telemetry.counted import Counts, Spreads
from mlops_backend.telemetry.numbers import OfAll, Told, named, parted

OTHER: Final = "other"
_PREFIX: Final = "mlops_"
# What one number takes in the text, about.
_BYTES: Final = 150
_SUFFIXES: Final = ("_total", "_bucket", "_count", "_sum")
Labelled = Mapping[tuple[str, ...], float]


class Source(Protocol):
    """What has numbers."""

    def collect(self) -> Iterable[Metric]:
        """Them, as they are now."""


class Bounded:
    """What a label says: of so many values each by itself, and all others as `other`.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, value: str, *, proven: bool = True) -> str:
        """A value, or `other`: a new one has to be `proven`, or a client could fill the places with inventions."""
        if value in self._known:
            return value
        if not proven or len(self._known) >= self._most:
            return OTHER
        self._known.add(value)
        return value


class Metrics:
    """The numbers of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._of_all: dict[str, OfAll] = {}
        self._sources: list[Source] = []
        self._families: list[Metric] = []

    def gauge(self, name: str, meaning: str, read: Callable[[], float], *, of_all: OfAll = "sum") -> None:
        """A number that rises and falls; with several processes the sum of theirs, the least or the most."""
        self.labelled(name, meaning, (), lambda: {(): float(read())}, of_all=of_all)

    def counter(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A number that only grows; its name gets `_total`."""
        self.labelled(name, meaning, (), lambda: {(): float(read())}, of_all="grows")

    def labelled(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str],
        read: Callable[[], Labelled],
        *,
        of_all: OfAll = "sum",
    ) -> None:
        """Numbers with labels: by what their labels say, in the order of their names."""
        self._add(_Read(f"{_PREFIX}{name}", meaning, tuple(labels), read, grows=of_all == "grows"), of_all)

    def count(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counts:
        """A number that is counted here."""
        counts = Counts(f"{_PREFIX}{name}", meaning, labels)
        self._add(counts, "grows")
        return counts

    def histogram(self, name: str, meaning: str, labels: Sequence[str], bounds: Sequence[float]) -> Spreads:
        """How often values fell below each of some bounds; its name is whole, for there are conventions for some."""
        spreads = Spreads(name, meaning, labels, bounds)
        self._add(spreads, "grows")
        return spreads

    def told(self) -> list[Told]:
        """All of them as they are now, for who adds them to those of other processes."""
        return [
            (named(sample.name, sample.labels), sample.value, self._of_all[family.name])
            for family in self._own()
            for sample in family.samples
        ]

    def encoded(self, accept: str = "") -> tuple[bytes, str]:
        """Those of this process; see `written`."""
        return _encoded(list(self._own()), accept, None)

    async def written(self, accept: str = "", of_all: Mapping[str, float] | None = None) -> tuple[bytes, str]:
        """All of them, as Prometheus's text or as OpenMetrics, and which of them it is; many beside the event loop.

        Args:
            accept: what the client takes.
            of_all: what they are for all processes together; this one's own are told otherwise.
        """
        families = self._families if of_all else list(self._own())
        numbers = len(of_all) if of_all else sum(len(family.samples) for family in families)
        return await aside(_BYTES * numbers, _encoded, families, accept, of_all)

    def _add(self, source: Source, of_all: OfAll) -> None:
        self._sources.append(source)
        for family in source.collect():
            if family.name in self._of_all:
                raise ValueError(f"{family.name} is there already")
            self._of_all[family.name] = of_all
            self._families.append(Metric(family.name, family.documentation, family.type))

    def _own(self) -> Iterator[Metric]:
        for source in self._sources:
            yield from source.collect()


class _Read:
    """Numbers that their owner is asked for."""

    def __init__(
        self, name: str, meaning: str, labels: tuple[str, ...], read: Callable[[], Labelled], *, grows: bool
    ) -> None:
        self._name = name
        self._meaning = meaning
        self._labels = labels
        self._read = read
        self._grows = grows
        self._asked = False

    def collect(self) -> Iterator[Metric]:
        """Nobody is asked when it is registered: its owner may not be ready."""
        family = Metric(self._name, self._meaning, "counter" if self._grows else "gauge")
        if self._asked:
            for said, value in self._read().items():
                family.add_sample(
                    f"{self._name}_total" if self._grows else self._name,
                    dict(zip(self._labels, said, strict=True)),
                    float(value),
                )
        self._asked = True
        yield family


class _Told:
    """Families as a collector."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Them."""
        return iter(self._families)


def _encoded(families: list[Metric], accept: str, of_all: Mapping[str, float] | None) -> tuple[bytes, str]:
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(_whole(families, of_all) if of_all else families))
    return encode(registry), content_type


def _whole(own: Iterable[Metric], of_all: Mapping[str, float]) -> list[Metric]:
    """The same families with the numbers of all processes; those that this one has not have their places too."""
    families = {family.name: Metric(family.name, family.documentation, family.type) for family in own}
    for name, value in of_all.items():
        plain, labels = parted(name)
        found = families.get(plain) or families.get(_without_suffix(plain))
        if found is not None:
            found.add_sample(plain, dict(labels), value)
    return list(families.values())


def _without_suffix(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)
