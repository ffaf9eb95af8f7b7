"""How long one of the class `batch` waits, by a clock that only the test moves, while people never leave a slot idle.

What decision 22 says of it: no longer than 30 + 3 · T + (P + 2 · L) · T / S seconds, where P of people and L of batch
come before it by their tags, each takes T seconds, and there are S slots.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import pairwise
from random import Random
from typing import Final

import pytest

from mlops_backend.services.llm.leases import Asking, Lease, queue_bounds
from mlops_backend.services.llm.leases.fair_queue import FairQueue, Ticket
from mlops_backend.services.llm.leases.leases import Leases
from tests.settings import settings_for

AGED: Final = queue_bounds(settings_for()).aged_after
# More turns than any of these take.
_MOST: Final = 50_000


@dataclass(frozen=True)
class Key:
    """What one key sends, all alike."""

    name: str
    cost: float = 1.0
    weight: float = 1.0
    batch: bool = False
    slots: frozenset[str] = frozenset({"gpu"})

    def ticket(self, now: float) -> Ticket:
        """One of its generations."""
        return Ticket(self.name, self.slots, self.cost, now, self.batch, self.weight)


@dataclass(frozen=True)
class Turn:
    """One that was taken, where and when."""

    ticket: Ticket
    slot: str
    at: float

    @property
    def waited(self) -> float:
        """How long it had waited."""
        return self.at - self.ticket.since


@dataclass
class Backends:
    """Slots that are taken again as soon as they are free, and people who always wait for them.

    Args:
        slots: how many each backend has, by its name.
        took: seconds of each generation.
        people: the keys of those who always have some waiting.
        backlog: so many of each.
    """

    slots: dict[str, int]
    took: float
    people: list[Key]
    backlog: int = 3
    queue: FairQueue = field(default_factory=lambda: FairQueue(AGED))
    turns: list[Turn] = field(default_factory=list)

    def serve(self, comes: list[tuple[float, Key]]) -> None:
        """Until all of batch were taken that come, each at its time."""
        free = [(0.0, number, name) for number, name in enumerate(self._each_slot())]
        coming = sorted(comes, key=lambda come: come[0])
        left = len(coming)
        for _ in range(_MOST):
            now, number, name = heappop(free)
            heappush(free, (now + self.took, number, name))
            while coming and coming[0][0] <= now:
                at, key = coming.pop(0)
                self.queue.put(key.ticket(at))
            self._fill(now)
            if (ticket := self.queue.take(name, now)) is not None:
                self.turns.append(Turn(ticket, name, now))
                left -= ticket.batch
            if not left:
                return
        raise AssertionError(f"{left} of batch were never taken")

    def _each_slot(self) -> list[str]:
        return [name for name, most in self.slots.items() for _ in range(most)]

    def _fill(self, now: float) -> None:
        for key in self.people:
            while self.queue.of_key(key.name) < self.backlog:
                self.queue.put(key.ticket(now))

    def bound(self, turn: Turn) -> float:
        """The longest that it may have waited, by those who came before it where it could have been taken."""
        ticket = turn.ticket
        sooner = self.turns[: self.turns.index(turn)]
        before = [each.ticket for each in sooner if each.at >= ticket.since and each.slot in ticket.slots]
        people = sum(not each.batch and each < ticket for each in before)
        slots = sum(most for name, most in self.slots.items() if name in ticket.slots)
        return bound(self.took, people, sum(each.batch for each in before), slots)

    def batch(self) -> list[Turn]:
        """Those of batch, as they were taken."""
        return [turn for turn in self.turns if turn.ticket.batch]


def bound(took: float, people: int, batch: int, slots: int) -> float:
    """The longest wait with so many of each class before it."""
    return AGED + 3 * took + (people + 2 * batch) * took / slots


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("keys", [1, 10, 100])
def test_of_equal_keys_each_has_its_share(keys: int, slots: int) -> None:
    """A key with twenty of batch beside others of people: with l of its own before one, l + 1 of each come before."""
    backends = Backends({"gpu": slots}, 2.0, [Key(f"p{number}") for number in range(keys)])
    backends.serve([(0.0, Key("b", batch=True))] * 20)
    for place, turn in enumerate(backends.batch()):
        assert turn.waited <= backends.bound(turn) <= bound(2.0, keys * (place + 1), place, slots)


def test_one_that_came_when_its_own_was_taken() -> None:
    """That one counts as before it."""
    backends = Backends({"gpu": 1}, 1.0, [Key(f"p{number}") for number in range(10)])
    batch = Key("b", batch=True)
    backends.serve([(0.0, batch)])
    first = backends.batch()[0]
    again = Backends({"gpu": 1}, 1.0, backends.people)
    again.serve([(0.0, batch), (first.at, batch)])
    second = again.batch()[1]
    assert second.ticket.since == first.at
    assert second.waited <= again.bound(second) <= bound(1.0, 10 * 2, 1, 1)


def test_a_tenth_of_the_weight_is_a_tenth_of_the_turns() -> None:
    """As it is for people; nobody waits for ever."""
    backends = Backends({"gpu": 1}, 1.0, [Key("p")])
    backends.serve([(0.0, Key("b", weight=0.1, batch=True))] * 20)
    last = backends.batch()[-1]
    assert 10 * 19 <= last.waited <= backends.bound(last) <= bound(1.0, 10 * 19 + 1, 19, 1)


@pytest.mark.parametrize("seed", range(40))
def test_whoever_comes_each_is_taken_within_its_bound(seed: int) -> None:
    """Keys of any cost and weight, some of whom come again and again, before one backend or several."""
    random = Random(seed)
    names = ["gpu", "cpu", "tpu"][: random.randint(1, 3)]

    def key(name: str, *, batch: bool) -> Key:
        slots = frozenset(names if seed % 2 else random.sample(names, random.randint(1, len(names))))
        return Key(name, random.choice([0.1, 1, 7]), random.choice([0.5, 1, 4]), batch, slots)

    people = [key(f"p{number}", batch=False) for number in range(random.randint(1, 8))]
    # Where only some have a slot, somebody of people still waits for each of them.
    people += [Key(f"p of {name}", slots=frozenset({name})) for name in names]
    backends = Backends({name: random.randint(1, 3) for name in names}, random.choice([0.5, 4, 45]), people)
    keys = [key(f"b{number}", batch=True) for number in range(random.randint(1, 5))]
    comes = [(0.0, random.choice(keys)) for _ in range(random.randint(1, 25))]
    comes += [(random.uniform(0, 120), random.choice(keys)) for _ in range(random.randint(0, 25))]
    backends.serve(comes)
    for turn in backends.batch():
        assert turn.waited <= backends.bound(turn)


def test_of_two_slots_of_a_backend_one_at_the_most_goes_to_batch() -> None:
    """Though another backend, where people are taken, is served in between; and batch there has its turns, too."""
    people = [Key(f"p{name}", slots=frozenset(name)) for name in "gh"]
    backends = Backends({"g": 1, "h": 1}, 1.0, people)
    cheap = Key("many", cost=0.01, batch=True, slots=frozenset("g"))
    few = Key("few", batch=True, slots=frozenset("h"))
    backends.serve([(0.0, cheap)] * 100 + [(0.0, few)] * 5)
    aged = [turn for turn in backends.turns if turn.at >= AGED]
    for name in "gh":
        there = [turn.ticket.batch for turn in aged if turn.slot == name]
        assert not any(one and other for one, other in pairwise(there))
    assert max(turn.waited for turn in backends.batch() if turn.ticket.key == "few") <= AGED + 2 * 5


async def test_over_leases_nobody_of_batch_waits_for_ever() -> None:
    """People take each slot that comes free, for as long as anybody of batch waits; no clock is waited for."""
    now = 0.0
    bounds = replace(queue_bounds(settings_for()), seconds=10_000.0)
    leases = Leases(bounds, lambda: now)
    leases.use({"gpu": 1})
    held: deque[tuple[str, float, Lease]] = deque()

    async def taken(key: str, came: float, *, batch: bool = False) -> None:
        held.append((key, came, await leases.take(["gpu"], Asking(key, lambda: 1.0, batch))))

    tasks = [asyncio.create_task(taken("p", now))]
    await until(lambda: bool(held))
    tasks += [asyncio.create_task(taken("b", now, batch=True)) for _ in range(5)]
    waits: list[float] = []
    for _ in range(100):
        tasks.append(asyncio.create_task(taken("p", now)))
        await until(lambda: len(leases) == 6)
        lease = held.popleft()[2]
        now += 1.0
        lease.give_back()
        await until(lambda: bool(held))
        if held[0][0] == "b":
            waits.append(now - held[0][1])
    assert len(waits) == 5
    assert waits[0] >= AGED
    assert all(wait <= bound(1.0, place + 1, place, 1) for place, wait in enumerate(waits))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(happened: Callable[[], bool]) -> None:
    """Let the others go on until it has."""
    async with asyncio.timeout(20):
        while not happened():
            await asyncio.sleep(0)
