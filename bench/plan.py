"""How much of each scenario to run."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """Rounds and options of each scenario; `reference` is in how many rounds direct and nginx take part.

    The bare relay and the service are compared, so they need many short rounds; the others are there to be seen.
    The calls need `direct` in every round.
    """

    rounds: dict[str, int]
    reference: dict[str, int]
    steady: dict[str, Any]
    calls: dict[str, Any]
    burst: dict[str, Any]


FULL = Plan(
    rounds={"burst": 4, "steady": 10, "calls": 6},
    reference={"burst": 1, "steady": 3, "calls": 6},
    steady={"streams": 100, "every": 0.02, "ramp": 1.0, "window": 2.0},
    calls={"count": 500, "block": 25},
    burst={"streams": 1000, "every": 2.0, "tokens": 2},
)
QUICK = Plan(
    rounds={"burst": 1, "steady": 3, "calls": 2},
    reference={"burst": 0, "steady": 1, "calls": 2},
    steady={"streams": 100, "every": 0.02, "ramp": 0.6, "window": 0.8},
    calls={"count": 250, "block": 25},
    burst={"streams": 1000, "every": 1.25, "tokens": 2},
)
# The burst comes first: its memory is that of a service which has not grown yet.
SCENARIOS = ("burst", "steady", "calls")
