"""How much of each scenario to run."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Plan:
    """Rounds and options of each scenario, and which targets to leave out of which."""

    rounds: dict[str, int]
    steady: dict[str, Any]
    calls: dict[str, Any]
    burst: dict[str, Any]
    without: dict[str, tuple[str, ...]] = field(default_factory=dict)


FULL = Plan(
    rounds={"burst": 3, "steady": 5, "calls": 5},
    steady={"streams": 100, "every": 0.02, "ramp": 1.0, "window": 3.0},
    calls={"count": 500, "block": 25},
    burst={"streams": 1000, "every": 2.0, "tokens": 2},
)
QUICK = Plan(
    rounds={"burst": 1, "steady": 2, "calls": 2},
    steady={"streams": 100, "every": 0.02, "ramp": 0.6, "window": 0.8},
    calls={"count": 250, "block": 25},
    burst={"streams": 1000, "every": 1.25, "tokens": 2},
    without={"burst": ("direct", "nginx")},
)
# The burst comes first: its memory is that of a service which has not grown yet.
SCENARIOS = ("burst", "steady", "calls")
