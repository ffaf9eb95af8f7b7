"""Attempts while backends come and go: nobody is sent to one that is there no more, or waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Literal

import pytest

from mlops_backend.errors import AppError, BackendRefused, BackendVanished, NoUsableBackend
from mlops_backend.services.llm.asked import GENERATE, OPENAI_GENERATE, Asked, passed_through, read_asked
from mlops_backend.services.llm.backends import Answer, BackendPool, Described
from mlops_backend.services.llm.backends.backend import once
from mlops_backend.services.llm.generation.admission import Generation
from mlops_backend.services.llm.generation.attempts import Attempts
from mlops_backend.services.llm.leases import Asking, Bounds, Lease, Leases, Standing
from mlops_backend.services.llm.pins import Pins
from mlops_backend.telemetry.record import RequestRecord

ASKED: Final = read_asked(GENERATE, "POST", "/api/generate", (), b'{"model": "llama3", "prompt": "Hi"}')
DEAR: Final = read_asked(
    OPENAI_GENERATE,
    "POST",
    "/v1/completions",
    (),
    b'{"model": "llama3", "prompt": "Hi", "max_tokens": 1e15, "n": 1e15}',
)


def nothing() -> None:
    """Nothing happens."""


class Listing:
    """A backend with one model, at which something happens when it is asked."""

    kind: Literal["ollama"] = "ollama"
    note = ""

    def __init__(self, name: str, happens: Callable[[], None] = nothing) -> None:
        self.address = f"http://{name}"
        self.happens = happens
        self.asked = 0

    async def version(self) -> str:
        """Its version."""
        return "1"

    async def tags(self) -> list[dict[str, Any]]:
        """Its model."""
        return [{"name": "llama3:latest", "model": "llama3:latest"}]

    async def running(self) -> list[dict[str, Any]]:
        """Nothing."""
        return []

    def aliases(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def described(self, name: str) -> None:
        """It says no more."""

    @asynccontextmanager
    async def forward(self, asked: Asked, record: RequestRecord) -> AsyncIterator[Answer]:
        """An answer, unless what happens is an error."""
        self.asked += 1
        self.happens()
        yield Answer(200, (), "application/json", once(b"{}"))


class Recording(Leases):
    """Leases that remember what was asked of their queue."""

    def __init__(self) -> None:
        super().__init__(Bounds(100, 100, 30, 30))
        self.seen: list[Asking] = []

    async def take(self, names: Sequence[str], asking: Asking) -> Lease:
        """See `Leases.take`."""
        self.seen.append(asking)
        return await super().take(names, asking)


class World:
    """Backends with one slot each, their leases, and what asks them."""

    def __init__(self, *backends: Described) -> None:
        self.leases = Recording()
        self.pool = BackendPool(timeout=5, told=self._told)
        self.attempts = Attempts(self.pool, self.leases, Pins())
        self.pool.use(backends)

    def _told(self, backends: Sequence[Described]) -> None:
        self.leases.use({each.name: each.most for each in backends})

    def hold(self, name: str) -> Lease:
        """Have somebody else run there."""
        lease = self.leases.at_once([name])
        assert lease is not None
        return lease

    async def status(self, asked: Asked = ASKED) -> int:
        """What a client is answered with."""
        async with AsyncExitStack() as stack:
            return await self.attempts.first(asked, Generation(RequestRecord("r", "POST")), stack, _status, 30)

    def asking(self, asked: Asked = ASKED) -> asyncio.Task[int]:
        """A client that may have to wait."""
        return asyncio.create_task(self.status(asked))

    async def until_waiting(self, count: int) -> None:
        """Until so many wait."""
        async with asyncio.timeout(20):
            while len(self.leases) != count:
                await asyncio.sleep(0)


async def _status(answer: Answer) -> int:
    return answer.status


def one_slot(backend: Listing, name: str = "") -> Described:
    """Called by its address where it has no name."""
    return Described(backend, name or backend.address, 1)


@pytest.mark.parametrize("is_named", [False, True], ids=["by addresses", "by names"])
async def test_a_backend_that_was_taken_away_meanwhile_is_not_asked(*, is_named: bool) -> None:
    """Though it stood behind one that failed: what runs there has its slot, and it gets no other one."""

    def first_fails() -> None:
        world.pool.use([first, third])
        raise BackendRefused("nobody is there")

    listing = [Listing("one", first_fails), Listing("two"), Listing("three")]
    first, second, third = (one_slot(each, f"gpu-{at}" if is_named else "") for at, each in enumerate(listing))
    world = World(first, second, third)
    await world.pool.probe()
    held = [world.hold(second.name), world.hold(third.name)]
    waiting = world.asking()
    await world.until_waiting(1)
    held[1].give_back()
    assert await waiting == 200
    assert [each.asked for each in listing] == [1, 0, 1]
    held[0].give_back()
    assert list(world.leases.standing()) == [Standing(first.name, 0, 1, 0), Standing(third.name, 0, 1, 0)]
    await world.pool.close()


@pytest.mark.parametrize("is_other", [False, True], ids=["called otherwise", "another one"])
async def test_who_waits_for_a_backend_that_is_taken_away_is_not_dropped(*, is_other: bool) -> None:
    """It is asked under its new name, or another one in its place."""
    old, other = Listing("old"), Listing("other")
    world = World(one_slot(old, "old"))
    await world.pool.probe()
    held = world.hold("old")
    waiting = [world.asking(), world.asking()]
    await world.until_waiting(2)
    world.pool.use([one_slot(other if is_other else old, "new")])
    assert await asyncio.gather(*waiting) == [200, 200]
    assert (old.asked, other.asked) == ((0, 2) if is_other else (2, 0))
    held.give_back()
    assert list(world.leases.standing()) == [Standing("new", 0, 1, 0)]
    await world.pool.close()


async def test_who_waits_for_a_backend_that_is_drained_does_not_come_to_it() -> None:
    """It is given to another one that has the model, or refused where there is none; what runs there goes on."""
    one, two = Listing("one"), Listing("two")
    world = World(one_slot(one, "one"), one_slot(two, "two"))
    await world.pool.probe()
    held = [world.hold("one"), world.hold("two")]
    waiting = [world.asking()]
    await world.until_waiting(1)
    world.pool.drain("one", drained=True)
    waiting.append(world.asking())  # while something runs there
    await world.until_waiting(2)
    held[0].give_back()
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    world.pool.drain("two", drained=True)
    for each in waiting:
        with pytest.raises(NoUsableBackend):
            await each
    assert (one.asked, two.asked) == (0, 0)
    assert world.leases.taken("two") == 1
    held[1].give_back()
    for name in ("one", "two"):
        world.pool.drain(name, drained=False)
    assert await asyncio.gather(*[world.asking() for _ in range(4)]) == [200] * 4
    assert [each.taken for each in world.leases.standing()] == [0, 0]
    await world.pool.close()


async def test_others_are_asked_while_a_drained_one_still_runs_something() -> None:
    """It is neither asked nor in the way."""
    listing = [Listing("one"), Listing("two"), Listing("three")]
    world = World(*map(one_slot, listing))
    await world.pool.probe()
    held = world.hold("http://one")
    world.pool.drain("http://one", drained=True)
    assert [await world.status() for _ in range(4)] == [200] * 4
    assert listing[0].asked == 0
    held.give_back()
    await world.pool.close()


def test_who_has_no_backends_yet_tells_nothing_of_them() -> None:
    """A worker that starts beside others hears first which are drained: those who wait there are not to be let go."""
    told: list[list[str]] = []
    pool = BackendPool(timeout=5, told=lambda backends: told.append([each.name for each in backends]))
    pool.drain("one", drained=True)
    assert told == []
    pool.use([one_slot(Listing("one"), "one"), one_slot(Listing("two"), "two")])
    pool.drain("one", drained=False)
    assert told == [["two"], ["one", "two"]]


async def test_who_waits_for_what_nobody_has_any_more_is_told() -> None:
    """At once."""
    world = World(one_slot(Listing("one")))
    held = world.hold("http://one")
    waiting = world.asking()
    await world.until_waiting(1)
    world.pool.use([])
    with pytest.raises(NoUsableBackend):
        await waiting
    held.give_back()


async def test_waits_for_several_backends_count_together() -> None:
    """`QUEUE_TIMEOUT` is for the request, however often it comes into the queue."""

    def fails() -> None:
        raise BackendRefused("nobody is there")

    one, two = one_slot(Listing("one", fails)), one_slot(Listing("two", fails))
    world = World(one, two)
    await world.pool.probe()
    held = [world.hold(each.name) for each in (one, two)]
    waiting = world.asking()
    await world.until_waiting(1)
    held[0].give_back()
    await asyncio.sleep(0)
    await world.until_waiting(1)
    held[1].give_back()
    with pytest.raises(AppError):
        await waiting
    assert [asking.waited > 0 for asking in world.leases.seen] == [False, True]
    await world.pool.close()


async def test_what_ends_backends_does_not_end_them_all() -> None:
    """A generation is asked for again twice, and what nobody here knows never; what nobody had begun, of all."""

    def vanishes() -> None:
        raise BackendVanished("it has closed the connection")

    def refuses() -> None:
        raise BackendRefused("nobody is there")

    unknown = read_asked(passed_through("/v1/batches"), "POST", "/v1/batches", (), b'{"model": "llama3"}')
    for happens, request, asked in (
        (vanishes, ASKED, 3),
        (refuses, ASKED, 5),
        (vanishes, unknown, 1),
        (refuses, unknown, 5),
    ):
        listing = [Listing(f"{at}", happens) for at in range(5)]
        world = World(*map(one_slot, listing))
        await world.pool.probe()
        with pytest.raises((BackendVanished, BackendRefused)):
            await world.status(request)
        assert sum(each.asked for each in listing) == asked
        assert [each.taken for each in world.leases.standing()] == [0] * 5
        await world.pool.close()


@pytest.mark.parametrize(("asked", "most"), [(ASKED, 257), (DEAR, 1_000_000)], ids=["usual", "1e30 tokens"])
async def test_no_request_costs_its_key_more_than_any_can_take(asked: Asked, most: int) -> None:
    """Else one would move the queue's time so far that nobody's cost counts any more."""
    world = World(one_slot(Listing("one")))
    held = world.hold("http://one")
    waiting = world.asking(asked)
    await world.until_waiting(1)
    assert [asking.cost() for asking in world.leases.seen] == [most]
    held.give_back()
    assert await waiting == 200
