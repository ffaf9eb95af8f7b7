"""What is asked of whoever gives leases, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from mlops_backend.config import Settings

# Seconds after which one of the class `batch` does not give way any more.
_AGED: Final = 30.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many may wait, and for how long.

    Args:
        waiting: all together.
        of_key: of one key.
        seconds: one of them.
        aged_after: seconds after which one of the class `batch` does not give way any more.
    """

    waiting: int
    of_key: int
    seconds: float
    aged_after: float


def queue_bounds(settings: Settings) -> Bounds:
    """The bounds that the operator set."""
    return Bounds(settings.max_queue, settings.max_queue_per_key, settings.queue_timeout, _AGED)


@dataclass(frozen=True, slots=True)
class Asking:
    """Who wants a lease: whose it is, of what class and weight, and what it costs, in tokens, to be told when asked.

    `waited` are the seconds that it has waited before, for a backend that then could not serve it.
    """

    key: str
    cost: Callable[[], float]
    batch: bool = False
    weight: float = 1.0
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """One of a key that waits: so many are before it, and it is to be expected to wait for so many seconds more."""

    batch: bool
    ahead: int
    waited: float
    expected: float
    key: str


@dataclass(frozen=True, slots=True)
class Standing:
    """One backend: its name, its leases, its bound, and how many wait who would take a slot of it."""

    name: str
    taken: int
    most: int | None
    waiting: int


@dataclass(frozen=True, slots=True)
class View:
    """The queue as it is shown: how many wait, the places that were asked for, and the backends."""

    waiting: int
    places: Sequence[Place]
    backends: Sequence[Standing]

    def of(self, key: str) -> Sequence[Place]:
        """Those places that are a key's."""
        return [place for place in self.places if place.key == key]


class Lease:
    """A slot of one backend, until it is given back, which may be said more than once.

    Args:
        name: the backend's.
        back: called once, when it is given back.
    """

    __slots__ = ("_back", "name")

    def __init__(self, name: str, back: Callable[[], None]) -> None:
        self.name = name
        self._back: Callable[[], None] | None = back

    def give_back(self) -> None:
        """Give the slot to who is next."""
        if self._back is not None:
            back, self._back = self._back, None
            back()


@runtime_checkable
class Lessor(Protocol):
    """Gives leases, be it of this process or of all workers together."""

    @property
    def bounds(self) -> Bounds:
        """Of the queue."""
        ...

    def __len__(self) -> int:
        """How many of this process wait."""
        ...

    def use(self, most: dict[str, int | None]) -> None:
        """See `Leases.use`."""
        ...

    def taken(self, name: str) -> int:
        """How many leases of a backend this process has."""
        ...

    def most(self, name: str) -> int | None:
        """How many there may be; `None`: as many as come."""
        ...

    def at_once(self, names: Sequence[str]) -> Lease | None:
        """See `Leases.at_once`."""
        ...

    def hold(self, name: str) -> Lease:
        """See `Leases.hold`."""
        ...

    async def take(self, names: Sequence[str], asking: Asking) -> Lease:
        """See `Leases.take`."""
        ...

    async def view(self, key: str | None) -> View:
        """See `Leases.view`."""
        ...

    async def open(self) -> None:
        """Begin; what is asked before is asked in vain."""
        ...

    async def aclose(self) -> None:
        """End, when nobody has a lease any more."""
        ...
