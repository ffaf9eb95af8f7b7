"""How much of each scenario to run."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Plan:
    """The options of each scenario, and how many jobs of it to run, in this order.

    `reference` is in how many bursts the targets take part that are not compared: a burst takes seconds a target.
    """

    jobs: dict[str, int]
    reference: int = 0
    steady: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, Any] = field(default_factory=dict)
    burst: dict[str, Any] = field(default_factory=dict)
    exchanges: dict[str, Any] = field(default_factory=dict)


FULL = Plan(
    # The burst comes first: its memory is that of a service which has not grown yet.
    jobs={"burst": 5, "steady": 4, "calls": 4},
    reference=1,
    steady={"streams": 100, "every": 0.02, "ramp": 1.0, "length": 0.1, "cycles": 5, "rounds": 8},
    calls={"block": 50, "cycles": 2, "rounds": 5},
    burst={"streams": 1000, "every": 2.0, "tokens": 2},
)
QUICK = Plan(
    jobs={"burst": 1, "steady": 1, "calls": 1},
    steady={"streams": 100, "every": 0.02, "ramp": 1.0, "length": 0.1, "cycles": 3, "rounds": 5},
    calls={"block": 50, "cycles": 2, "rounds": 4},
    burst={"streams": 1000, "every": 1.25, "tokens": 2},
)
# Even numbers of jobs: in every second one the two processes have changed places.
FULL_CONVERSATIONS = Plan(
    jobs={"burst": 2, "steady": 6, "exchanges": 4},
    steady={"streams": 100, "every": 0.02, "ramp": 1.0, "length": 0.1, "cycles": 5, "rounds": 16},
    burst={"streams": 1000, "every": 2.0, "tokens": 2},
    exchanges={"tokens": 20, "every": 0.001, "block": 10, "cycles": 4, "rounds": 5},
)
QUICK_CONVERSATIONS = Plan(
    jobs={"steady": 2, "exchanges": 2},
    steady={"streams": 100, "every": 0.02, "ramp": 1.0, "length": 0.1, "cycles": 5, "rounds": 7},
    exchanges={"tokens": 20, "every": 0.001, "block": 5, "cycles": 2, "rounds": 4},
)
# A run against another build: short jobs, many rounds.
_TURNS = {"streams": 100, "every": 0.02, "ramp": 1.0, "length": 0.1, "cycles": 3, "rounds": 14}
_CALLS = {"block": 20, "cycles": 3, "rounds": 16}
BESIDE = Plan(jobs={"steady": 1, "calls": 1}, steady=_TURNS, calls=_CALLS)
QUICK_CARRIED = Plan(jobs={"steady": 1, "calls": 1}, steady={**_TURNS, "rounds": 6}, calls={**_CALLS, "rounds": 4})
BESIDE_CALLS = Plan(jobs={"calls": 1}, calls=_CALLS)
BESIDE_OTHERS = Plan(
    jobs={"burst": 16, "steady": 1, "calls": 1},
    steady=_TURNS,
    calls=_CALLS,
    burst={"streams": 100, "every": 0.1, "tokens": 2},
)
BESIDE_STORED = Plan(
    jobs={"burst": 3, "exchanges": 2},
    burst={"streams": 1000, "every": 2.0, "tokens": 2},
    exchanges={"tokens": 20, "every": 0.001, "block": 10, "cycles": 2, "rounds": 6},
)
SCENARIOS = ("burst", "steady", "calls", "exchanges")
WARM_UP: dict[str, dict[str, Any]] = {
    "calls": {"block": 5, "cycles": 5, "rounds": 1},
    "exchanges": {"tokens": 20, "every": 0.001, "block": 5, "cycles": 1, "rounds": 1},
}
