"""A user of Redis who may do what the documentation lists, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from redis.asyncio import Redis

from mlops_backend.days import UTC_DAYS
from mlops_backend.redis_clients import REDIS_ERRORS
from mlops_backend.services.llm.leases import Asking, Bounds, redis_book
from mlops_backend.services.llm.leases.redis_book import LeaseBook
from mlops_backend.services.other.journals import Bounds as JournalBounds
from mlops_backend.services.other.journals import Claim, Head, Opening
from mlops_backend.services.other.journals.redis_store import RedisStore as JournalStore
from mlops_backend.services.other.limits import script
from mlops_backend.services.other.limits.charge import Charge
from mlops_backend.services.other.limits.redis_limiter import RedisLimiter
from mlops_backend.services.other.limits.redis_store import LIFE, RedisStore, Settlement
from mlops_backend.services.other.limits.windows import windows_at
from mlops_backend.services.other.response_cache import Entry
from mlops_backend.services.other.response_cache.redis import RedisKeeper
from mlops_backend.setting_stores import redis_url
from tests.fakes.limits import NOON, Ledger, key, quiet
from tests.fakes.limits_model import SECOND, Clock
from tests.fakes.redis_server import RedisServer

PAGE: Final = Path(__file__).parents[3] / "docs" / "operating.md"
DAY: Final = 86_400 * SECOND


def listed() -> list[str]:
    """The words of the command that the page gives."""
    found = re.findall(r"`ACL SETUSER mlops ([^`]+)`", PAGE.read_text())
    return str(found[0]).split()


COMMANDS: Final = [word for word in listed() if word.startswith("+")]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis for these tests."""
    with RedisServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are given again sooner than in earnest."""
    monkeypatch.setattr(redis_book, "SETTLE", 0.1)


def address(server: RedisServer, database: int = 0) -> str:
    """Where that user meets it."""
    return redis_url(f"unix://mlops:password@{server.socket}?db={database}")


async def may(server: RedisServer, *words: str) -> None:
    """Make the user anew, forget all data and what was refused before."""
    client: Any = Redis.from_url(server.url)
    await client.flushall()
    await client.execute_command("SCRIPT FLUSH")
    await client.execute_command("ACL DELUSER", "mlops")
    await client.execute_command("ACL SETUSER", "mlops", "reset", *words)
    await client.execute_command("ACL LOG", "RESET")
    await client.aclose()


async def refused(server: RedisServer) -> set[str]:
    """What Redis did not let anybody do since."""
    client: Any = Redis.from_url(server.url, decode_responses=True)
    entries = await client.execute_command("ACL LOG")
    await client.aclose()
    return {entry["object"] for entry in entries}


async def do_everything(url: str) -> None:
    """All that the service ever asks of Redis: each script with each of its branches, on both clocks."""
    clock = Clock(NOON)
    store, on_redis_time = RedisStore(url, clock=clock), RedisStore(url)
    try:
        await store._client.ping()
        await store.probe()
        await on_redis_time.take("k1", "/route", 1, 10)
        limits = key(requests="60/minute", tokens="60/minute", tokens_per_day=100, tokens_per_month=100).limits
        charge, windows = Charge("k1", limits, 5, 5), windows_at(NOON, UTC_DAYS)
        assert (await store.reserve(charge, "a", windows)).code == script.UNSEEDED
        await store.seed("k1", "day", windows.day.start - 9 * DAY, 0)
        for name, window in windows._asdict().items():
            await store.seed("k1", name, window.start, 0)
        assert (await store.reserve(charge, "a", windows)).code == script.ADMITTED
        await store.renew([("k1", ["a"])])
        await store.settle([Settlement("k1", "a", 5, SECOND, released=True)])
        await store.settle([Settlement("k1", "never", given_up=True)])
        assert (await store.reserve(charge, "b", windows)).code == script.ADMITTED
        clock.now += 2 * LIFE
        assert (await store.reserve(charge, "c", windows)).code == script.ADMITTED
        await keep_leases(url)
        await keep_journals(url)
        await keep_answers(url)
    finally:
        await store.aclose()
        await on_redis_time.aclose()


async def keep_leases(url: str) -> None:
    """All that is asked for leases, and for those who wait."""
    book = LeaseBook(url, Bounds(9, 9, 9, 9))
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    listening = asyncio.create_task(book.listen(lambda *told: heard.put_nowait(told), lambda _: None))
    try:
        for _ in range(2):
            await book.join([], {"gpu": 1})
        await book.hold([("a", "gpu")])
        asking = Asking("k1", lambda: 1)
        for each in "bc":
            assert (await book.wait(each, {"gpu": 1}, asking, 1, again=False)).waiting
        await book.use(["cpu"], {"gpu": 2}, ["c"])
        assert len((await book.page()).waiting) == 2
        async with asyncio.timeout(30):
            while not (await book.beat(["b"]))[1]:  # nothing is given before all have told what they have
                await asyncio.sleep(0.05)
            listened = asyncio.create_task(heard.get())
            await asyncio.wait({listening, listened}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                await listening
            assert await listened == ("b", "gpu")
        await book.back(["a", "b", "c"])
        await book.leave()
    finally:
        while not listening.done():  # redis-py can lose a cancel on Python 3.11
            listening.cancel()
            await asyncio.wait({listening}, timeout=0.1)
        await book.aclose()


async def keep_journals(url: str) -> None:
    """All that is asked for journals: one grows too long, others make room, and somebody waits for a piece."""
    clock = Clock(0)
    store = JournalStore(url, JournalBounds(each=4000, all=9000, count=3, of_owner=2), lambda: True, clock=clock)
    try:
        for number in range(1, 6):
            clock.now += 1
            await store.begin(Opening(f"j{number}", "key", "request", 1.5, claim=Claim(f"name-{number}", "same")))
            await store.read(f"j{number}", 0, waits=True)
            await store.write(f"j{number}", 1, [b"x" * 1000] * 3, Head(200))
            await store.end(f"j{number}", 4, "done", keeps_claim=number != 2)
        clock.now -= 2
        await store.begin(Opening("j6", "key", "request", 1.5))
        assert (await store.read("j5", 2, waits=True)).pieces
        assert await store.listed("key")
        await store.opening("j5")
        await store.forget("j5")
        clock.now += 9000
        assert await store.listed("key") == []
    finally:
        await store.aclose()


async def keep_answers(url: str) -> None:
    """All that is asked for kept answers: found, replaced, grown too old, and too many."""
    clock = Clock(NOON)
    keeper = RedisKeeper(url, 60, 3000, lambda: clock.now / SECOND)
    try:
        for name in ("a", "a", "b", "c"):
            clock.now += SECOND
            assert await keeper.get("c") is None
            await keeper.put(name, Entry((), b"x", 0.0, False, "m", ""))
        assert await keeper.get("c") is not None
        assert keeper.entries == 2
        clock.now += 70 * SECOND
        await keeper.put("d", Entry((), b"x", 0.0, False, "m", ""))
        assert keeper.entries == 1
    finally:
        await keeper.aclose()


async def test_the_commands_that_are_listed_are_enough(server: RedisServer) -> None:
    """Nothing is refused, of no database; and budgets are kept: no connection sets its name."""
    await may(server, *listed())
    for database in (0, 3):
        await do_everything(address(server, database))
    limiter = RedisLimiter(address(server), Ledger(), default_reserve=100, budgets_fail_open=False)
    await limiter.open()
    tester = key(requests="60/minute", tokens_per_day=1000)
    (await limiter.reserve(tester, 5, 5)).settle(5)
    await quiet(limiter)
    assert limiter.redis_up
    await limiter.aclose()
    assert await refused(server) == set()


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_command_that_is_listed_is_needed(server: RedisServer, command: str) -> None:
    """Without it something is refused."""
    await may(server, *(word for word in listed() if word != command))
    try:
        await do_everything(address(server, 3))
    except (*REDIS_ERRORS, AssertionError):
        pass
    name = command.removeprefix("+")
    assert {name, name.partition("|")[0]} & await refused(server)  # Redis 6 tells no more than the first word
