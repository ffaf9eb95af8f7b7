"""Kept answers in the memory of one process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from mlops_backend.services.other.response_cache.entry import Entry


class MemoryKeeper:
    """Keeps them itself; see `Keeper`. Those make room that nobody has asked for the longest.

    Args:
        ttl: seconds for which one is kept.
        most: bytes of all of them.
        clock: seconds that only grow.
    """

    def __init__(self, ttl: float, most: int, clock: Callable[[], float] = monotonic) -> None:
        self._ttl, self._most, self._clock = ttl, most, clock
        self._kept: OrderedDict[str, tuple[Entry, float]] = OrderedDict()
        self.bytes = 0

    @property
    def entries(self) -> int:
        """How many are kept."""
        return len(self._kept)

    async def get(self, name: str) -> Entry | None:
        """See `Keeper.get`."""
        found = self._kept.get(name)
        if found is None:
            return None
        entry, until = found
        if until <= self._clock():
            self._drop(name)
            return None
        self._kept.move_to_end(name)
        return entry

    async def put(self, name: str, entry: Entry) -> None:
        """See `Keeper.put`."""
        self._drop(name)
        if entry.size > self._most:
            return
        while self.bytes + entry.size > self._most:
            self._drop(next(iter(self._kept)))
        self._kept[name] = entry, self._clock() + self._ttl
        self.bytes += entry.size

    async def open(self) -> None:
        """Nothing is needed."""

    async def aclose(self) -> None:
        """Nothing is held elsewhere."""

    def _drop(self, name: str) -> None:
        if (found := self._kept.pop(name, None)) is not None:
            self.bytes -= found[0].size
