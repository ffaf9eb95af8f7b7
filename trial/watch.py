"""The witnesses, in a process of their own: `python -m trial.watch --port P --control C --key K --pid N`.

It makes some generations to warm the service up, says `ready`, watches until its standard input is closed, and tells
what it has seen as one JSON object.
"""

import argparse
import json
import sys
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

from trial.gaps import Gap, own_worst, worst
from trial.helper import until_left_alone
from trial.neighbour import Neighbour
from trial.poller import Poller
from trial.proc import resident_kib

SAMPLE = 0.05
WARM_UP = 8
JOIN = 12.0


class Sampler(threading.Thread):
    """Keeps the most memory that a process has had."""

    def __init__(self, pid: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._stopped = stop
        self.first = self.most = resident_kib(pid)

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stopped.wait(SAMPLE):
            self.most = max(self.most, resident_kib(self._pid))


@dataclass(frozen=True)
class Seen:
    """What the witnesses have seen."""

    gaps: list[Gap]
    control: list[Gap]
    polls: int
    generations: int
    failures: list[str]
    slowest: float
    grown_kib: int
    sent: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)

    @property
    def worst_gap(self) -> float:
        """The service's own longest gap, in milliseconds."""
        return own_worst(self.gaps, self.control)

    @property
    def machine_gap(self) -> float:
        """The longest gap of a server that does nothing, in milliseconds."""
        return worst(self.control)

    @classmethod
    def parse(cls, text: bytes) -> "Seen":
        """Read what the process of the witnesses said."""
        told: dict[str, Any] = json.loads(text)
        for name in ("gaps", "control"):
            told[name] = [Gap(**gap) for gap in told[name]]
        return cls(**told)


def watched(options: argparse.Namespace) -> Seen:
    """Watch until nobody holds the standard input."""
    stop = threading.Event()
    neighbour = Neighbour(options.port, options.key, stop)
    for turn in range(WARM_UP):
        neighbour.ask(streams=bool(turn % 2))
    pollers = [Poller(port, stop) for port in (options.port, options.control)]
    sampler = Sampler(options.pid, stop)
    for thread in (*pollers, sampler, neighbour):
        thread.start()
    print("ready", flush=True)
    until_left_alone()
    stop.set()
    for thread in (*pollers, sampler, neighbour):
        thread.join(JOIN)
    return _seen(pollers, neighbour, sampler)


def _seen(pollers: list[Poller], neighbour: Neighbour, sampler: Sampler) -> Seen:
    return Seen(
        gaps=pollers[0].gaps,
        control=pollers[1].gaps,
        polls=pollers[0].polls,
        generations=len(neighbour.ids.sent),
        failures=neighbour.failures,
        slowest=neighbour.slowest,
        grown_kib=sampler.most - sampler.first,
        sent=sorted(neighbour.ids.sent),
        answered=sorted(neighbour.ids.answered),
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    for name in ("--port", "--control", "--pid"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--key", required=True)
    sys.setswitchinterval(0.001)
    print(json.dumps(asdict(watched(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
