"""Runs the load generator, and knows what else the machine was doing meanwhile."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.machine import busy_seconds, cpu_seconds, own_seconds
from bench.processes import ROOT
from bench.wire import Address

Figures = dict[str, Any]
Round = dict[str, Figures]
Say = Callable[[str], None]
JOB_TIME = 180.0
PAUSE = 2.0
DISTURBED = 0.2  # processors that others use, above which figures on few cores are not to be trusted


class Jobs:
    """Runs one job after the other; a disturbed one again, as long as `retries` last."""

    def __init__(self, servers: Sequence[Address], retries: int, say: Say) -> None:
        self._servers = servers
        self._retries = retries
        self.say = say
        self.elsewhere: list[float] = []

    def run(self, scenario: str, addresses: Sequence[Address], options: Mapping[str, Any]) -> Round:
        """Run one job and return its figures by target."""
        while True:
            begun, busy, ours = time.monotonic(), busy_seconds(), self._ours()
            result = _run(scenario, addresses, options)
            others = (busy_seconds() - busy) - (self._ours() - ours)
            elsewhere = max(0.0, others / (time.monotonic() - begun))
            if elsewhere <= DISTURBED or not self._retries:
                self.elsewhere.append(elsewhere)
                return result
            self._retries -= 1
            self.say(f"{scenario}: others used {elsewhere:.1f} CPUs; again ({self._retries} retries left)")
            time.sleep(PAUSE)

    def warm_up(self, addresses: Sequence[Address]) -> None:
        """Make a few calls to each target, so that what is made on first use exists."""
        _run("calls", addresses, {"count": 25, "block": 5})

    def _ours(self) -> float:
        return own_seconds() + sum(cpu_seconds(server.pid) for server in self._servers)


def _run(scenario: str, addresses: Sequence[Address], options: Mapping[str, Any]) -> Round:
    job = {"scenario": scenario, "addresses": [asdict(address) for address in addresses], "options": options}
    command = [sys.executable, "-m", "bench.load", json.dumps(job)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=JOB_TIME, check=False)
    if done.returncode:
        raise SystemExit(f"{scenario} failed:\n{done.stderr.decode(errors='replace')}")
    result: Round = json.loads(done.stdout)
    return result
