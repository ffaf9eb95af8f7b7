"""Many streams that speak all the time, the targets in turns of a tenth of a second.

A processor's speed changes from one second to the next (its host has other guests), by more than what is to be
measured. In turns this short all targets meet the same machine; a round is some cycles of turns.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import Figures, Round, milliseconds, outcome
from bench.machine import cpu_seconds
from bench.pace import Pace
from bench.stream_client import Tally, finish, open_stream
from bench.wire import Address

PATIENCE = 60.0


@dataclass(frozen=True)
class Shape:
    """`ramp` seconds of its own turns in which a target's streams start; then `rounds` of `cycles` are measured."""

    streams: int
    every: float
    ramp: float
    length: float
    cycles: int
    rounds: int

    @property
    def speaking(self) -> float:
        """How long the first stream of a target speaks: with time to settle before, and to spare after."""
        return self.ramp + (self.rounds * self.cycles + 4) * self.length


class Side:
    """One target: its streams, its turns and what it has used so far."""

    def __init__(self, address: Address, shape: Shape, slot: int, slots: int) -> None:
        self._address = address
        self._shape = shape
        self._turns = Pace(slot=slot, slots=slots, length=shape.length)
        self._tokens, self._used = 0, 0.0
        self.name = address.name
        self.tally = Tally(expected=shape.streams)
        self.running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the streams one after the other, in this target's turns only."""
        shape = self._shape
        moment = self._turns.turn(time.monotonic())
        for number in range(shape.streams):
            await asyncio.sleep(moment - time.monotonic())
            tokens = round((shape.speaking - shape.ramp * number / shape.streams) / shape.every)
            pace = Pace(tokens, shape.every, self._turns.slot, self._turns.slots, shape.length)
            stream = open_stream(self._address, self._address.stream_request(pace), self.tally)
            self.running.append(asyncio.create_task(stream))
            moment = self._turns.turn(moment + shape.ramp / shape.streams)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.tally.all_spoke.wait(), PATIENCE)

    def begin(self) -> None:
        """Begin to record."""
        self.tally.recording = True
        self._tokens, self._used = self.tally.tokens, cpu_seconds(self._address.pid)

    def take(self) -> Figures:
        """Return what was recorded since the last call, and go on."""
        tokens, used = self.tally.tokens, cpu_seconds(self._address.pid)
        spoken, cost = tokens - self._tokens, used - self._used
        late, self.tally.late = self.tally.late, []
        self._tokens, self._used = tokens, used
        return {"tokens": spoken, "cpu_per_token_us": cost / max(spoken, 1) * 1e6} | milliseconds(late, "late")


async def steady(addresses: Sequence[Address], **options: Any) -> dict[str, list[Round]]:
    """Return the rounds, and one more for the starts and failures of all streams."""
    shape = Shape(**options)
    sides = [Side(address, shape, slot, len(addresses)) for slot, address in enumerate(addresses)]
    await asyncio.gather(*(side.start() for side in sides))
    first = Pace(slots=len(sides), length=shape.length)  # a cycle begins with the first target's turn
    boundary = first.turn(time.monotonic() + shape.length)
    await asyncio.sleep(boundary - time.monotonic())
    for side in sides:
        side.begin()
    rounds = []
    for _ in range(shape.rounds):
        boundary += shape.cycles * shape.length * len(sides)
        await asyncio.sleep(boundary - time.monotonic())
        rounds.append({side.name: side.take() for side in sides})
    for side in sides:
        side.tally.recording = False
        await finish(side.running, side.tally, PATIENCE)
    return {"steady": rounds, "starts": [{side.name: outcome(side.tally, shape.streams) for side in sides}]}
