"""Leases of several processes in one Redis: the laws of `test_leases.py` hold over all of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest

from mlops_backend.errors import KeyQueueFull, NoUsableBackend, QueueFull, QueueTimedOut
from mlops_backend.services.llm.leases import Asking, Bounds, Standing
from mlops_backend.services.llm.leases.redis_leases import RedisLeases
from tests.fakes.redis_lessors import lessor, of, queued, standing, until, until_standing
from tests.fakes.redis_server import RedisServer


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
async def pair(redis: RedisServer) -> AsyncIterator[list[RedisLeases]]:
    """Two processes' leases, of one backend with two slots and one without a bound."""
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(lessor(redis, gpu=2, cloud=None)) for _ in range(2)]
        yield made
        for leases in made:
            assert (leases._wishes, leases.held) == ({}, {})
        await until_standing(made[0], (0, 0))


async def test_a_bound_holds_over_all(pair: list[RedisLeases]) -> None:
    """Whoever asks; and what comes back is had by the other one at once, in its turn."""
    one, two = pair
    held = [await one.take(["gpu"], of("a")), await two.take(["gpu"], of("a"))]
    (first,) = await queued(two, of("b"))
    (second,) = await queued(one, of("c"))
    assert await standing(one) == await standing(two) == (2, 2)
    assert (one.taken("gpu"), two.taken("gpu")) == (1, 1)
    held[0].give_back()
    held[0].give_back()
    held[0] = await first
    assert not second.done()
    held[1].give_back()
    for lease in (held[0], await second):
        lease.give_back()


async def test_what_has_no_bound_needs_no_redis(pair: list[RedisLeases], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given at once, and behind what has one and is full."""
    one, two = pair
    with monkeypatch.context() as patch:
        patch.setattr(one._book, "_run", None)
        given = [await one.take(["cloud", "gpu"], of("a")) for _ in range(20)]
        assert one.at_once(["gpu", "cloud"]) is None
    assert [lease.name for lease in given] == ["cloud"] * 20
    full = [await two.take(["gpu"], of("a")) for _ in range(2)]
    given.append(await one.take(["gpu", "cloud"], of("a")))
    assert given[-1].name == "cloud"
    assert one.taken("cloud") == 21
    assert Standing("cloud", 21, None, 0) in (await one.view("")).backends
    for lease in (*given, *full):
        lease.give_back()
    assert one.taken("cloud") == 0


async def test_the_first_with_room_is_taken(redis: RedisServer) -> None:
    """In the order in which they are named; a full one is passed over."""
    async with lessor(redis, one=1, two=1) as leases:
        given = [await leases.take(["one", "two"], of("a")) for _ in range(2)]
        assert [lease.name for lease in given] == ["one", "two"]
        for lease in given:
            lease.give_back()


async def test_keys_take_turns_over_all(pair: list[RedisLeases]) -> None:
    """One of them has a greedy key, whose requests do not keep the other's back."""
    one, two = pair
    held = [await one.take(["gpu"], of("a")) for _ in range(2)]
    greedy = await queued(one, *[of("a")] * 5)
    (modest,) = await queued(two, of("b"))
    for lease in held:
        lease.give_back()
    lease = await greedy[0]
    (await modest).give_back()
    await greedy[1]
    assert [task.done() for task in greedy] == [True, True, False, False, False]
    lease.give_back()
    for task in greedy[1:]:
        (await task).give_back()


@pytest.mark.parametrize("granted", [False, True], ids=["before it came to it", "as it came to it"])
async def test_who_leaves_keeps_nothing(
    pair: list[RedisLeases], monkeypatch: pytest.MonkeyPatch, *, granted: bool
) -> None:
    """Neither a place nor a slot, though the slot was handed over in the same turn of the loop."""
    one, two = pair
    held = [await two.take(["gpu"], of("a")) for _ in range(2)]
    (leaving,) = await queued(one, of("b"))
    (staying,) = await queued(two, of("c"))
    answer = one._answer

    def answered(lease: str, name: str | None) -> None:
        answer(lease, name)
        leaving.cancel()

    if granted:
        monkeypatch.setattr(one, "_answer", answered)
        held.pop().give_back()
    else:
        leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    if not granted:
        await until_standing(two, (2, 1))
        held.pop().give_back()
    held.append(await staying)
    await until_standing(two, (2, 0))
    for lease in held:
        lease.give_back()


async def test_who_leaves_again_and_again_takes_no_slot_along(pair: list[RedisLeases]) -> None:
    """At any turn of the loop between asking and having."""
    one, two = pair
    for turns in range(60):
        leaving = asyncio.create_task(one.take(["gpu"], of("b")))
        for _ in range(turns):
            await asyncio.sleep(0)
        leaving.cancel()
        given = (await asyncio.gather(leaving, return_exceptions=True))[0]
        if not isinstance(given, BaseException):
            given.give_back()
    await until_standing(two, (0, 0))


async def test_who_waits_too_long_is_told_when_to_come_again(redis: RedisServer) -> None:
    """By what generations take; it has left the queue then."""
    clock = Clock()
    async with lessor(redis, Bounds(9, 9, 0.05, 30), clock, gpu=2) as leases:
        first, second = [await leases.take(["gpu"], of("a")) for _ in range(2)]
        clock.now = 10.0
        first.give_back()
        first = await leases.take(["gpu"], of("a"))
        with pytest.raises(QueueTimedOut) as refused:
            await leases.take(["gpu"], of("b"))
        assert refused.value.headers["Retry-After"] == "10"  # two before it, each ten seconds, on two slots
        await until_standing(leases, (2, 0))
        for lease in (first, second):
            lease.give_back()


async def test_what_was_waited_before_counts(pair: list[RedisLeases]) -> None:
    """For the time that is left, and for how long it has waited."""
    one, two = pair
    held = [await one.take(["gpu"], of("a")) for _ in range(2)]
    with pytest.raises(QueueTimedOut):
        await two.take(["gpu"], Asking("b", lambda: 1, waited=29.99))
    (patient,) = await queued(two, Asking("b", lambda: 1, waited=20))
    (place,) = (await one.view("b")).places
    assert 20 <= place.waited < 30
    for lease in held:
        lease.give_back()
    (await patient).give_back()


async def test_the_queue_has_a_bound_for_all_and_for_each_key(redis: RedisServer) -> None:
    """Whoever would be one too many is refused at once, and knows whose fault it is."""
    async with lessor(redis, Bounds(3, 2, 30, 30), gpu=1) as one, lessor(redis, Bounds(3, 2, 30, 30), gpu=1) as two:
        lease = await one.take(["gpu"], of("a"))
        tasks = [*await queued(one, of("a")), *await queued(two, of("a"))]
        with pytest.raises(KeyQueueFull) as own:
            await two.take(["gpu"], of("a"))
        tasks += await queued(two, of("b"))
        with pytest.raises(QueueFull) as all_together:
            await one.take(["gpu"], of("c"))
        assert (own.value.status, all_together.value.status) == (429, 503)
        assert [each.value.headers["Retry-After"] for each in (own, all_together)] == ["3", "4"]
        lease.give_back()
        for task in asyncio.as_completed(tasks):
            (await task).give_back()
        await until_standing(one, (0, 0))


async def test_a_bound_that_is_raised_lets_them_in(pair: list[RedisLeases]) -> None:
    """And one that is lowered holds for those who come; who has a lease keeps it. The last word of any is the bound."""
    one, two = pair
    held = [await one.take(["gpu"], of("a")) for _ in range(2)]
    tasks = await queued(two, *[of("b")] * 3)
    one.use({"gpu": 3, "cloud": None})
    held.append(await tasks[0])
    await until(lambda: not one._upkeep._bounds_changed)
    two.use({"gpu": 1, "cloud": None})
    async with asyncio.timeout(20):  # what is given back before Redis knows of it lets others in
        while (await one._book.page()).most["gpu"] != 1:
            await asyncio.sleep(0.001)
    for lease in held[:2]:
        lease.give_back()
    await until_standing(one, (1, 2))
    held[2].give_back()
    (await tasks[1]).give_back()
    (await tasks[2]).give_back()


async def test_a_bound_that_is_taken_away_lets_all_in(pair: list[RedisLeases]) -> None:
    """Of whichever process they are."""
    one, two = pair
    held = [await one.take(["gpu"], of("a")) for _ in range(2)]
    tasks = await queued(two, *[of("b")] * 3)
    one.use({"gpu": None, "cloud": None})
    for lease in (*held, *[await task for task in tasks]):
        lease.give_back()


async def test_a_backend_that_is_taken_away_lets_go_of_those_who_wait_for_it(redis: RedisServer) -> None:
    """Of those for whom there is no other one; to the others it is not given any more. Other processes keep it."""
    async with lessor(redis, old=1, new=1) as one, lessor(redis, old=1, new=1) as two:
        held = [await one.take([name], of("a")) for name in ("old", "new")]
        (stranded,) = await queued(one, of("b"), names=("old",))
        (either,) = await queued(one, of("c"), names=("old", "new"))
        (theirs,) = await queued(two, of("d"), names=("old",))
        one.use({"new": 1})
        with pytest.raises(NoUsableBackend):
            await stranded
        with pytest.raises(NoUsableBackend):
            await one.take(["old"], of("b"))
        await until(lambda: not one._upkeep._bounds_changed)
        await until_standing(two, (1, 1), "old")
        held[0].give_back()
        (await theirs).give_back()
        assert not either.done()
        held[1].give_back()
        lease = await either
        assert lease.name == "new"
        lease.give_back()
        await until_standing(two, (0, 0), "new")


async def test_each_knows_where_it_stands(pair: list[RedisLeases]) -> None:
    """Behind whom, of whichever process; nothing of another key's."""
    one, two = pair
    held = [await one.take(["gpu"], of("a")) for _ in range(2)]
    tasks = await queued(one, of("a"), of("a"))
    tasks += await queued(two, of("b"), of("b", batch=True))
    for leases in pair:
        view = await leases.view("b")
        places = [(place.batch, place.ahead, place.expected) for place in view.places]
        assert places == [(False, 1, 1.0), (True, 3, 2.0)]
        assert (view.waiting, (await leases.view("c")).places) == (4, [])
        everybody = (await leases.view(None)).places
        assert sorted((place.key, place.batch, place.ahead) for place in everybody) == [
            ("a", False, 0),
            ("a", False, 2),
            ("b", False, 1),
            ("b", True, 3),
        ]
    assert (len(one), len(two)) == (2, 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for lease in held:
        lease.give_back()


async def test_batch_gives_way_over_all(pair: list[RedisLeases]) -> None:
    """Whichever process it is of."""
    one, two = pair
    held = [await one.take(["gpu"], of("a")) for _ in range(2)]
    (batch,) = await queued(one, of("b", batch=True))
    (people,) = await queued(two, of("a"))
    held.pop().give_back()
    (await people).give_back()
    (await batch).give_back()
    held.pop().give_back()


async def test_whatever_happens_nothing_is_lost(redis: RedisServer) -> None:
    """Many who come, stay and leave at any moment, in two processes: no backend has more than its slots."""
    dice = random.Random(5)
    most = {"one": 1, "two": 2, "three": 3}
    bounds = Bounds(50, 20, 0.2, 0.05)
    now: Counter[str] = Counter()
    served = 0
    async with (
        lessor(redis, bounds, one=1, two=2, three=3) as first,
        lessor(redis, bounds, one=1, two=2, three=3) as second,
    ):

        async def client(number: int) -> None:
            nonlocal served
            await asyncio.sleep(dice.random() * 0.5)
            names = dice.sample(sorted(most), dice.randint(1, 3))
            asking = of(f"key {number % 7}", dice.randint(1, 9), batch=number % 3 == 0)
            with suppress(QueueTimedOut, QueueFull, KeyQueueFull):
                lease = await dice.choice((first, second)).take(names, asking)
                try:
                    now[lease.name] += 1
                    served += 1
                    assert now[lease.name] <= most[lease.name]
                    assert lease.name in names
                    await asyncio.sleep(dice.random() * 0.005)
                finally:
                    now[lease.name] -= 1
                    lease.give_back()

        tasks = [asyncio.create_task(client(number)) for number in range(600)]
        for task in dice.sample(tasks, 150):
            asyncio.get_running_loop().call_later(dice.random(), task.cancel)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [each for each in ended if isinstance(each, Exception)]
        assert served
        for name in most:
            await until_standing(first, (0, 0), name)
        for leases in (first, second):
            assert (len(leases), leases._wishes, leases.held, leases.without_redis) == (0, {}, {}, 0)
