"""Many streams that speak all the time, the targets in turns of a tenth of a second.

A processor's speed changes from one second to the next (its host has other guests), by more than what is to be
measured. In turns this short all targets meet the same machine; a round is some cycles of turns. No stream ends before
everything has been measured.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.conversations import stream_requests
from bench.figures import Figures, Round, milliseconds, outcome
from bench.machine import cpu_seconds
from bench.pace import Pace
from bench.stream_client import Tally, end_streams, finish, open_stream
from bench.wire import Address

PATIENCE = 60.0
ENDLESS = 1_000_000  # tokens; the streams end when the upstream is told
AFTERMATH = 0.5  # what a server still does when its streams have ended is part of their price


@dataclass(frozen=True)
class Shape:
    """`ramp` seconds of its own turns in which a target's streams start; then `rounds` of `cycles` are measured."""

    streams: int
    every: float
    ramp: float
    length: float
    cycles: int
    rounds: int


class Side:
    """One target: its streams, its turns and what it has used so far."""

    def __init__(self, address: Address, shape: Shape, slot: int, slots: int) -> None:
        self._address = address
        self._shape = shape
        self._turns = Pace(slot=slot, slots=slots, length=shape.length)
        pace = Pace(ENDLESS, shape.every, slot, slots, shape.length)
        self._requests = stream_requests(address, [pace] * shape.streams)
        self._tokens, self._used, self._used_before = 0, 0.0, 0.0
        self.name = address.name
        self.tally = Tally(expected=shape.streams)
        self.running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the streams one after the other, in this target's turns only."""
        shape = self._shape
        self._used_before = cpu_seconds(self._address.pid)
        moment = self._turns.turn(time.monotonic())
        for request in self._requests:
            await asyncio.sleep(moment - time.monotonic())
            stream = open_stream(self._address, request, self.tally)
            self.running.append(asyncio.create_task(stream))
            moment = self._turns.turn(moment + shape.ramp / shape.streams)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.tally.all_answered.wait(), PATIENCE)

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

    def all_in_all(self) -> Figures:
        """Return what all streams have shown and used, from before their starts until after their ends."""
        used = cpu_seconds(self._address.pid) - self._used_before
        tokens = max(self.tally.tokens, 1)
        whole = {"tokens_per_stream": tokens / self._shape.streams, "whole_cpu_per_token_us": used / tokens * 1e6}
        return outcome(self.tally, self._shape.streams) | whole


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
    end_streams(addresses[0])
    for side in sides:
        await finish(side.running, side.tally, PATIENCE)
    await asyncio.sleep(AFTERMATH)
    return {"steady": rounds, "starts": [{side.name: side.all_in_all() for side in sides}]}
