"""Leases of several workers: their parent gives them, and takes them back from those that die; none is lost."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from mlops_backend.errors import KeyQueueFull, NoUsableBackend, QueueFull, QueueTimedOut
from mlops_backend.services.llm.leases import Asking, LeasesForWorkers, Standing, WorkersLeases, queue_bounds
from mlops_backend.workers.handlers import Handlers
from tests.fakes.family import Family
from tests.settings import settings_for

SETTINGS = settings_for(max_queue=20, max_queue_per_key=15, queue_timeout=0.3)


def of(key: str, cost: float = 1, *, batch: bool = False) -> Asking:
    """A request of a key's."""
    return Asking(key, lambda: cost, batch)


@pytest.fixture
async def family() -> AsyncIterator[Family]:
    """A parent and two workers, which speak."""
    made = Family(SETTINGS)
    await made.open()
    yield made
    async with asyncio.timeout(20):
        await made.aclose()


@pytest.fixture
async def pair(family: Family) -> list[WorkersLeases]:
    """Both workers' leases, of one backend with two slots and one without a bound."""
    made = [WorkersLeases(queue_bounds(SETTINGS), shared) for shared in family.workers]
    for leases in made:
        leases.use({"gpu": 2, "cloud": None})
    return made


async def taken(leases: WorkersLeases) -> int:
    """How many slots are taken, by what the parent says."""
    return {each.name: each.taken for each in (await leases.view("")).backends}["gpu"]


async def until_waiting(leases: WorkersLeases, count: int) -> None:
    """Until so many wait."""
    async with asyncio.timeout(20):
        while (await leases.view("")).waiting != count:
            await asyncio.sleep(0.001)


async def test_a_lease_that_was_given_elsewhere_counts_for_all(pair: list[WorkersLeases]) -> None:
    """Until it is given back, or its worker dies; of what has no bound the worker alone knows."""
    one, two = pair
    held = [one.hold("gpu"), one.hold("gpu"), one.hold("cloud")]
    assert (one.taken("gpu"), one.taken("cloud"), two.taken("gpu")) == (2, 1, 0)
    assert (await taken(one), await taken(two)) == (2, 2)  # who asks has been heard
    waits = asyncio.create_task(two.take(["gpu"], of("a")))
    await until_waiting(one, 1)
    held[0].give_back()
    (await waits).give_back()
    for lease in held[1:]:
        lease.give_back()
    for leases in pair:
        await taken(leases)
    assert (await taken(one), await taken(two), one.taken("cloud")) == (0, 0, 0)


async def test_a_bound_holds_over_all(pair: list[WorkersLeases]) -> None:
    """Whichever worker asks; a slot that one gives back is handed to the other."""
    first, second = pair
    held = [await first.take(["gpu"], of("a")), await second.take(["gpu"], of("a"))]
    waiting = asyncio.create_task(second.take(["gpu"], of("b")))
    await until_waiting(first, 1)
    assert (len(first), len(second)) == (0, 1)
    held[0].give_back()
    held[0].give_back()
    lease = await waiting
    assert (lease.name, len(second), await taken(first)) == ("gpu", 0, 2)
    for each in (held[1], lease):
        each.give_back()
    assert await taken(second) == 0


async def test_a_weight_and_a_class_hold_over_all(pair: list[WorkersLeases]) -> None:
    """Those of one key and class wait in their order; between keys and classes the parent decides, not the worker."""
    held = [await pair[0].take(["gpu"], of("a")) for _ in range(2)]
    order: list[str] = []

    async def served(leases: WorkersLeases, asking: Asking) -> None:
        lease = await leases.take(["gpu"], asking)
        order.append(asking.key)
        lease.give_back()

    asked = [("batch", 1.0)] * 2 + [("light", 1.0)] * 4 + [("heavy", 3.0)] * 6
    tasks = []
    for number, (key, weight) in enumerate(asked):
        asking = Asking(key, lambda: 10.0, key == "batch", weight)
        tasks.append(asyncio.create_task(served(pair[number % 2], asking)))
        await until_waiting(pair[0], number + 1)
    held[0].give_back()
    await asyncio.gather(*tasks)
    held[1].give_back()
    assert [order[place : place + 4].count("heavy") for place in (0, 4)] == [3, 3]
    assert order[-2:] == ["batch", "batch"]


async def test_what_has_no_bound_is_not_asked_for(family: Family, pair: list[WorkersLeases]) -> None:
    """A lease of it is there at once, though the parent says nothing."""
    family.channels[0]._transport.pause_reading()
    lease = pair[0].at_once(["cloud", "gpu"])
    assert lease is not None
    assert lease.name == "cloud"
    family.channels[0]._transport.resume_reading()
    assert Standing("cloud", 1, None, 0) in (await pair[0].view("")).backends
    lease.give_back()
    assert pair[0].at_once(["gpu"]) is None


async def test_what_has_no_bound_does_not_come_before_what_is_better(pair: list[WorkersLeases]) -> None:
    """The order of the names holds: while the first one has room, nobody is sent to a later one."""
    assert pair[0].at_once(["gpu", "cloud"]) is None
    held = [await pair[number % 2].take(["gpu", "cloud"], of("a")) for number in range(3)]
    assert [lease.name for lease in held] == ["gpu", "gpu", "cloud"]
    assert (pair[0].taken("cloud"), pair[1].taken("cloud")) == (1, 0)
    assert Standing("cloud", 1, None, 0) in (await pair[0].view("")).backends
    for lease in held:
        lease.give_back()
    assert [await taken(leases) for leases in pair][-1] == 0
    assert pair[0].taken("cloud") == 0


@pytest.mark.parametrize("is_taken_away", [False, True], ids=["too long", "for what is taken away"])
async def test_who_waited_in_vain_leaves_nothing_in_memory(pair: list[WorkersLeases], *, is_taken_away: bool) -> None:
    """The error that it got does not keep what was asked until the garbage collector comes."""
    held = [await pair[0].take(["gpu"], of("a")) for _ in range(2)]
    gc.disable()
    try:
        gone = weakref.ref(await in_vain(pair[0], taken_away=is_taken_away))
        assert gone() is None
    finally:
        gc.enable()
    for lease in held:
        lease.give_back()


async def in_vain(leases: WorkersLeases, *, taken_away: bool) -> Counter[str]:
    """What has been asked by one that waited in vain."""
    asked = Counter(tokens=1)
    asking = Asking("a", lambda: float(asked["tokens"]))
    waiting = asyncio.create_task(leases.take(["gpu"], asking))
    await until_waiting(leases, 1)
    if taken_away:
        leases.use({"cloud": None})
    await asyncio.wait({waiting})
    assert isinstance(waiting.exception(), NoUsableBackend if taken_away else QueueTimedOut)
    return asked


@pytest.mark.parametrize("granted", [False, True], ids=["before it came to it", "as it came to it"])
async def test_who_leaves_keeps_nothing(pair: list[WorkersLeases], *, granted: bool) -> None:
    """Its slot is the next one's, also where the word of it was on its way."""
    first, second = pair
    held = [await first.take(["gpu"], of("a")) for _ in range(2)]
    leaving = asyncio.create_task(second.take(["gpu"], of("b")))
    await until_waiting(first, 1)
    staying = asyncio.create_task(first.take(["gpu"], of("c")))
    await until_waiting(first, 2)
    if granted:
        held[0].give_back()
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        (await leaving).give_back()
    held[0].give_back()
    held[1].give_back()
    (await staying).give_back()
    await until_waiting(first, 0)
    assert (await taken(first), len(first), len(second)) == (0, 0, 0)


async def test_a_worker_that_is_gone_holds_nothing(family: Family, pair: list[WorkersLeases]) -> None:
    """What it had is back at once, and those of it who waited wait no more."""
    first, second = pair
    for _ in range(2):
        await first.take(["gpu"], of("a"))
    stranded = [asyncio.create_task(first.take(["gpu"], of("a"))) for _ in range(3)]
    await until_waiting(second, 3)
    waiting = asyncio.create_task(second.take(["gpu"], of("b")))
    await until_waiting(second, 4)
    family.channels[0]._transport.abort()
    assert (await waiting).name == "gpu"
    await until_waiting(second, 0)
    assert await taken(second) == 1
    for task in stranded:
        task.cancel()
    await asyncio.gather(*stranded, return_exceptions=True)


async def test_what_one_worker_knows_to_be_gone_is_given_to_no_other(pair: list[WorkersLeases]) -> None:
    """Who has not heard of it yet waits until it has, and is not sent there past the bound."""
    first, second = pair
    first.use({"other": 1})
    await first.view("")
    stale = asyncio.create_task(second.take(["gpu"], of("a")))
    await until_waiting(first, 1)
    second.use({"other": 1})
    with pytest.raises(NoUsableBackend):
        await stale
    assert [each.name for each in (await second.view("")).backends] == ["other"]


async def test_of_a_worker_that_is_gone_nothing_is_remembered() -> None:
    """Neither that it held anything nor that it waited."""
    parent, worker = LeasesForWorkers(Handlers(), queue_bounds(SETTINGS)), object()
    parent.leases.use({"gpu": 1})
    assert parent._take(worker, (1, ["gpu"])) == "gpu"
    assert parent._wait(worker, (2, ["gpu"], "a", 1.0, False, 1.0, 0.0)) is None
    await asyncio.sleep(0)
    assert len(parent.leases) == 1
    parent.lose(worker)
    for _ in range(3):
        await asyncio.sleep(0)
    assert (len(parent.leases), parent.leases.taken("gpu"), parent._waiting, parent._held) == (0, 0, {}, {})


async def test_refusals_come_as_they_are(pair: list[WorkersLeases]) -> None:
    """At once where the queue is full, and later where it did not come to it, or its backend is gone."""
    first, second = pair
    held = [await first.take(["gpu"], of("a")) for _ in range(2)]
    tasks = [asyncio.create_task(first.take(["gpu"], of("a"))) for _ in range(15)]
    await until_waiting(second, 15)
    with pytest.raises(KeyQueueFull):
        await second.take(["gpu"], of("a"))
    tasks += [asyncio.create_task(first.take(["gpu"], of("b"))) for _ in range(5)]
    await until_waiting(second, 20)
    with pytest.raises(QueueFull):
        await second.take(["gpu"], of("c"))
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in ended} == {QueueTimedOut}
    assert all(each.headers["Retry-After"].isdigit() for each in ended if isinstance(each, QueueTimedOut))
    late = asyncio.create_task(second.take(["gpu"], of("c")))
    await until_waiting(second, 1)
    second.use({"cloud": None})
    with pytest.raises(NoUsableBackend):
        await late
    for lease in held:
        lease.give_back()


async def test_whatever_happens_nothing_is_lost(pair: list[WorkersLeases]) -> None:
    """Five thousand of both workers, many of which leave: never more than two at a time, none at the end."""
    dice = random.Random(3)
    now: Counter[str] = Counter()
    most = 0

    async def client(number: int) -> None:
        nonlocal most
        await asyncio.sleep(dice.random() * 2)
        with suppress(QueueTimedOut, QueueFull, KeyQueueFull):
            lease = await pair[number % 2].take(["gpu"], of(f"key {number % 5}", batch=number % 3 == 0))
            try:
                now["gpu"] += 1
                most = max(most, now["gpu"])
                await asyncio.sleep(dice.random() * 0.001)
            finally:
                now["gpu"] -= 1
                lease.give_back()

    tasks = [asyncio.create_task(client(number)) for number in range(5000)]
    for task in dice.sample(tasks, 1000):
        asyncio.get_running_loop().call_later(dice.random() * 2, task.cancel)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in ended} <= {type(None), asyncio.CancelledError}
    assert 1 <= most <= 2  # on a machine that does something else, two of them may never meet
    await until_waiting(pair[0], 0)
    assert (await taken(pair[0]), len(pair[0]), len(pair[1])) == (0, 0, 0)
