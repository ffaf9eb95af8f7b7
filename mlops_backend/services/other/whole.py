"""The service as one, whichever of its processes is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlops_backend.errors import Unavailable
from mlops_backend.shared import Shared
from mlops_backend.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class State:
    """Whether it stops, and whether a part of it is missing."""

    stopping: bool
    degraded: bool


class Whole:
    """Its numbers and its state; of this process alone where there is no other, or the parent does not answer.

    Args:
        metrics: of this process.
        state: of this process.
        shared: its place among several workers.
    """

    def __init__(self, metrics: Metrics, state: Callable[[], State], shared: Shared | None) -> None:
        self._metrics = metrics
        self._state = state
        self._shared = shared
        metrics.gauge("workers", "Processes that serve.", lambda: 1)
        if shared is not None:
            shared.hears.on("numbers", lambda _, __: metrics.told())
            shared.hears.on("state", self._told)

    async def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """All numbers, as Prometheus's text or OpenMetrics, whichever is accepted, and which of them it is."""
        return await self._metrics.written(accept, await self._numbers())

    async def state(self) -> State:
        """It stops when nobody serves who does not stop; it is degraded when anybody is."""
        if self._shared is None:
            return self._state()
        try:
            return State(*await self._shared.parent.ask("state"))
        except Unavailable:
            return self._state()

    async def _numbers(self) -> Mapping[str, float]:
        if self._shared is None:
            return {}
        try:
            told: Mapping[str, float] = await self._shared.parent.ask("numbers")
        except Unavailable:
            return {}
        return told

    def _told(self, _: object, __: object) -> Sequence[bool]:
        state = self._state()
        return state.stopping, state.degraded
