"""Runs the load generator, and knows what else the machine was doing meanwhile."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.figures import Round
from bench.machine import busy_seconds, cpu_seconds, own_seconds, pulse
from bench.plan import WARM_UP, Plan
from bench.processes import ROOT
from bench.stage import Stage
from bench.wire import Address

Say = Callable[[str], None]
JOB_TIME = 180.0
LOOK = 0.5  # seconds over which the machine is watched before it counts as quiet
DISTURBED = 0.2  # processors that others use, above which figures on few cores are not to be trusted


class Jobs:
    """Runs one job after the other; for `patience` seconds in all it waits for others, or repeats a disturbed job."""

    def __init__(self, servers: Sequence[Address], patience: float, say: Say) -> None:
        self._servers = servers
        self._patience = patience
        self.say = say
        self.elsewhere: list[float] = []
        self.pulse: list[float] = []

    def run(self, scenario: str, addresses: Sequence[Address], options: Mapping[str, Any]) -> dict[str, list[Round]]:
        """Run one job and return its rounds."""
        while True:
            self._wait_for_quiet()
            self.pulse.append(pulse())
            clock = self._clock()
            result = _run(scenario, addresses, options)
            elsewhere, taken = self._elsewhere(clock)
            if elsewhere <= DISTURBED or self._patience <= 0:
                self.elsewhere.append(elsewhere)
                return result
            self._patience -= taken
            self.say(f"{scenario}: others used {elsewhere:.1f} CPUs; again")

    def warm_up(self, plan: Plan, stage: Stage) -> None:
        """Run a few calls or exchanges with each target, so that what is made on first use exists."""
        for scenario in plan.jobs:
            if scenario in WARM_UP:
                for number in range(2):
                    _run(scenario, stage.visits(scenario, number), WARM_UP[scenario])

    def _wait_for_quiet(self) -> None:
        while self._patience > 0:
            clock = self._clock()
            time.sleep(LOOK)
            elsewhere, taken = self._elsewhere(clock)
            if elsewhere <= DISTURBED:
                return
            self._patience -= taken

    def _clock(self) -> tuple[float, float]:
        """Return the time, and the CPU time that all others have used."""
        ours = own_seconds() + sum(cpu_seconds(server.pid) for server in self._servers)
        return time.monotonic(), busy_seconds() - ours

    def _elsewhere(self, before: tuple[float, float]) -> tuple[float, float]:
        """Return how many CPUs others have used since, and how long that was."""
        now, others = self._clock()
        taken = now - before[0]
        return max(0.0, (others - before[1]) / taken), taken


def _run(scenario: str, addresses: Sequence[Address], options: Mapping[str, Any]) -> dict[str, list[Round]]:
    job = {"scenario": scenario, "addresses": [asdict(address) for address in addresses], "options": options}
    command = [sys.executable, "-m", "bench.load", json.dumps(job)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=JOB_TIME, check=False)
    if done.returncode:
        raise SystemExit(f"{scenario} failed:\n{done.stderr.decode(errors='replace')}")
    result: dict[str, list[Round]] = json.loads(done.stdout)
    return result
