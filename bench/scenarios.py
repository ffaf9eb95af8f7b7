"""The measurements of one run: each round visits every target, in a turning order, with fresh generators."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.machine import resident_bytes
from bench.processes import ROOT
from bench.wire import Address

Figures = dict[str, Any]
Round = dict[str, Figures]
Progress = Callable[[str], None]
JOB_TIME = 180.0


@dataclass(frozen=True)
class Plan:
    """How much of each scenario to run."""

    rounds: dict[str, int]
    steady: dict[str, Any]
    calls: dict[str, Any]
    burst: dict[str, Any]


FULL = Plan(
    rounds={"steady": 5, "calls": 5, "burst": 3},
    steady={"streams": 100, "every": 0.02, "ramp": 1.0, "window": 4.0},
    calls={"count": 500, "block": 25},
    burst={"streams": 1000, "every": 2.0, "tokens": 4},
)
QUICK = Plan(
    rounds={"steady": 2, "calls": 2, "burst": 1},
    steady={"streams": 100, "every": 0.02, "ramp": 0.5, "window": 1.2},
    calls={"count": 250, "block": 25},
    burst={"streams": 1000, "every": 2.0, "tokens": 2},
)
SCENARIOS = ("steady", "calls", "burst")


@dataclass
class Measured:
    """Everything that was measured, round by round."""

    idle_resident: dict[str, int] = field(default_factory=dict)
    rounds: dict[str, list[Round]] = field(default_factory=dict)


def measure(plan: Plan, only: str | None, targets: Mapping[str, Address], say: Progress) -> Measured:
    """Run the scenarios; memory is looked at before any load, and the burst comes first: it is fresh then."""
    found = Measured()
    addresses = list(targets.values())
    _job("calls", addresses, {"count": 25, "block": 5})
    found.idle_resident = {address.name: resident_bytes(address.pid) for address in addresses}
    for scenario in ("burst", "steady", "calls"):
        if only in (None, scenario):
            found.rounds[scenario] = _rounds(plan, scenario, addresses, say)
    return found


def _rounds(plan: Plan, scenario: str, addresses: Sequence[Address], say: Progress) -> list[Round]:
    options: dict[str, Any] = getattr(plan, scenario)
    rounds = []
    for number in range(plan.rounds[scenario]):
        say(f"{scenario}: round {number + 1} of {plan.rounds[scenario]}")
        turn = number % len(addresses)
        ordered = [*addresses[turn:], *addresses[:turn]]
        rounds.append(_round(scenario, ordered, options))
    return rounds


def _round(scenario: str, addresses: Sequence[Address], options: Mapping[str, Any]) -> Round:
    if scenario == "calls":
        return _job(scenario, addresses, options)
    measured: Round = {}
    for address in addresses:
        measured |= _job(scenario, [address], options)
    return measured


def _job(scenario: str, addresses: Sequence[Address], options: Mapping[str, Any]) -> Round:
    job = {"scenario": scenario, "addresses": [asdict(address) for address in addresses], "options": options}
    command = [sys.executable, "-m", "bench.load", json.dumps(job)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=JOB_TIME, check=False)
    if done.returncode:
        raise SystemExit(f"{scenario} failed:\n{done.stderr.decode(errors='replace')}")
    result: Round = json.loads(done.stdout)
    return result
