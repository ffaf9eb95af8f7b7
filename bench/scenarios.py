"""The measurements of one run: each job visits the targets in another order, with a fresh load generator."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.figures import Round
from bench.jobs import Jobs
from bench.machine import resident_bytes
from bench.plan import SCENARIOS, Plan
from bench.wire import Address

COMPARED = ("bare", "service")


@dataclass
class Measured:
    """Everything that was measured, round by round; `elsewhere` and `pulse` tell of the machine at each job."""

    idle_resident: dict[str, int] = field(default_factory=dict)
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    elsewhere: list[float] = field(default_factory=list)
    pulse: list[float] = field(default_factory=list)


def measure(plan: Plan, only: str | None, targets: Sequence[Address], jobs: Jobs) -> Measured:
    """Run the scenarios; memory at idle is looked at before any load but a few calls."""
    jobs.warm_up(targets)
    found = Measured({target.name: resident_bytes(target.pid) for target in targets})
    for scenario in SCENARIOS:
        if only in (None, scenario):
            _run(plan, scenario, targets, jobs, found)
    found.elsewhere, found.pulse = jobs.elsewhere, jobs.pulse
    return found


def _run(plan: Plan, scenario: str, targets: Sequence[Address], jobs: Jobs, found: Measured) -> None:
    options: dict[str, Any] = getattr(plan, scenario)
    for number in range(plan.jobs[scenario]):
        jobs.say(f"{scenario}: {number + 1} of {plan.jobs[scenario]}")
        visited = targets
        if scenario == "burst" and number >= plan.reference:
            visited = [target for target in targets if target.name in COMPARED]
        turn = number % max(len(visited), 1)
        for name, rounds in jobs.run(scenario, [*visited[turn:], *visited[:turn]], options).items():
            found.rounds.setdefault(name, []).extend(rounds)
