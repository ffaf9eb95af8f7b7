"""Builds what gives the leases."""

from __future__ import annotations

from typing import Protocol

from mlops_backend.config import Settings
from mlops_backend.services.llm.leases.leases import Leases
from mlops_backend.services.llm.leases.lessor import Lessor, queue_bounds
from mlops_backend.services.llm.leases.of_workers import WorkersLeases
from mlops_backend.shared import Shared
from mlops_backend.telemetry.metrics import Metrics


def build_leases(settings: Settings, metrics: Metrics, shared: Shared | None = None) -> Lessor:
    """What gives the leases; whoever has it opens it before the first one, and closes it after the last.

    Args:
        settings: `REDIS_URL` decides over whom a backend's bound holds.
        metrics: where the numbers go.
        shared: its place among several workers, whose parent gives the leases where Redis does not.
    """
    bounds = queue_bounds(settings)
    local: Lessor = Leases(bounds) if shared is None else WorkersLeases(bounds, shared)
    numbers: _Numbers = _Local()
    leases = local
    if address := settings.redis_url.get_secret_value():
        # See the limits' wiring.
        from mlops_backend.services.llm.leases.redis_leases import RedisLeases

        leases = numbers = RedisLeases(address, local)
    says = "1 while Redis has the leases, or none is used."
    metrics.gauge("leases_redis_up", says, lambda: numbers.redis_up, of_all="least")
    metrics.counter("leases_without_redis", "Leases given while Redis was away.", lambda: numbers.without_redis)
    return leases


class _Numbers(Protocol):
    @property
    def redis_up(self) -> bool: ...

    @property
    def without_redis(self) -> int: ...


class _Local:
    redis_up, without_redis = True, 0
