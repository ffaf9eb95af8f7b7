"""Calls that are not streamed, one after the other on a kept connection, the targets in turns of a few calls."""

import time
from collections.abc import Sequence

from bench.call_client import Caller
from bench.figures import Figures, Round, milliseconds
from bench.machine import cpu_seconds
from bench.wire import Address

AFTERMATH = 0.005  # what a server still does when its last answer has left is part of the price


def calls(addresses: Sequence[Address], block: int, cycles: int, rounds: int) -> dict[str, list[Round]]:
    """Return the rounds, each some cycles of turns, and one more for the slowest of all calls."""
    sides = [Side(address) for address in addresses]
    found = []
    for _ in range(rounds):
        for cycle in range(cycles):
            turn = cycle % len(sides)
            for side in [*sides[turn:], *sides[:turn]]:
                side.take_turn(block)
        found.append({side.name: side.take() for side in sides})
    tails = {side.name: milliseconds(side.all_times, "call") for side in sides}
    for side in sides:
        side.caller.close()
    return {"calls": found, "tails": [tails]}


class Side:
    """One target, what its calls have taken and what they have used."""

    def __init__(self, address: Address) -> None:
        self._pid = address.pid
        self._times: list[int] = []
        self._used = 0.0
        self.name = address.name
        self.caller = Caller(address)
        self.all_times: list[int] = []

    def take_turn(self, count: int) -> None:
        """Make some calls."""
        before = cpu_seconds(self._pid)
        self._times += [self.caller.call() for _ in range(count)]
        time.sleep(AFTERMATH)
        self._used += cpu_seconds(self._pid) - before

    def take(self) -> Figures:
        """Return the figures of the calls since the last time."""
        times, used = self._times, self._used
        self.all_times += times
        self._times, self._used = [], 0.0
        return milliseconds(times, "call") | {"cpu_per_call_us": used / len(times) * 1e6}
