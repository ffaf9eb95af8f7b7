"""Two workers beside one: how many tokens a second they carry when both cores are full.

The clients and the upstream need the cores too. So each token's cost to the service is measured while every core is
full (`bench.lockstep`), and the tokens a second are those which the cores would carry if the service had them alone:
one worker has one core, two have two. What the parent of two workers uses counts with theirs. The tokens a second as
they ran, with the load beside them, are told as well, and how evenly the streams were spread.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil

from bench import lockstep
from bench.builds import Build
from bench.families import OPENAI_ROUTE, SERVER
from bench.figures import Round
from bench.lockstep import Result
from bench.processes import free_port, running
from bench.report import Row, compared, ratios, told, with_results
from bench.rivals import DIRECT, serving
from bench.wire import Address

SETTING = "WORKERS"
ONE, TWO = "one", "two"
CORES = {ONE: 1, TWO: 2}
BOUND = 1.8
STREAMS = 100
TITLE = "workers: two beside one, 100 streams each, no token under way but one a stream"
JOB_TIME = 150.0
PLAN = {"streams": STREAMS, "length": 1.0, "rounds": 14}


def impossible(build: Build) -> str:
    """Return why it cannot be measured here, or nothing."""
    if not build.knows(SETTING):
        return f"this build has no setting {SETTING}"
    if (os.cpu_count() or 1) < CORES[TWO]:
        return "this machine has one core"
    return ""


def measured(build: Build, folder: Path) -> Result:
    """Run one service with one worker and one with two, in turns."""
    with _staged(build, folder) as (load, targets):
        found = [{"address": asdict(target), "pids": tree(target.pid)} for target in targets]
        return lockstep.ask(load.port, {"targets": found, **PLAN}, JOB_TIME)


@contextmanager
def _staged(build: Build, folder: Path) -> Iterator[tuple[Address, Sequence[Address]]]:
    with ExitStack() as stack:
        port = free_port()
        command = [sys.executable, "-m", "bench.lockstep", "--port", str(port)]
        address = Address(DIRECT, port, OPENAI_ROUTE.path, OPENAI_ROUTE.path, family_name=OPENAI_ROUTE.name)
        load = stack.enter_context(running(address, command, folder, {}))
        services = [
            stack.enter_context(serving(build, name, SERVER, port, folder, {SETTING: str(count)}))
            for name, count in CORES.items()
        ]
        yield load, services


def tree(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def busiest(spread: Sequence[int]) -> float:
    """Return which part of all streams the busiest process holds."""
    return max(spread) / sum(spread)


def rows_of(result: Result) -> list[Row]:
    """Return the rows: the tokens a second that the cores carry, each token's cost, and how it went as it ran."""
    rounds, share = result["rounds"], busiest(result["spread"][TWO])
    cost = _values(rounds, "cpu_per_token_us")
    carried = {name: [CORES[name] * 1e6 / value for value in values] for name, values in cost.items()}
    uneven = [value / share / CORES[TWO] for value in ratios(TWO, ONE, carried)]
    spread = {TWO: [share * 100]}
    return [
        compared("tokens/s at full cores, load taken out", carried, TWO, ONE, 0, least=BOUND, promise="workers"),
        with_results(Row("  the same, as the streams were spread", {}, {}), "ratio", uneven),
        compared("  CPU per token, µs", cost, TWO, ONE, 1),
        compared("  tokens/s as it ran, load beside", _values(rounds, "tokens_per_second"), TWO, ONE, 0),
        told("  the load's CPU per token, µs", _values(rounds, "load_per_token_us"), 1),
        told("  cores busy meanwhile", _values(rounds, "busy"), 2),
        told("  streams of the busiest worker, %", spread, 0),
    ]


def _values(rounds: Sequence[Round], name: str) -> dict[str, list[float]]:
    return {target: [figures[target][name] for figures in rounds] for target in CORES}
