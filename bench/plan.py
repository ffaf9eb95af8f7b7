"""How much of each scenario to run."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """Jobs and options of each scenario; `reference` is in how many bursts direct and nginx take part.

    A burst takes seconds a target, and only the bare relay and the service are compared in it.
    """

    jobs: dict[str, int]
    reference: int
    steady: dict[str, Any]
    calls: dict[str, Any]
    burst: dict[str, Any]


FULL = Plan(
    jobs={"burst": 5, "steady": 4, "calls": 4},
    reference=1,
    steady={"streams": 100, "every": 0.02, "ramp": 1.0, "length": 0.1, "cycles": 5, "rounds": 8},
    calls={"block": 50, "cycles": 2, "rounds": 5},
    burst={"streams": 1000, "every": 2.0, "tokens": 2},
)
QUICK = Plan(
    jobs={"burst": 1, "steady": 1, "calls": 1},
    reference=0,
    steady={"streams": 100, "every": 0.02, "ramp": 1.0, "length": 0.1, "cycles": 3, "rounds": 5},
    calls={"block": 50, "cycles": 2, "rounds": 4},
    burst={"streams": 1000, "every": 1.25, "tokens": 2},
)
# The burst comes first: its memory is that of a service which has not grown yet.
SCENARIOS = ("burst", "steady", "calls")
