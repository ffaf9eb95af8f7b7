"""Leases: never more than there are slots, each given back, and handed to who is next."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import pytest

from mlops_backend.errors import KeyQueueFull, NoUsableBackend, QueueFull, QueueTimedOut
from mlops_backend.services.llm.leases import Asking, Bounds, Lease, Leases, Standing

MANY: Final = Bounds(1000, 500, 30, 30)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def of(key: str, cost: float = 1, *, batch: bool = False) -> Asking:
    """A request of a key's."""
    return Asking(key, lambda: cost, batch)


def made(bounds: Bounds = MANY, clock: Clock | None = None, **most: int | None) -> Leases:
    """Leases of some backends."""
    leases = Leases(bounds, clock or Clock())
    leases.use(most)
    return leases


async def waiting(leases: Leases, *askings: Asking, names: Sequence[str] = ("gpu",)) -> list[asyncio.Task[Lease]]:
    """Tasks that wait, in this order."""
    tasks = []
    for asking in askings:
        tasks.append(asyncio.create_task(leases.take(names, asking)))
        await asyncio.sleep(0)
    return tasks


async def test_without_a_bound_nobody_waits() -> None:
    """A backend that nobody bounded gives as many as are wanted, and knows how many those are."""
    leases = made(gpu=None)
    given = [await leases.take(["gpu"], of("a")) for _ in range(100)]
    assert leases.taken("gpu") == 100
    for lease in given:
        lease.give_back()
        lease.give_back()
    assert leases.taken("gpu") == 0


async def test_the_first_with_room_is_taken() -> None:
    """In the order in which they are named; a full one is passed over."""
    leases = made(one=1, two=1)
    assert [(await leases.take(["one", "two"], of("a"))).name for _ in range(2)] == ["one", "two"]


async def test_a_slot_goes_to_who_is_next() -> None:
    """The moment that it is given back: whoever comes then is behind those who wait."""
    leases = made(gpu=1)
    lease = await leases.take(["gpu"], of("a"))
    greedy = await waiting(leases, *[of("a")] * 5)
    (modest,) = await waiting(leases, of("b"))
    lease.give_back()
    (late,) = await waiting(leases, of("c"))
    (await greedy[0]).give_back()
    (await modest).give_back()
    (await late).give_back()
    await greedy[1]
    assert [task.done() for task in greedy] == [True, True, False, False, False]
    for task in greedy[1:]:
        (await task).give_back()
    assert (leases.taken("gpu"), len(leases)) == (0, 0)


@pytest.mark.parametrize("granted", [False, True], ids=["before it came to it", "as it came to it"])
async def test_who_leaves_keeps_nothing(*, granted: bool) -> None:
    """Neither a place nor a slot, though the slot was handed over in the same turn of the loop."""
    leases = made(gpu=1)
    lease = await leases.take(["gpu"], of("a"))
    leaving, staying = await waiting(leases, of("b"), of("c"))
    if granted:
        lease.give_back()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    lease.give_back()
    assert (await staying).name == "gpu"
    assert (leases.taken("gpu"), len(leases)) == (1, 0)


async def test_who_waits_too_long_is_told_when_to_come_again() -> None:
    """By what generations take; it has left the queue then."""
    clock = Clock()
    leases = made(Bounds(9, 9, 0.05, 30), clock, gpu=2)
    first, second = [await leases.take(["gpu"], of("a")) for _ in range(2)]
    clock.now = 10.0
    first.give_back()
    first = await leases.take(["gpu"], of("a"))
    with pytest.raises(QueueTimedOut) as refused:
        await leases.take(["gpu"], of("b"))
    assert refused.value.headers["Retry-After"] == "10"  # two before it, each ten seconds, on two slots
    assert len(leases) == 0
    for lease in (first, second):
        lease.give_back()
    assert leases.taken("gpu") == 0


async def test_what_was_waited_before_counts() -> None:
    """For the time that is left, and for how long it has waited."""
    leases = made(gpu=1)
    lease = await leases.take(["gpu"], of("a"))
    async with asyncio.timeout(20):
        with pytest.raises(QueueTimedOut):
            await leases.take(["gpu"], Asking("b", lambda: 1, waited=29.99))
    (patient,) = await waiting(leases, Asking("b", lambda: 1, waited=20))
    assert [place.waited for place in leases.places("b")] == [20]
    lease.give_back()
    (await patient).give_back()


async def test_a_queue_has_a_bound_and_so_has_each_key() -> None:
    """Whoever would be one too many is refused at once, and knows whose fault it is."""
    leases = made(Bounds(3, 2, 30, 30), gpu=1)
    lease = await leases.take(["gpu"], of("a"))
    tasks = await waiting(leases, of("a"), of("a"))
    with pytest.raises(KeyQueueFull) as own:
        await leases.take(["gpu"], of("a"))
    tasks += await waiting(leases, of("b"))
    with pytest.raises(QueueFull) as all_together:
        await leases.take(["gpu"], of("c"))
    assert (own.value.status, all_together.value.status) == (429, 503)
    assert all(refusal.value.headers["Retry-After"].isdigit() for refusal in (own, all_together))
    lease.give_back()
    for task in asyncio.as_completed(tasks):
        (await task).give_back()
    assert (leases.taken("gpu"), len(leases)) == (0, 0)


async def test_a_bound_that_is_raised_lets_them_in() -> None:
    """And one that is lowered holds for those who come; who has a lease keeps it."""
    leases = made(gpu=1)
    held = [await leases.take(["gpu"], of("a"))]
    tasks = await waiting(leases, *[of("b")] * 4)
    leases.use({"gpu": 3})
    held += [await task for task in tasks[:2]]
    leases.use({"gpu": 1})
    for lease in held[:2]:
        lease.give_back()
    await asyncio.sleep(0)
    assert [task.done() for task in tasks[2:]] == [False, False]
    held[2].give_back()
    (await tasks[2]).give_back()
    (await tasks[3]).give_back()
    assert leases.taken("gpu") == 0


async def test_a_lease_that_was_given_elsewhere_counts() -> None:
    """However many there are, and of whatever backend."""
    leases = made(gpu=1)
    held = [leases.hold("gpu"), leases.hold("gpu"), leases.hold("elsewhere")]
    assert [leases.taken(name) for name in ("gpu", "elsewhere")] == [2, 1]
    (waits,) = await waiting(leases, of("a"))
    held[0].give_back()
    await asyncio.sleep(0)
    assert not waits.done()
    held[1].give_back()
    (await waits).give_back()
    held[2].give_back()
    assert list(leases.standing()) == [Standing("gpu", 0, 1, 0)]


async def test_a_backend_that_is_taken_away_lets_go_of_those_who_wait_for_it() -> None:
    """Of those for whom there is no other one; what runs there ends as it will."""
    leases = made(old=1, new=1)
    held = [await leases.take([name], of("a")) for name in ("old", "new")]
    (stranded,) = await waiting(leases, of("b"), names=["old"])
    (either,) = await waiting(leases, of("c"), names=["old", "new"])
    leases.use({"new": 1})
    with pytest.raises(NoUsableBackend):
        await stranded
    held[1].give_back()
    assert (await either).name == "new"
    held[0].give_back()
    assert list(leases.standing()) == [Standing("new", 1, 1, 0)]


async def test_who_leaves_as_its_backend_is_taken_away_has_left() -> None:
    """A cancelled task is cancelled, whatever it would have been told in the same turn of the loop."""
    leases = made(old=1)
    held = await leases.take(["old"], of("a"))
    (leaving,) = await waiting(leases, of("b"), names=["old"])
    leases.use({"new": 1})
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    held.give_back()
    assert (len(leases), leases._granted) == (0, {})


async def test_each_knows_where_it_stands() -> None:
    """Behind whom, since when and how long still; nothing of another key's."""
    clock = Clock()
    leases = made(clock=clock, gpu=1)
    lease = await leases.take(["gpu"], of("a"))
    clock.now = 4.0
    lease.give_back()
    lease = await leases.take(["gpu"], of("a"))
    tasks = await waiting(leases, of("a"), of("a"), of("b"), of("b", batch=True))
    clock.now = 5.0
    (own, batch) = leases.places("b")
    assert (own.batch, own.ahead, own.waited, own.expected) == (False, 1, 1.0, 8.0)
    assert (batch.batch, batch.ahead) == (True, 3)
    assert leases.places("c") == []
    assert sorted((place.key, place.ahead) for place in leases.places(None)) == [("a", 0), ("a", 2), ("b", 1), ("b", 3)]
    assert list(leases.standing()) == [Standing("gpu", 1, 1, 4)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_whatever_happens_nothing_is_lost() -> None:
    """Many who come, stay and leave at any moment: no backend has more than its slots, and at the end none is taken."""
    dice = random.Random(5)
    most = {"one": 1, "two": 2, "three": 3}
    leases = made(Bounds(50, 20, 0.02, 0.01), None, **most)
    now: Counter[str] = Counter()
    served = 0

    async def client(number: int) -> None:
        nonlocal served
        await asyncio.sleep(dice.random() * 0.05)
        names = dice.sample(sorted(most), dice.randint(1, 3))
        with suppress(QueueTimedOut, QueueFull, KeyQueueFull):
            lease = await leases.take(names, of(f"key {number % 7}", dice.randint(1, 9), batch=number % 3 == 0))
            try:
                now[lease.name] += 1
                served += 1
                assert now[lease.name] <= most[lease.name]
                assert lease.name in names
                await asyncio.sleep(dice.random() * 0.002)
            finally:
                now[lease.name] -= 1
                lease.give_back()

    tasks = [asyncio.create_task(client(number)) for number in range(600)]
    for task in dice.sample(tasks, 150):
        asyncio.get_running_loop().call_later(dice.random() * 0.1, task.cancel)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [each for each in ended if isinstance(each, AssertionError)]
    assert served  # how many depends on the machine: who waits for too long leaves
    assert [each.taken for each in leases.standing()] == [0, 0, 0]
    assert (len(leases), leases._granted) == (0, {})
