"""Failed keys of all workers of one service, counted by their parent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic_ns
from typing import Any, Final

from mlops_backend.principal import Rate
from mlops_backend.services.other.limits.failed_keys import FailedKeys
from mlops_backend.shared import Hears, Shared

FAILED: Final = "failed_keys.count"
BLOCKED: Final = "failed_keys.blocked"


def _clock() -> int:
    """Microseconds that all processes of a machine count alike."""
    return monotonic_ns() // 1000


class ParentFailedKeys:
    """The parent's side: counts, and has every worker know who has to wait before the one that asked is answered.

    Args:
        hears: takes the handler of what workers ask.
        news: tells all workers but one, and comes back when they have heard.
        rate: how often an address may fail.
        clock: microseconds, as the workers have them.
    """

    def __init__(
        self,
        hears: Hears,
        news: Callable[[str, Any, Any], Awaitable[Any]],
        rate: Rate,
        clock: Callable[[], int] = _clock,
    ) -> None:
        self._failed = FailedKeys(rate, clock)
        self._news = news
        hears.on(FAILED, self._count, str)

    async def _count(self, worker: object, address: str) -> tuple[float | None, int]:
        wait = await self._failed.count(address)
        arrival = self._failed.arrival(address)
        if wait is None and self._failed.blocked(address) is not None:
            await self._news(BLOCKED, (address, arrival), worker)
        return wait, arrival


class WorkersFailedKeys(FailedKeys):
    """A worker's side: it has the parent count, and knows itself who has to wait."""

    def __init__(self, shared: Shared, rate: Rate, clock: Callable[[], int] = _clock) -> None:
        super().__init__(rate, clock)
        self._parent = shared.parent
        shared.hears.on(BLOCKED, self._blocked, tuple[str, int])

    async def count(self, address: str) -> float | None:
        """Count a failure of all workers, unless the address is blocked: then the seconds until it may try again."""
        if (wait := self.blocked(address)) is not None:
            return wait
        counted: tuple[float | None, int] = await self._parent.ask(FAILED, address)
        wait, arrival = counted
        self.learn(address, arrival)
        return wait

    def _blocked(self, _: object, told: tuple[str, int]) -> None:
        self.learn(*told)
