"""What is Redis's own: it goes away and comes back, forgets, keeps silent, and processes die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from time import monotonic
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as NoAnswer
from structlog.testing import capture_logs

from mlops_backend import redis_clients
from mlops_backend.services.llm.leases import Asking, Leases, redis_book, redis_upkeep
from mlops_backend.services.llm.leases import redis_script as script
from mlops_backend.services.llm.leases.redis_book import Answer, Forgotten, LeaseBook
from mlops_backend.services.llm.leases.redis_leases import RedisLeases
from tests.e2e.processes import REPOSITORY, clean_environment
from tests.fakes.redis_lessors import MANY, lessor, of, queued, standing, until, until_standing
from tests.fakes.redis_server import RedisServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """One that a test may stop, and that may take its time; it is looked for more often than in earnest."""
    monkeypatch.setattr(redis_upkeep, "_PAUSE", 0.05)
    monkeypatch.setattr(redis_clients, "_READ", 10.0)
    monkeypatch.setattr(redis_clients, "_CONNECT", 10.0)
    with RedisServer() as running:
        yield running


@pytest.fixture
async def pair(server: RedisServer) -> AsyncIterator[list[RedisLeases]]:
    """Two processes' leases of one backend with two slots."""
    async with lessor(server, gpu=2) as one, lessor(server, gpu=2) as two:
        yield [one, two]


async def away(leases: RedisLeases) -> None:
    """Wait until it is noticed."""
    await until(lambda: not leases.redis_up)


async def back(leases: RedisLeases) -> None:
    """Wait until Redis is used again."""
    await until(lambda: leases.redis_up and leases._upkeep.joined.is_set())


async def test_while_redis_is_away_each_process_keeps_its_bound(server: RedisServer, pair: list[RedisLeases]) -> None:
    """With what it has already; who waits has its turn there, and nobody fails. When it is back all is told to it."""
    one, two = pair
    held = [await one.take(["gpu"], of("a")), await two.take(["gpu"], of("a"))]
    (moved,) = await queued(one, of("b"))
    (waits,) = await queued(two, of("c"))
    with capture_logs() as logs:
        server.stop()
        for leases in pair:
            await away(leases)
        held += [await moved, await waits]  # each has a slot more of its own now
        assert [leases.taken("gpu") for leases in pair] == [2, 2]
        assert [leases.at_once(["gpu"]) for leases in pair] == [None, None]
        late = [asyncio.create_task(one.take(["gpu"], of("d"))) for _ in range(2)]
        await until(lambda: len(one) == 2)
        assert ((await one.view("d")).waiting, len((await one.view("d")).places)) == (2, 2)
        held[2].give_back()
        held[2] = await late[0]
        assert [leases.without_redis for leases in pair] == [2, 1]
        server.start()
        for leases in pair:
            await back(leases)
    assert [log["event"] for log in logs] == ["leases_redis_down"] * 2 + ["leases_redis_up"] * 2
    await until_standing(one, (4, 1))  # more than there may be, until they are given back
    (last,) = await queued(two, of("e"))
    for lease in held[:2]:
        lease.give_back()
    await until_standing(one, (2, 2))
    held[2].give_back()
    (await late[1]).give_back()
    (await last).give_back()
    held[3].give_back()
    await until_standing(two, (0, 0))
    assert [leases.without_redis for leases in pair] == [2, 1]
    assert [leases.taken("gpu") for leases in pair] == [0, 0]


async def test_a_service_may_start_before_its_redis(server: RedisServer) -> None:
    """It gives what it may by itself, and tells it then."""
    server.stop()
    async with lessor(server, gpu=1) as leases:
        assert not leases.redis_up
        lease = leases.at_once(["gpu"])
        assert lease is not None
        waits = asyncio.create_task(leases.take(["gpu"], of("a")))
        await until(lambda: len(leases) == 1)
        server.start()
        await back(leases)
        await until_standing(leases, (1, 1))
        lease.give_back()
        (await waits).give_back()
        await until_standing(leases, (0, 0))


async def test_a_redis_that_forgets_is_told_again(server: RedisServer, pair: list[RedisLeases]) -> None:
    """Without having been away: leases count on, and who waited waits on."""
    one, two = pair
    held = [await one.take(["gpu"], of("a")), await two.take(["gpu"], of("a"))]
    tasks = [*await queued(one, of("b")), *await queued(two, of("c"))]
    client = Redis(unix_socket_path=str(server.socket))
    await client.flushall()
    await client.aclose()
    await until_standing(one, (2, 2))
    for lease in held:
        lease.give_back()
    for task in tasks:
        (await task).give_back()
    await until_standing(one, (0, 0))
    assert [(leases.without_redis, leases.redis_up) for leases in pair] == [(0, True)] * 2


async def test_a_request_finds_out_that_redis_forgot(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """And waits for as long as it takes to tell it: the bound holds."""
    monkeypatch.setattr(redis_upkeep, "BEAT", 60.0)
    async with lessor(server, gpu=1) as leases:
        lease = await leases.take(["gpu"], of("a"))
        client = Redis(unix_socket_path=str(server.socket))
        await client.flushall()
        await client.aclose()
        (waits,) = await queued(leases, of("b"))
        assert await standing(leases) == (1, 1)
        lease.give_back()
        (await waits).give_back()
        assert leases.without_redis == 0


async def test_who_asks_while_redis_is_told_again_loses_nothing(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two questions of one request: what comes of the second one counts."""
    monkeypatch.setattr(redis_book, "SETTLE", 0.1)
    async with lessor(server, gpu=1) as leases:
        lease = await leases.take(["gpu"], of("a"))

        def cost() -> float:
            leases._upkeep.failed(Forgotten("as if"))
            leases._steps.turns = asyncio.Semaphore(0)
            return 1.0

        asking = asyncio.create_task(leases.take(["gpu"], Asking("b", cost)))
        await until(lambda: leases._book.epoch == 2 and leases._upkeep.joined.is_set())
        lease.give_back()
        leases._steps.turns.release()
        (await asking).give_back()
        await until_standing(leases, (0, 0))


async def test_what_changes_while_redis_is_told_is_told_too(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that is given by this process, and one that is given back, before Redis is asked again."""
    async with lessor(server, gpu=2) as leases:
        held = [await leases.take(["gpu"], of("a"))]
        join = leases._book.join

        async def joined(*told: Any) -> None:
            await join(*told)
            held.pop().give_back()
            held.extend(lease for _ in range(3) if (lease := leases.at_once(["gpu"])) is not None)

        server.stop()
        await away(leases)
        monkeypatch.setattr(leases._book, "join", joined)
        server.start()
        await back(leases)
        assert len(held) == leases.without_redis == 2
        await until_standing(leases, (2, 0))
        for lease in held:
            lease.give_back()
        await until_standing(leases, (0, 0))


async def test_a_redis_that_hangs_keeps_nobody_for_long(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does when it wakes comes too late, and takes nothing."""
    monkeypatch.setattr(redis_clients, "_READ", 1.0)
    async with lessor(server, gpu=1) as leases:
        server.pause()
        lease = await leases.take(["gpu"], of("a"))
        assert (leases.redis_up, leases.without_redis) == (False, 1)
        server.resume()
        await back(leases)
        await until_standing(leases, (1, 0))
        lease.give_back()
        await until_standing(leases, (0, 0))


async def test_an_answer_that_is_lost_behind_one_who_left_costs_no_slot(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis gave it, nobody heard of it, and nobody is there any more who would have it."""
    given, left = asyncio.Event(), asyncio.Event()
    async with lessor(server, gpu=1) as leases:
        take = leases._book.take

        async def lost(lease: str, bounds: Mapping[str, int | None]) -> Answer:
            await take(lease, bounds)
            given.set()
            await left.wait()
            raise NoAnswer("as if")

        monkeypatch.setattr(leases._book, "take", lost)
        asking = asyncio.create_task(leases.take(["gpu"], of("a")))
        await given.wait()
        assert await standing(leases) == (1, 0)
        asking.cancel()
        await asyncio.wait({asking})
        left.set()
        await until_standing(leases, (0, 0))


@asynccontextmanager
async def books(server: RedisServer, now: list[float], count: int) -> AsyncIterator[list[LeaseBook]]:
    """Those of several processes, by a clock of ours."""
    made = [LeaseBook(server.url, MANY, clock=lambda: now[0]) for _ in range(count)]
    try:
        yield made
    finally:
        for book in made:
            await book.aclose()


@pytest.mark.parametrize("somebody_new", [False, True])
async def test_until_all_have_told_nothing_is_given(server: RedisServer, *, somebody_new: bool) -> None:
    """Of those that were there before Redis, be it that one comes first who was not."""
    now = [1000.0]
    async with books(server, now, 3) as (first, second, new):
        if somebody_new:
            await new.join([], {"gpu": 2})
            first.epoch = second.epoch = 1
        await first.join([("a", "gpu")], {"gpu": 2})
        assert (await first.take("late", {"gpu": 2})).code == script.NO_ROOM
        await second.join([("b", "gpu")], {"gpu": 2})
        now[0] += redis_book.SETTLE
        assert (await first.take("late", {"gpu": 2})).code == script.NO_ROOM
        await second.back(["b"])
        assert (await first.take("late", {"gpu": 2})).code == script.GRANTED


async def test_who_starts_first_waits_for_nobody(server: RedisServer) -> None:
    """It has nothing, and nobody was there."""
    async with books(server, [1000.0], 2) as both:
        for book in both:
            await book.join([], {"gpu": 2})
        assert [(await book.take(lease, {"gpu": 2})).code for lease, book in zip("ab", both, strict=True)] == [
            script.GRANTED
        ] * 2


async def test_a_clock_that_is_set_back_keeps_no_slot(server: RedisServer) -> None:
    """Neither that of one who dies, nor those that are not given until all have told what they have."""
    now = [9000.0]
    async with books(server, now, 2) as (staying, dying):
        for number, book in enumerate((dying, staying)):
            await book.join([(f"lease {number}", "gpu")], {"gpu": 2})
        now[0] = 1000.0
        await staying.back(["lease 1"])
        assert (await staying.take("other", {"gpu": 2})).code == script.GRANTED
        assert (await staying.take("late", {"gpu": 2})).code == script.NO_ROOM
        for _ in range(2):
            now[0] += redis_book.LIFE - 1
            await staying.beat([])
        assert (await staying.take("late", {"gpu": 2})).code == script.GRANTED


async def test_what_comes_too_late_does_nothing(server: RedisServer) -> None:
    """What a process sent before it joined again, be it that it joined."""
    async with aclosing(LeaseBook(server.url, MANY)) as book:
        await book.join([], {"gpu": 2})
        await book.join([("lease", "gpu")], {"gpu": 2})
        book.epoch = 1
        for late in (book.take("other", {"gpu": 2}), book.back(["lease"]), book.leave()):
            with pytest.raises(Forgotten):
                await late
        book.epoch = 1
        with pytest.raises(Forgotten):
            await book.join([], {"gpu": 2})
        page = await book.page()
        assert page.taken == {"gpu": 1}


async def test_nobody_gives_back_what_is_anothers(server: RedisServer) -> None:
    """Be it a lease or a place."""
    async with aclosing(LeaseBook(server.url, MANY)) as one, aclosing(LeaseBook(server.url, MANY)) as two:
        for book in (one, two):
            await book.join([], {"gpu": 1})
        await one.take("lease", {"gpu": 1})
        await one.wait("place", {"gpu": 1}, of("a"), 1, again=False)
        await two.back(["lease", "place"])
        page = await one.page()
        assert (page.taken, len(page.waiting)) == ({"gpu": 1}, 1)


async def test_a_message_that_is_lost_costs_a_moment(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is asked for with each sign of life, and has its slot then."""
    monkeypatch.setattr(redis_upkeep, "BEAT", 0.2)
    async with lessor(server, gpu=1) as leases:
        lease = await leases.take(["gpu"], of("a"))
        await until(lambda: leases._upkeep._listening)
        (waits,) = await queued(leases, of("b"))
        client = Redis(unix_socket_path=str(server.socket))
        assert await client.publish(f"{leases._book._base}news:{leases._book._owner}", "other gpu") == 1
        execute: Any = client.execute_command
        await execute("CLIENT KILL", "TYPE", "pubsub")
        monkeypatch.setattr(redis_upkeep, "_PAUSE", 60.0)
        await client.aclose()
        await until(lambda: not leases._upkeep._listening)
        lease.give_back()
        (await waits).give_back()


async def test_who_may_not_listen_asks(server: RedisServer) -> None:
    """A user of Redis without channels: who waits has its slot as it would."""
    client: Any = Redis(unix_socket_path=str(server.socket))
    await client.execute_command("ACL SETUSER", "quiet", "on", ">word", "~mlops:*", "resetchannels", "+@all")
    await client.aclose()
    async with aclosing(RedisLeases(f"unix://quiet:word@{server.socket}", Leases(MANY))) as leases:
        await leases.open()
        leases.use({"gpu": 1})
        lease = await leases.take(["gpu"], of("a"))
        (waits,) = await queued(leases, of("b"))
        lease.give_back()
        async with asyncio.timeout(30):
            (await waits).give_back()
        assert leases.redis_up
        assert not leases._upkeep._listening
        await until_standing(leases, (0, 0))


async def test_a_service_that_ends_leaves_nothing(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it still had is had by those who wait elsewhere, before it could be missed; its name is gone."""
    monkeypatch.setattr(redis_book, "LIFE", 3600.0)
    async with lessor(server, gpu=1) as staying:
        async with lessor(server, gpu=1) as leaving:
            await leaving.take(["gpu"], of("a"))
            (waits,) = await queued(staying, of("b"))
        (await waits).give_back()
        await until_standing(staying, (0, 0))
        client = Redis(unix_socket_path=str(server.socket))
        assert await client.zcard("mlops:{leases}:owners") == 1
        assert [name for name in await client.keys("*") if await client.ttl(name) < 0] == []
        await client.aclose()


HOLDER = """
import asyncio, sys
from tests.fakes.redis_lessors import MANY, of
from mlops_backend import redis_clients
from mlops_backend.services.llm.leases import Asking, Leases, redis_book, redis_upkeep
from mlops_backend.services.llm.leases import redis_script as script
from mlops_backend.services.llm.leases.redis_leases import RedisLeases

async def main():
    redis_book.LIFE, redis_upkeep.BEAT = float(sys.argv[2]), float(sys.argv[3])
    leases = RedisLeases(sys.argv[1], Leases(MANY))
    await leases.open()
    leases.use({"gpu": 2})
    held = [await leases.take(["gpu"], of("a")) for _ in range(2)]
    waiting = asyncio.create_task(leases.take(["gpu"], of("a")))
    while not len(leases):
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("life", "beat"), [(1.4, 0.3), pytest.param(redis_book.LIFE, redis_book.BEAT, marks=pytest.mark.long)]
)
async def test_leases_of_a_killed_process_come_back(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, life: float, beat: float
) -> None:
    """Within ten seconds in earnest, though nobody asks; and nobody waits for it any more."""
    monkeypatch.setattr(redis_book, "LIFE", life)
    monkeypatch.setattr(redis_upkeep, "BEAT", beat)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, server.url, str(life), str(beat),
        cwd=REPOSITORY, env=clean_environment(), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with lessor(server, gpu=2) as leases, asyncio.timeout(60):
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            await asyncio.sleep(2 * life)  # it lives, so it keeps them
            (waits,) = await queued(leases, of("b"))
            assert await standing(leases) == (2, 2)
            os.kill(process.pid, signal.SIGKILL)
            killed = monotonic()
            lease = await waits
            assert monotonic() - killed < (10 if life == redis_book.LIFE else 60)
            await until_standing(leases, (1, 0))
            lease.give_back()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
