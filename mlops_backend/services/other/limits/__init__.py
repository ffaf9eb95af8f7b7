"""What a key may use, and what is left of it."""

from __future__ import annotations

from mlops_backend.services.other.limits.byte_budget import SMALL, ByteBudget
from mlops_backend.services.other.limits.decision import Standing, headers
from mlops_backend.services.other.limits.failed_keys import FailedKeys
from mlops_backend.services.other.limits.left import LimitsLeft
from mlops_backend.services.other.limits.limiter import Limiter, Reservation
from mlops_backend.services.other.limits.parent_counters import USED, ParentCounters
from mlops_backend.services.other.limits.parent_failed_keys import ParentFailedKeys
from mlops_backend.services.other.limits.routes import RouteLimiter
from mlops_backend.services.other.limits.wiring import budget_of_bodies, build_failed_keys, build_limits

__all__ = [
    "SMALL",
    "USED",
    "ByteBudget",
    "FailedKeys",
    "Limiter",
    "LimitsLeft",
    "ParentCounters",
    "ParentFailedKeys",
    "Reservation",
    "RouteLimiter",
    "Standing",
    "budget_of_bodies",
    "build_failed_keys",
    "build_limits",
    "headers",
]
