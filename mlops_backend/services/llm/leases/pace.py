"""How long generations take: what a wait is worth is told by what the last ones took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# What the wait is taken to be where no generation has ended yet, in seconds.
_UNKNOWN: Final = 1.0
# How much of what is known the last one replaces: five or so tell.
_NEW: Final = 0.2
_MOST_NAMES: Final = 1000


class Pace:
    """A moving mean for each backend, of the seconds that its leases lasted."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def ended(self, name: str, seconds: float) -> None:
        """One has ended."""
        before = self._means.get(name)
        self._means[name] = seconds if before is None else before + _NEW * (seconds - before)
        if len(self._means) > _MOST_NAMES:
            del self._means[next(iter(self._means))]

    def of(self, names: Iterable[str]) -> float | None:
        """The mean over some backends; `None` where none of them has ended anything."""
        known = [self._means[name] for name in names if name in self._means]
        return sum(known) / len(known) if known else None

    def expected(self, names: Iterable[str], slots: int, ahead: int) -> float:
        """Seconds until it comes to one with so many before it, who waits for any of so many slots of these."""
        took = self.of(names)
        return (ahead + 1) * (_UNKNOWN if took is None else took) / (slots or 1)
