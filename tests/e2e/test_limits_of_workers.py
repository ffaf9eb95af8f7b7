"""Limits of two worker processes at once, which their parent counts: every decision is that of the model."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from mlops_backend.days import UTC_DAYS
from mlops_backend.principal import Limits
from mlops_backend.services.other.limits.account import MemoryReservation
from mlops_backend.services.other.limits.charge import Charge
from mlops_backend.services.other.limits.decision import Seen, exceeded, standings, waits
from mlops_backend.services.other.limits.parent_counters import Answer, ParentCounters
from mlops_backend.services.other.limits.windows import windows_at
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.common import LedgerOfWorkers
from mlops_backend.workers.hub import Hub
from tests.fakes.limits import NOON
from tests.fakes.limits_driver import KEYS
from tests.fakes.limits_model import SECOND, Clock, LimitsModel

# How far the clock goes with each question.
STEP = 700


@dataclass(frozen=True)
class Event:
    """Something that the parent did: a decision, or the end of a reservation."""

    what: str
    worker: object
    number: int
    now: int
    charge: Charge
    tokens: int = 0
    seen: Seen | None = None

    @property
    def name(self) -> str:
        """Of the reservation."""
        return f"{id(self.worker)}-{self.number}"


class Recorded(ParentCounters):
    """Counters that take down what they do, in the order in which they do it; their clock goes with the questions."""

    def __init__(self, hub: Hub) -> None:
        self.clock = Clock(NOON)
        super().__init__(hub.handlers, LedgerOfWorkers(hub), clock=self.clock)
        self.events: list[Event] = []
        self.played: dict[object, list[Any]] = {}
        self.all_played = asyncio.Event()
        self._charges: dict[tuple[object, int], Charge] = {}
        hub.handlers.on("played", self._played)

    def _played(self, worker: object, told: list[Any]) -> None:
        self.played[worker] = told
        if len(self.played) == 2:
            self.all_played.set()

    def _reserve(self, worker: object, asked: tuple[int, Charge]) -> Any:
        self.clock.now += STEP
        self._charges[worker, asked[0]] = asked[1]
        return super()._reserve(worker, asked)

    def _noted(
        self, worker: object, number: int, reservation: MemoryReservation | None, seen: Seen, *, is_open: bool = False
    ) -> Answer:
        tokens = 0 if reservation is None else reservation.tokens
        self._note("reserve", worker, number, tokens, seen)
        return super()._noted(worker, number, reservation, seen, is_open=is_open)

    def _settle(self, worker: object, ended: tuple[int, int]) -> None:
        self._note("settle", worker, *ended)
        super()._settle(worker, ended)

    def _release(self, worker: object, number: int) -> None:
        self._note("release", worker, number)
        super()._release(worker, number)

    def _note(self, what: str, worker: object, number: int, tokens: int = 0, seen: Seen | None = None) -> None:
        self.events.append(Event(what, worker, number, self.clock(), self._charges[worker, number], tokens, seen))


@asynccontextmanager
async def workers(number: int) -> AsyncIterator[tuple[Recorded, list[tuple[Channel, subprocess.Popen[bytes]]]]]:
    """A parent and so many processes that ask it."""
    hub = Hub()
    counters = Recorded(hub)
    hub.when_one_leaves(counters.lose)
    started = []
    for index in range(number):
        ours, its = socket.socketpair()
        with its:
            command = [sys.executable, "-m", "tests.fakes.limits_driver", str(its.fileno())]
            process = subprocess.Popen(command, pass_fds=[its.fileno()])  # noqa: ASYNC220 - which takes a moment
        started.append((await hub.join(ours, f"worker {index}"), process))
    try:
        yield counters, started
    finally:
        await hub.aclose()
        for _, process in started:
            assert await asyncio.to_thread(process.wait, 60) in (0, -9)


@pytest.mark.parametrize("count", [5_000, pytest.param(20_000, marks=pytest.mark.long)])
async def test_thousands_of_requests_over_two_workers_are_decided_as_the_model_does(count: int) -> None:
    """Asked by two processes at once, with clients that leave; and each client is told what was decided for it."""
    async with workers(2) as (counters, started):
        for seed, (channel, _) in enumerate(started):
            channel.tell("play", (seed, count // 2))
        async with asyncio.timeout(400):
            await counters.all_played.wait()
    decided = compared_with_the_model(counters.events)
    assert len(decided) > count * 0.97
    assert sum(message == "" for message, *_ in decided.values()) > count // 10
    assert sum(message != "" for message, *_ in decided.values()) > count // 10
    for worker, told in counters.played.items():
        assert len(told) > count // 2 * 0.9
        for number, *said in told:
            assert tuple(said) == decided[worker, number]
    for name, account in counters.limiter._accounts.items():
        assert (account.open, account.held) == (0, 0), name


async def test_what_a_killed_worker_held_comes_back() -> None:
    """Its generations are over: their tokens and their turns are free, and the other worker may have them."""
    taken = (9, 9 * 10 * SECOND // 100)
    async with workers(2) as (counters, ((first, victim), (second, _))):
        await first.ask("hold", 9)
        assert held_of(counters) == taken
        victim.kill()
        async with asyncio.timeout(60):
            await first.lost.wait()
            assert held_of(counters) == (0, 0)
            await second.ask("hold", 9)
        assert held_of(counters) == taken
    assert held_of(counters) == (0, 0)


def held_of(counters: ParentCounters) -> tuple[int, int]:
    """How many generations are open, and what they hold of the rate of tokens."""
    account = counters.limiter._accounts["held"]
    return account.open, account.held


def compared_with_the_model(events: list[Event]) -> dict[tuple[object, int], tuple[str, int | None, dict[str, int]]]:
    """Have the model decide everything in the same order; what each client is to be told."""
    models = {name: LimitsModel() for name in KEYS}
    limits = {name: Limits().replaced(own) for name, own in KEYS.items()}
    decided = {}
    for event in events:
        charge = event.charge
        model, own = models[charge.principal_id], limits[charge.principal_id]
        if event.what == "settle":
            model.settle(own, event.name, event.tokens)
        elif event.what == "release":
            model.release(event.name)
        else:
            assert event.seen is not None
            verdict = model.reserve(own, charge.least, charge.asked, event.now, event.name)
            windows = windows_at(event.seen.now, UTC_DAYS)
            left = {standing.name: standing.remaining for standing in standings(charge, event.seen, windows)}
            assert left == verdict.left
            assert event.tokens == verdict.taken
            refusing = {} if event.tokens else waits(charge, event.seen, windows)
            assert max(refusing, key=refusing.__getitem__, default="") == verdict.named
            message = exceeded(charge, event.seen, windows).message if refusing else ""
            output = None if refusing else charge.cut_output(event.tokens)
            decided[event.worker, event.number] = message, output, left
    return decided
