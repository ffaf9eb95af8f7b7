"""The measurements of one run: each round visits every target, in a turning order, with fresh generators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.jobs import Jobs, Round
from bench.machine import resident_bytes
from bench.plan import SCENARIOS, Plan
from bench.wire import Address

COMPARED = ("bare", "service")


@dataclass
class Measured:
    """Everything that was measured, round by round; `elsewhere` is how many CPUs others used in each job."""

    idle_resident: dict[str, int] = field(default_factory=dict)
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    elsewhere: list[float] = field(default_factory=list)


def measure(plan: Plan, only: str | None, targets: Sequence[Address], jobs: Jobs) -> Measured:
    """Run the scenarios; memory at idle is looked at before any load but a few calls."""
    jobs.warm_up(targets)
    found = Measured({target.name: resident_bytes(target.pid) for target in targets})
    for scenario in SCENARIOS:
        if only in (None, scenario):
            found.rounds[scenario] = _rounds(plan, scenario, targets, jobs)
    found.elsewhere = jobs.elsewhere
    return found


def _rounds(plan: Plan, scenario: str, targets: Sequence[Address], jobs: Jobs) -> list[Round]:
    options: dict[str, Any] = getattr(plan, scenario)
    rounds = []
    for number in range(plan.rounds[scenario]):
        jobs.say(f"{scenario}: round {number + 1} of {plan.rounds[scenario]}")
        compared = [target for target in targets if target.name in COMPARED]
        visited = targets if number < plan.reference[scenario] else compared
        turn = number % max(len(visited), 1)
        rounds.append(_round(scenario, [*visited[turn:], *visited[:turn]], options, jobs))
    return rounds


def _round(scenario: str, targets: Sequence[Address], options: Mapping[str, Any], jobs: Jobs) -> Round:
    if scenario == "calls":
        return jobs.run(scenario, targets, options)
    measured: Round = {}
    for target in targets:
        measured |= jobs.run(scenario, [target], options)
    return measured
