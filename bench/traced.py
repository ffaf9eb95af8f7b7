"""What metrics and traces cost, beside a build without them: `python -m bench.traced --against REV`.

Three services take turns of a few calls, one after the other on a kept connection: the build before, this one as it is
(its metrics are always counted), and this one with a collector for its traces. A processor's speed changes from one
second to the next, so each turn is compared with that of the same round. Spans are sent every five seconds, by a thread
that works on behind the turns: what the whole run has used, less what the service uses when nobody calls, has it too.
"""

import argparse
import asyncio
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from bench import page
from bench.builds import build_of, short_name, this_build
from bench.calls import Side
from bench.families import FAMILIES, Family
from bench.machine import cpu_seconds, describe
from bench.processes import ROOT, STOP_TIME, free_port
from bench.rivals import BEFORE, serving, upstream
from bench.steady import steady
from bench.wire import HOST, Address

METRICS, TRACES = "metrics alone", "metrics and traces"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
BLOCK, ROUNDS = 40, 150
STREAMS = {"streams": 100, "every": 0.02, "ramp": 4.0, "length": 0.1, "cycles": 20, "rounds": 15}
WARM_UP = 600
SETTLED = 6.0  # seconds after which the last spans have been sent
IDLE = 3.0  # seconds over which a service that nobody calls is watched
BOUNDS = {"call": 1.15, "token": 1.05}
TITLES = {
    "call": "CPU per call, µs",
    "whole": "… of the whole run, sending included",
    "token": "CPU per token of 100 streams, µs",
}


@dataclass
class Found:
    """A family's figures by target: microseconds of CPU, of a call in each round, in the whole run, and of a token."""

    call: dict[str, list[float]] = field(default_factory=dict)
    whole: dict[str, list[float]] = field(default_factory=dict)
    token: dict[str, list[float]] = field(default_factory=dict)

    def ratio(self, kind: str, name: str) -> float:
        """Return the median of the rounds' ratios, beside the build before."""
        told: dict[str, list[float]] = getattr(self, kind)
        return statistics.median(own / before for own, before in zip(told[name], told[BEFORE], strict=True))


@contextmanager
def collecting(folder: Path) -> Iterator[str]:
    """Run a collector, and give its address; at the end something has been sent to it."""
    port = free_port()
    address = f"http://{HOST}:{port}"
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "bench.collector", "--port", str(port)], cwd=ROOT, stderr=log)
    try:
        _taken(address)
        yield address
        if not _taken(address):
            raise SystemExit("no span was sent to the collector; are the packages of traces installed?")
    finally:
        process.terminate()
        process.wait(STOP_TIME)


def _taken(address: str) -> int:
    """Return how often something was sent to a collector, once it answers."""
    for _ in range(200):
        try:
            with urlopen(address) as answer:
                return int(answer.read())
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the collector does not answer")


def measured(addresses: Sequence[Address], rounds: int) -> Found:
    """Return what calls cost, in turns and in the whole run, and then what tokens do."""
    found, sides = Found(), [Side(address) for address in addresses]
    for side in sides:
        side.take_turn(WARM_UP)
        side.take()
    time.sleep(SETTLED)
    idle = _spent(addresses, IDLE)
    begun, since = [cpu_seconds(address.pid) for address in addresses], time.monotonic()
    for number in range(rounds):
        turn = number % len(sides)
        for side in [*sides[turn:], *sides[:turn]]:
            side.take_turn(BLOCK)
            found.call.setdefault(side.name, []).append(side.take()["cpu_per_call_us"])
    time.sleep(SETTLED)
    took = time.monotonic() - since
    for address, before, rate in zip(addresses, begun, idle, strict=True):
        used = cpu_seconds(address.pid) - before - rate * took
        found.whole[address.name] = [used / (rounds * BLOCK) * 1e6]
    for side in sides:
        side.caller.close()
    for figures in asyncio.run(steady(addresses, **STREAMS))["steady"]:
        for name, of in figures.items():
            found.token.setdefault(name, []).append(of["cpu_per_token_us"])
    return found


def _spent(addresses: Sequence[Address], seconds: float) -> list[float]:
    """Return the part of a processor that each service uses when nobody calls."""
    before = [cpu_seconds(address.pid) for address in addresses]
    time.sleep(seconds)
    return [(cpu_seconds(address.pid) - used) / seconds for address, used in zip(addresses, before, strict=True)]


def of_family(family: Family, revision: str, rounds: int) -> Found:
    """Run the three, and measure them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        collector = stack.enter_context(collecting(folder))
        tree = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        before, now = stack.enter_context(build_of(revision, tree, say)), this_build()
        direct = stack.enter_context(upstream(family, folder))
        addresses = [
            stack.enter_context(serving(build, name, family, direct.port, folder, more))
            for build, name, more in (
                (before, BEFORE, {}),
                (now, METRICS, {}),
                (now, TRACES, {ENDPOINT: collector}),
            )
        ]
        return measured(addresses, rounds)


def table(title: str, found: Found) -> str:
    """Return a family's figures, as a page has them."""
    lines = [f"| {title} | {BEFORE} | {METRICS} | {TRACES} | bound |", "|---|---|---|---|---|"]
    for kind, words in TITLES.items():
        told: dict[str, list[float]] = getattr(found, kind)
        ours = [f"{statistics.median(told[n]):.1f}, × {found.ratio(kind, n):.2f}" for n in (METRICS, TRACES)]
        bound = f"≤ {BOUNDS[kind]} ×" if kind in BOUNDS else ""
        lines.append(f"| {words} | {statistics.median(told[BEFORE]):.1f} | {' | '.join(ours)} | {bound} |")
    return "\n".join(lines)


def holds(found: Found) -> bool:
    """Whether metrics and traces together stay within the bounds."""
    return all(found.ratio(kind, TRACES) <= most for kind, most in BOUNDS.items())


def say(text: str) -> None:
    """Tell how far it has come."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run from the command line; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.traced", description=__doc__)
    parser.add_argument("--against", metavar="REV", required=True)
    parser.add_argument("--family", nargs="+", choices=list(FAMILIES), default=["openai", "ollama"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    # Told to stop, it still stops what it has started, and takes the worktree away.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    revision = short_name(options.against)
    found = {name: of_family(FAMILIES[name], revision, options.rounds) for name in options.family}
    machine = "{date}, {cpus} CPUs ({cpu_model}), Python {python}, {system}".format(**describe())
    tables = [table(page.NAMED.get(name, FAMILIES[name].title), figures) for name, figures in found.items()]
    text = "\n\n".join([f"{machine}; the build before is {revision}.", *tables])
    print(text)
    if options.write_docs:
        page.PAGE.write_text(page.with_part(page.PAGE.read_text("utf-8"), "traced", text), "utf-8")
    sys.exit(not all(map(holds, found.values())))


if __name__ == "__main__":
    main()
