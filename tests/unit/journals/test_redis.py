"""Journals in Redis: whatever becomes of it, a reader gets all of an answer in its order, or an error."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from mlops_backend import redis_clients
from mlops_backend.errors import NotFound, StreamBroken, Unavailable
from mlops_backend.services.other.journals import Bounds, Head, Writer, follow, redis_journals
from mlops_backend.services.other.journals.redis_journals import RedisJournals
from tests.fakes.redis_server import RedisServer
from tests.unit.journals.keepers import SMALL, Clock, opened

LARGE = Bounds()
HEAD = Head(200, (("Content-Type", "text/event-stream"),))
# Another process, which writes a piece every few milliseconds until it is killed.
WRITES = """
import asyncio, sys
from itertools import count
from mlops_backend.services.other.journals import Bounds, Head, Opening, Writer
from mlops_backend.services.other.journals.redis_journals import RedisJournals

async def main():
    journals = RedisJournals(sys.argv[1], Bounds())
    await journals.open()
    await journals.begin(Opening("journal-1", "key", "request-1", 1.5))
    writer = Writer(journals, "journal-1", 60, lambda: None)
    writer.begin(Head(200))
    for number in count(1):
        await writer.add([b"%d " % number])
        if number == 50:
            print("begun", flush=True)
        await asyncio.sleep(0.002)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is looked for more often than in earnest."""
    monkeypatch.setattr(redis_journals, "_PAUSE", 0.05)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis that is empty."""
    with RedisServer() as server:
        yield server


@asynccontextmanager
async def process(
    redis: RedisServer, bounds: Bounds = LARGE, clock: Clock | None = None
) -> AsyncIterator[RedisJournals]:
    """What one process has of them."""
    made = RedisJournals(redis.url, bounds, clock=clock)
    await made.open()
    try:
        yield made
    finally:
        await made.aclose()


async def read(journals: RedisJournals, after: int = 0) -> bytes:
    """The rest of the first journal."""
    return b"".join([b"".join(page.pieces) async for page in follow(journals, "journal-1", after)])


async def read_into(journals: RedisJournals, pieces: list[bytes]) -> None:
    """The first journal's pieces, as they come."""
    async for page in follow(journals, "journal-1"):
        pieces += page.pieces


async def until_up(*several: RedisJournals) -> None:
    """Until all of them have found Redis again."""
    async with asyncio.timeout(20):
        while not all(journals.redis_up for journals in several):
            await asyncio.sleep(0.01)


async def asked(redis: RedisServer, *words: str | int) -> Any:
    """What Redis answers to a command."""
    client: Any = Redis(unix_socket_path=str(redis.socket))
    try:
        return await client.execute_command(*words)
    finally:
        await client.aclose()


async def test_a_hundred_readers(redis: RedisServer) -> None:
    """Each gets all of it, once and in order, whenever it comes; they ask together."""
    async with process(redis) as writes, process(redis) as reads:
        await writes.begin(opened())
        writer = Writer(writes, "journal-1", 60, lambda: None)
        writer.begin(HEAD)
        readers = []
        for number in range(200):
            await writer.add([b"%d " % number])
            if number % 2:
                readers.append(asyncio.create_task(read(reads)))
            await asyncio.sleep(0.001)
        await writer.close("done")
        assert set(await asyncio.gather(*readers)) == {b"".join(b"%d " % number for number in range(200))}
        assert not reads._waiting


@pytest.mark.parametrize("is_stopped", [True, False])
async def test_redis_is_away_for_a_moment(is_stopped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped and started with what it had, or hanging: nothing is lost, nothing doubled; who begins is refused."""
    monkeypatch.setattr(redis_clients, "_READ", 0.3)
    with RedisServer(append_only=True) as redis:
        async with process(redis) as writes, process(redis) as reads:
            await writes.begin(opened())
            stopped: list[None] = []
            writer = Writer(writes, "journal-1", 60, lambda: stopped.append(None))
            reader = asyncio.create_task(read(reads))
            for number in range(150):
                await writer.add([b"%d " % number])
                await asyncio.sleep(0.01)
                if number == 20:
                    (redis.stop if is_stopped else redis.pause)()
                if number == 60:
                    with pytest.raises(Unavailable):
                        await writes.begin(opened(2))
                if number == 100:
                    (redis.start if is_stopped else redis.resume)()
            await writer.close("done")
            assert await reader == b"".join(b"%d " % number for number in range(150))
            assert await read(reads) == await reader
            assert not stopped


async def test_redis_comes_later_than_the_service(redis: RedisServer) -> None:
    """Nothing can begin before; then everything can, and the log has both."""
    redis.stop()
    with capture_logs() as logs:
        async with process(redis) as journals:
            for step in (journals.begin(opened()), journals.read("journal-1"), journals.listed("key")):
                with pytest.raises(Unavailable):
                    await step
            redis.start()
            await until_up(journals)
            assert await journals.begin(opened()) == opened()
    assert [log["event"] for log in logs] == ["streams_redis_down", "streams_redis_up"]


async def test_redis_comes_back_empty(redis: RedisServer) -> None:
    """The writer is told to stop, and its readers get an error; nobody hangs, nothing is told with a gap."""
    async with process(redis) as writes, process(redis) as reads:
        await writes.begin(opened())
        stopped = asyncio.Event()
        writer = Writer(writes, "journal-1", 60, stopped.set)
        reader = asyncio.create_task(read(reads))
        for number in range(20):
            await writer.add([b"%d " % number])
            await asyncio.sleep(0.005)
        redis.stop()
        await writer.add([b"lost"])
        redis.start()
        await until_up(writes, reads)
        async with asyncio.timeout(30):
            await stopped.wait()
            with pytest.raises((NotFound, StreamBroken)):
                await reader
        await writer.add([b"more"])
        await writer.close("done")
        with pytest.raises(NotFound):
            await reads.read("journal-1")


@pytest.mark.parametrize("lost", ["pieces", "numbers", "the whole"])
async def test_redis_has_lost_a_part(redis: RedisServer, lost: str) -> None:
    """A failover lost the last pieces, or Redis threw something away: there is no such stream any more."""
    async with process(redis) as journals:
        await journals.begin(opened())
        await journals.write("journal-1", [b"one", b"two"], HEAD)
        await journals.write("journal-1", [b"three"])
        base = "mlops:{journals}:"
        match lost:
            case "pieces":
                await asked(redis, "DEL", f"{base}pieces:journal-1")
                with pytest.raises(NotFound):
                    await journals.read("journal-1")
            case "numbers":
                await asked(redis, "XTRIM", f"{base}pieces:journal-1", "MAXLEN", 2)
                await asked(redis, "HSET", f"{base}of:journal-1", "next", 3)
                with pytest.raises(NotFound):
                    await journals.write("journal-1")
            case _:
                await asked(redis, "DEL", f"{base}of:journal-1")
                with pytest.raises(NotFound):
                    await journals.write("journal-1", [b"four"])
        await journals.end("journal-1", "done")
        with pytest.raises(NotFound):
            await journals.read("journal-1")


async def test_an_end_comes_behind_all_pieces(redis: RedisServer) -> None:
    """One that Redis has with fewer pieces than were written gets none."""
    async with process(redis) as journals:
        await journals.begin(opened())
        await journals.write("journal-1", [b"one", b"two"])
        await asked(redis, "HSET", "mlops:{journals}:of:journal-1", "next", 2)
        await journals.end("journal-1", "done")
        with pytest.raises(NotFound):
            await journals.read("journal-1")


async def test_what_redis_did_not_answer_is_there_once(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hung, and did nevertheless what it was asked; a journal that nobody knows to have begun is forgotten."""
    monkeypatch.setattr(redis_clients, "_READ", 0.2)
    async with process(redis) as journals:
        await journals.begin(opened())
        await journals.write("journal-1", [b"one"])
        redis.pause()
        with pytest.raises(Unavailable):
            await asyncio.gather(
                journals.write("journal-1", [b"two", b"three"]),
                journals.begin(opened(2, claim="name")),
            )
        redis.resume()
        await until_up(journals)
        await journals.write("journal-1", [b"two", b"three", b"four"])
        assert list((await journals.read("journal-1")).pieces) == [b"one", b"two", b"three", b"four"]
        async with asyncio.timeout(30):
            while [each.opening.id for each in await journals.listed("key")] != ["journal-1"]:
                await asyncio.sleep(0.01)
        assert await journals.begin(opened(3, claim="name")) == opened(3, claim="name")
        journals._doubt("journal-3")
        assert await journals.begin(opened(3, claim="name")) == opened(3, claim="name")
        assert not journals._doubtful


async def test_a_client_that_leaves_while_a_journal_begins(redis: RedisServer) -> None:
    """It is forgotten; nothing waits, and the connection is whole."""
    async with process(redis) as journals:
        for number in range(10):
            beginning = asyncio.create_task(journals.begin(opened(number, claim="name")))
            await asyncio.sleep(0.0001 * number)
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
        async with asyncio.timeout(30):
            while await journals.listed("key"):
                await asyncio.sleep(0.01)
        assert journals.redis_up
        assert await journals.begin(opened(11, claim="name")) == opened(11, claim="name")


async def test_nobody_tells_of_a_piece(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this process may not listen, it looks."""
    monkeypatch.setattr(redis_journals, "_LOOK", 60)
    async with process(redis) as journals:
        await journals.begin(opened())
        async with asyncio.timeout(30):
            while not journals._listening:
                await asyncio.sleep(0.01)
            for number, hears in enumerate((True, False)):
                journals._listening = hears
                waiting = asyncio.create_task(journals.read("journal-1", number, 30))
                await asyncio.sleep(0.05)
                if not hears:
                    await asked(redis, "DEL", "mlops:{journals}:waiting:journal-1")
                await journals.write("journal-1", [b"%d" % number])
                assert list((await waiting).pieces) == [b"%d" % number]


async def test_nothing_is_left_for_ever(redis: RedisServer) -> None:
    """Every name has a time to live, and with the last journal all but the sum is gone."""
    clock = Clock()
    async with process(redis, SMALL, clock) as journals:
        for number in range(1, 4):
            await journals.begin(opened(number, f"key-{number}", claim=f"name-{number}"))
            await journals.write(f"journal-{number}", [b"x" * 1000], HEAD)
            waiting = asyncio.create_task(journals.read(f"journal-{number}", 1, 5))
            await asyncio.sleep(0.02)
            waiting.cancel()
        await journals.end("journal-1", "done")
        names = await asked(redis, "KEYS", "mlops:{journals}:*")
        assert len(names) >= 14
        assert all([await asked(redis, "PTTL", name) > 0 for name in names])
        clock.now += 31
        assert await journals.listed("key-1") == []
        assert await asked(redis, "KEYS", "mlops:{journals}:*") == [b"mlops:{journals}:sizes"]
        assert await asked(redis, "HGETALL", "mlops:{journals}:sizes") in ([b"", b"0"], {b"": b"0"})


async def test_what_is_written_lives(redis: RedisServer) -> None:
    """However often something is added: its time begins anew each second."""
    clock = Clock()
    async with process(redis, SMALL, clock) as journals:
        await journals.begin(opened())
        await journals.write("journal-1", [b"one"])
        names = await asked(redis, "KEYS", "mlops:{journals}:*")
        for name in names:
            await asked(redis, "PEXPIRE", name, 20_000)
        for _ in range(4):
            clock.now += 0.3
            await journals.write("journal-1", [b"more"])
        assert all([await asked(redis, "PTTL", name) > 30_000 for name in names])


async def test_the_sum_heals(redis: RedisServer) -> None:
    """Redis has lost what all have in bytes: what is written later counts again, whole."""
    async with process(redis, SMALL) as journals:
        await journals.begin(opened())
        await journals.write("journal-1", [b"x" * 1000])
        await asked(redis, "DEL", "mlops:{journals}:sizes")
        await journals.write("journal-1", [b"x" * 1000])
        sizes = await asked(redis, "HMGET", "mlops:{journals}:sizes", "", "journal-1")
        assert sizes[0] == sizes[1]
        assert int(sizes[0]) > 4000
        await journals.forget("journal-1")
        assert await asked(redis, "HGET", "mlops:{journals}:sizes", "") == b"0"


async def test_a_clock_that_was_set_back_keeps_nothing(redis: RedisServer) -> None:
    """What was to go in a time that lies ahead goes in its time from now on."""
    clock = Clock()
    async with process(redis, SMALL, clock) as journals:
        await journals.begin(opened())
        await journals.end("journal-1", "done")
        await journals.begin(opened(2))
        clock.now -= 900
        await journals.begin(opened(3))
        clock.now += 31
        assert [each.opening.id for each in await journals.listed("key")] == []


@pytest.mark.long
async def test_the_process_that_writes_is_killed(redis: RedisServer) -> None:
    """Its readers, at other processes, get what had come, and an error within 10 s; so does who comes later."""
    writing = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITES, redis.url, stdout=PIPE)
    assert writing.stdout is not None
    try:
        assert await writing.stdout.readline() == b"begun\n"
        async with process(redis) as journals:
            read: list[list[bytes]] = [[], [], []]
            readers = [asyncio.create_task(read_into(journals, pieces)) for pieces in read[:2]]
            async with asyncio.timeout(20):
                while not all(len(pieces) > 100 for pieces in read[:2]):
                    await asyncio.sleep(0.01)
            writing.kill()
            async with asyncio.timeout(30):
                for reading in readers:
                    with pytest.raises(StreamBroken):
                        await reading
            with pytest.raises(StreamBroken):
                await read_into(journals, read[2])
        assert read[0] == read[1] == read[2] == [b"%d " % number for number in range(1, len(read[0]) + 1)]
    finally:
        with suppress(ProcessLookupError):
            writing.kill()
        await writing.wait()
