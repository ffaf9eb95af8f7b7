"""Builds the services of limits."""

from __future__ import annotations

from typing import Any

from mlops_backend.config import Settings
from mlops_backend.days import Calendar
from mlops_backend.services.other.limits.byte_budget import ByteBudget
from mlops_backend.services.other.limits.failed_keys import FailedKeys
from mlops_backend.services.other.limits.left import LimitsLeft
from mlops_backend.services.other.limits.limiter import Limiter, Seed
from mlops_backend.services.other.limits.memory import MemoryLimiter
from mlops_backend.services.other.limits.parent_failed_keys import WorkersFailedKeys
from mlops_backend.services.other.limits.parent_limiter import ParentLimiter
from mlops_backend.services.other.limits.routes import RouteLimiter
from mlops_backend.services.registry import Services
from mlops_backend.shared import Shared
from mlops_backend.telemetry.metrics import Metrics


def build_limits(services: Services, settings: Settings, spent: Seed, shared: Shared | None = None) -> Limiter:
    """The limiter of generations, and that of routes; what comes back is opened by the lifespan.

    Args:
        services: where they go.
        settings: `REDIS_URL` decides where the counts are.
        spent: tells what a key has used of its budgets already.
        shared: its place among several workers, whose parent counts for all where Redis does not.
    """
    limiter = _limiter(settings, spent, shared, services.get(Calendar))
    services.add(RouteLimiter(limiter))
    services.add(LimitsLeft(limiter))
    bodies = services.add(budget_of_bodies(settings))
    metrics = services.get(Metrics)
    metrics.gauge("body_bytes", "Bytes of request bodies in memory.", lambda: bodies.held)
    metrics.gauge("redis_up", "1 while Redis answers, or none is used.", lambda: limiter.redis_up, of_all="least")
    metrics.counter("limits_unchecked", "Generations let through without Redis.", lambda: limiter.failed_open)
    metrics.counter("limits_refused", "Generations refused without Redis.", lambda: limiter.failed_closed)
    metrics.gauge("settlements_waiting", "Ends that Redis does not know yet.", lambda: limiter.pending_settlements)
    metrics.counter("settlements_dropped", "Ends that Redis never heard of.", lambda: limiter.dropped_settlements)
    return limiter


def build_failed_keys(settings: Settings, shared: Shared | None = None) -> FailedKeys | None:
    """Counts unknown keys by address; None when `AUTH_FAILURE_LIMIT` is off."""
    if not settings.auth_failure_limit:
        return None
    if shared is not None:
        return WorkersFailedKeys(shared, settings.auth_failure_limit)
    return FailedKeys(settings.auth_failure_limit)


def budget_of_bodies(settings: Settings) -> ByteBudget:
    """There is room for one body of the largest size, whatever the settings say."""
    per_key = max(settings.body_memory_per_key, settings.max_body_bytes)
    return ByteBudget(max(settings.body_memory, per_key), per_key)


def _limiter(settings: Settings, spent: Seed, shared: Shared | None, calendar: Calendar) -> Limiter:
    choices: dict[str, Any] = {
        "default_reserve": settings.token_reserve,
        "budgets_fail_open": settings.budgets_fail_open,
        "calendar": calendar,
    }
    if not (address := settings.redis_url.get_secret_value()):
        if shared is not None:
            return ParentLimiter(shared, spent, default_reserve=settings.token_reserve, calendar=calendar)
        return MemoryLimiter(spent, **choices)
    # Redis's client is 8 MB, which most installations need not spend.
    from mlops_backend.services.other.limits.redis_limiter import RedisLimiter

    return RedisLimiter(address, spent, **choices)
