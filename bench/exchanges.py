"""Short streams one after the other, from the request to the last byte: what is paid once a stream, not once a token.

The targets take turns of a few streams. Each is a process of its own, so what it uses between its turns, for what it
has put off, counts too.
"""

import time
from collections.abc import Sequence

from bench.conversations import stream_requests
from bench.figures import Figures, Round, milliseconds, outcome
from bench.machine import cpu_seconds
from bench.pace import Pace
from bench.stream_client import Tally, open_stream
from bench.wire import Address


async def exchanges(
    addresses: Sequence[Address], tokens: int, every: float, block: int, cycles: int, rounds: int
) -> dict[str, list[Round]]:
    """Return the rounds, each some cycles of turns, and one more for the slowest and for failures."""
    pace, count = Pace(tokens, every), block * cycles * rounds
    sides = [Side(address, stream_requests(address, [pace] * count)) for address in addresses]
    for side in sides:
        side.take()
    found = []
    for _ in range(rounds):
        for cycle in range(cycles):
            turn = cycle % len(sides)
            for side in [*sides[turn:], *sides[:turn]]:
                await side.take_turn(block)
        found.append({side.name: side.take() for side in sides})
    return {"exchanges": found, "ends": [{side.name: side.all_in_all(count) for side in sides}]}


class Side:
    """One target, what its streams have taken and what it has used."""

    def __init__(self, address: Address, requests: list[bytes]) -> None:
        self._address = address
        self._requests = iter(requests)
        self._times: list[int] = []
        self._seen = 0
        self._used = 0.0
        self._tally = Tally()
        self.name = address.name

    async def take_turn(self, count: int) -> None:
        """Run some streams to their ends."""
        for _ in range(count):
            started = time.monotonic_ns()
            await open_stream(self._address, next(self._requests), self._tally)
            self._times.append(time.monotonic_ns() - started)

    def take(self) -> Figures:
        """Return the figures since the last call, and go on."""
        times, first = self._times[self._seen :], self._tally.first[self._seen :]
        used = cpu_seconds(self._address.pid)
        cost, self._seen, self._used = used - self._used, len(self._times), used
        figures = milliseconds(times, "exchange") | milliseconds(first, "first_token")
        return figures | {"cpu_per_exchange_us": cost / max(len(times), 1) * 1e6}

    def all_in_all(self, expected: int) -> Figures:
        """Return the figures of all streams."""
        return outcome(self._tally, expected) | milliseconds(self._times, "exchange")
