"""The order that Redis keeps is that of the fair queue, whoever comes and leaves, in whichever process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from mlops_backend.services.llm.leases import Asking, Bounds, FairQueue, Ticket
from mlops_backend.services.llm.leases import redis_script as script
from mlops_backend.services.llm.leases.redis_book import LeaseBook
from tests.fakes.redis_server import RedisServer

AGED = 20.0
BOUNDS = Bounds(1000, 1000, 30, AGED)
SLOTS = ("gpu", "cpu")


@dataclass
class Both:
    """The queue in Redis, of two processes, beside the one in memory; each slot is always taken."""

    books: list[LeaseBook]
    dice: random.Random
    now: list[float]
    queue: FairQueue = field(default_factory=lambda: FairQueue(AGED))
    waiting: dict[str, tuple[LeaseBook, Ticket]] = field(default_factory=dict)
    holding: dict[str, tuple[LeaseBook, str]] = field(default_factory=dict)
    count: int = 0
    served: list[str] = field(default_factory=list)

    async def fill(self, slot: str) -> None:
        """Take a slot that nobody waits for."""
        book = self.dice.choice(self.books)
        self.count += 1
        answer = await book.take(f"holder {self.count}", {slot: 1})
        assert answer.code == script.GRANTED
        self.holding[slot] = (book, f"holder {self.count}")

    async def come(self) -> None:
        """One comes."""
        dice = self.dice
        key, batch, cost = dice.choice("abcd"), dice.random() < 0.4, dice.random() * 9 + 0.1
        weight, waited = dice.choice([1.0, 0.3]), dice.choice([0.0, AGED / 2])
        await self.put(Asking(key, lambda: cost, batch, weight, waited), dice.choice([SLOTS[:1], SLOTS[1:], SLOTS]))

    async def put(self, asking: Asking, names: tuple[str, ...]) -> None:
        """This one comes."""
        self.count += 1
        lease, cost, book = f"lease {self.count}", asking.cost(), self.dice.choice(self.books)
        answer = await book.wait(lease, dict.fromkeys(names, 1), asking, cost, again=False)
        assert answer.code == script.QUEUED
        since = self.now[0] - asking.waited
        ticket = Ticket(asking.key, frozenset(names), cost, since, asking.batch, asking.weight)
        self.queue.put(ticket)
        self.waiting[lease] = book, ticket
        assert answer.waiting == len(self.waiting)

    async def leave(self) -> None:
        """One leaves."""
        if self.waiting:
            lease = self.dice.choice(sorted(self.waiting))
            book, ticket = self.waiting.pop(lease)
            await book.back([lease])
            self.queue.drop(ticket)

    async def serve(self) -> None:
        """A slot comes free: who has it now is who is next in memory."""
        await self.serve_of(self.dice.choice(SLOTS))

    async def serve_of(self, slot: str) -> None:
        """This one does."""
        book, lease = self.holding.pop(slot)
        expected = self.queue.take(slot, self.now[0])
        await book.back([lease])
        granted = []
        for each in self.books:
            own = [lease for lease, (of, _) in self.waiting.items() if of is each]
            granted += [(lease, name, each) for lease, name in (await each.beat(own))[1]]
        assert [self.waiting[lease][1] for lease, *_ in granted] == ([] if expected is None else [expected])
        if expected is None:
            await self.fill(slot)
        for lease, name, book in granted:
            assert name == slot
            del self.waiting[lease]
            self.holding[slot] = (book, lease)
            self.served.append(lease)

    async def compare(self) -> None:
        """What is shown is what is there, in its order."""
        page = await self.books[0].page()
        assert page.taken == page.most == dict.fromkeys(SLOTS, 1)
        for slot in SLOTS:
            shown = sorted((one.batch, one.start, one.number, one.key) for one in page.waiting if slot in one.names)
            inside = [(each.batch, each.start, each.key) for each in self.queue.in_order(frozenset({slot}))]
            assert [(batch, start, key) for batch, start, _, key in shown] == inside


@pytest.fixture
async def both(redis: RedisServer) -> AsyncIterator[Both]:
    """Two processes, and a clock of ours."""
    now = [1000.0]
    books = [LeaseBook(redis.url, BOUNDS, clock=lambda: now[0]) for _ in range(2)]
    for book in books:
        await book.join([], dict.fromkeys(SLOTS, 1))
    yield Both(books, random.Random(0), now)
    for book in books:
        await book.aclose()


@pytest.mark.parametrize("seed", range(4))
async def test_the_order_is_that_of_the_fair_queue(both: Both, seed: int) -> None:
    """Ageing, weights, two slots, those who leave, and a queue that runs empty."""
    both.dice.seed(seed)
    for slot in SLOTS:
        await both.fill(slot)
    for number in range(400):
        crowded = number % 100 < 60
        step = both.dice.choices([both.come, both.serve, both.leave], [6, 3, 1] if crowded else [1, 6, 2])[0]
        await step()
        if number % 20 == 0:
            await both.compare()
        both.now[0] += both.dice.random()
        await asyncio.gather(*(book.beat([]) for book in both.books))
    assert len(both.served) > 50


async def test_an_empty_queue_has_no_past(both: Both) -> None:
    """Whoever was the last one: it is an old batch request's turn as if none had been before."""
    for slot in SLOTS:
        await both.fill(slot)
    for _ in range(2):
        await both.put(Asking("old", lambda: 1, True, 1.0, AGED), ("gpu",))
        await both.put(Asking("people", lambda: 1), ("gpu",))
        await both.serve_of("gpu")
        (left,) = both.waiting
        assert not both.waiting[left][1].batch
        await both.leave()


async def test_little_is_remembered_of_those_who_left(both: Both) -> None:
    """A queue that is stuck, while clients of many keys come and go."""
    book = both.books[0]
    for slot in SLOTS:
        await both.fill(slot)
    await both.come()
    for number in range(500):
        asking = Asking(f"key {number}", lambda: 1)
        await book.wait(f"passer-by {number}", {"gpu": 1}, asking, 1, again=False)
        await book.back([f"passer-by {number}"])
    client = book._client
    assert await client.hlen(f"{book._base}ends") < 200
    assert await client.hlen(f"{book._base}keys") == 1
    assert await client.hlen(f"{book._base}tickets") == 1
