"""The circuit breakers of all backends; what opens or closes one here is told to the other processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

from mlops_backend.services.llm.routing import Breaker, Leave
from mlops_backend.shared import Shared

TRIPPED: Final = "breakers.tripped"
_CLOSED: Final = (0.0, 0)


class BreakerNews(Protocol):
    """Leads to other processes; what is lost on the way costs no more than time."""

    def on(self, name: str, function: Callable[[Any, Any], Any], kind: Any = Any) -> None:
        """See `Hears.on`."""

    def tell(self, name: str, payload: Any = None) -> None:
        """See `Parent.tell`."""


class BreakersOfWorkers:
    """Leads to those of the other workers, through their parent.

    Args:
        shared: leads there.
    """

    def __init__(self, shared: Shared) -> None:
        self.on, self.tell = shared.hears.on, shared.parent.tell


class Breakers:
    """A breaker for each backend, by its name.

    Args:
        news: lead to the other processes.
        make: makes one.
    """

    def __init__(self, news: Sequence[BreakerNews] = (), make: Callable[[], Breaker] = Breaker) -> None:
        self._breakers: defaultdict[str, Breaker] = defaultdict(make)
        self._news = news
        self.heard = 0
        for each in news:
            each.on(TRIPPED, lambda _, told: self._hear(*told), tuple[str, float, int])

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._breakers)

    def __getitem__(self, name: str) -> Breaker:
        """That of a backend."""
        return self._breakers[name]

    def find(self, name: str) -> Breaker | None:
        """The same, where that was ever asked."""
        return self._breakers.get(name)

    def __iter__(self) -> Iterator[Breaker]:
        """All of them."""
        return iter(self._breakers.values())

    def keep(self, names: Iterable[str]) -> None:
        """Forget those of all other backends."""
        for name in self._breakers.keys() - set(names):
            del self._breakers[name]

    def tell(self, name: str, leave: Leave, failed: bool | None) -> None:
        """What became of a leave to ask a backend; see `Leave.tell`."""
        breaker = self._breakers[name]
        before = breaker.trip
        leave.tell(failed)
        after = breaker.trip
        if (before or _CLOSED)[1] != (after or _CLOSED)[1]:
            for each in self._news:
                each.tell(TRIPPED, (name, *(after or _CLOSED)))

    def _hear(self, name: str, seconds: float, openings: int) -> None:
        """Another process has opened one, or closed it."""
        if name not in self._breakers:
            return
        self.heard += 1
        if openings > 0:
            self._breakers[name].tripped(seconds, openings)
        else:
            self._breakers[name].reset()
