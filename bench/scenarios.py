"""The measurements of one run: each job visits the targets in another order, with a fresh load generator."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from bench.figures import Round
from bench.jobs import Jobs
from bench.machine import resident_bytes
from bench.plan import Plan
from bench.stage import Stage


@dataclass
class Measured:
    """Everything that was measured, round by round; `elsewhere` and `pulse` tell of the machine at each job."""

    idle_resident: dict[str, int] = field(default_factory=dict)
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    elsewhere: list[float] = field(default_factory=list)
    pulse: list[float] = field(default_factory=list)


def measure(plan: Plan, only: Collection[str], stage: Stage, jobs: Jobs) -> Measured:
    """Run the scenarios, or `only` some; memory at idle is looked at before any load but that of the warm-up."""
    jobs.warm_up(plan, stage)
    found = Measured({target.name: resident_bytes(target.pid) for target in stage.visits("idle", 0)})
    for scenario in plan.jobs:
        if not only or scenario in only:
            _run(plan, scenario, stage, jobs, found)
    found.elsewhere, found.pulse = jobs.elsewhere, jobs.pulse
    return found


def _run(plan: Plan, scenario: str, stage: Stage, jobs: Jobs, found: Measured) -> None:
    options: dict[str, Any] = getattr(plan, scenario)
    for number in range(plan.jobs[scenario]):
        jobs.say(f"{scenario}: {number + 1} of {plan.jobs[scenario]}")
        for name, rounds in jobs.run(scenario, stage.visits(scenario, number), options).items():
            found.rounds.setdefault(name, []).extend(rounds)
