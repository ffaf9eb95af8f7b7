"""Keeping answers, in memory and in Redis: for a while, and only so many bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import Final

import pytest
from structlog.testing import capture_logs

from mlops_backend import redis_clients
from mlops_backend.principal import Principal
from mlops_backend.services.other.response_cache import Entry, Recording, ResponseCache
from mlops_backend.services.other.response_cache import redis as in_redis
from mlops_backend.services.other.response_cache.entry import Keeper
from mlops_backend.services.other.response_cache.memory import MemoryKeeper
from mlops_backend.services.other.response_cache.redis import RedisKeeper
from tests.fakes.redis_server import RedisServer

TTL: Final = 60.0
MOST: Final = 8 * 1024
ONE: Final = Principal("one", "key_one")
OTHER: Final = Principal("other", "key_other")


class Clock:
    """Seconds that only a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def entry(size: int = 100, mark: bytes = b"x") -> Entry:
    """An answer."""
    return Entry((("Content-Type", "application/json"),), mark * size, 1000.0, False, "m", "")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """One Redis for all, which may take its time."""
    with RedisServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_clients, "_READ", 10.0)
        patch.setattr(redis_clients, "_CONNECT", 10.0)
        patch.setattr(in_redis, "_WITHIN", 10.0)
        yield server


async def on(server: RedisServer, clock: Clock, ttl: float = TTL) -> RedisKeeper:
    """One who keeps in that Redis, which is empty."""
    keeper = RedisKeeper(server.url, ttl, MOST, clock)
    await keeper.open()
    await keeper._client.flushall()
    return keeper


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture(params=["memory", "redis"])
async def keeper(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Keeper]:
    """One who keeps nothing yet."""
    made: Keeper
    if request.param == "memory":
        made = MemoryKeeper(TTL, MOST, clock)
        await made.open()
    else:
        made = await on(request.getfixturevalue("redis"), clock)
    yield made
    await made.aclose()


async def test_what_is_kept_is_found(keeper: Keeper) -> None:
    """By its name, as it was; what comes by the same name takes its place."""
    assert await keeper.get("a") is None
    await keeper.put("a", entry())
    assert await keeper.get("a") == entry()
    assert await keeper.get("b") is None
    await keeper.put("a", entry(mark=b"y"))
    assert await keeper.get("a") == entry(mark=b"y")
    assert (keeper.entries, keeper.bytes) == (1, entry().size)


async def test_the_bound_is_kept(keeper: Keeper, clock: Clock) -> None:
    """However many come, of whatever size, there are never more bytes; the last one is always there."""
    for number in range(200):
        clock.now += 0.001
        await keeper.put(str(number), entry(number * 37 % 3000))
        assert keeper.bytes <= MOST
        assert await keeper.get(str(number)) == entry(number * 37 % 3000)
    left = [number for number in range(200) if await keeper.get(str(number)) is not None]
    assert 2 <= len(left) == keeper.entries
    assert left == list(range(200 - len(left), 200))


async def test_what_can_never_fit_drives_nothing_out(keeper: Keeper) -> None:
    """One that is larger than all may be together is not kept, and the others are."""
    await keeper.put("a", entry())
    await keeper.put("b", entry(MOST))
    assert await keeper.get("b") is None
    assert await keeper.get("a") is not None


async def test_in_memory_its_time_passes(clock: Clock) -> None:
    """A moment before it is there, then it is not, and its room is free."""
    keeper = MemoryKeeper(TTL, MOST, clock)
    await keeper.put("a", entry())
    clock.now += TTL - 0.1
    assert await keeper.get("a") is not None
    clock.now += 0.1
    assert await keeper.get("a") is None
    assert (keeper.entries, keeper.bytes) == (0, 0)


async def test_in_memory_what_is_asked_for_stays(clock: Clock) -> None:
    """Room is made by what nobody has asked for the longest."""
    keeper = MemoryKeeper(TTL, 3 * entry().size, clock)
    for name in "abc":
        await keeper.put(name, entry())
    await keeper.get("a")
    await keeper.put("d", entry())
    assert [name for name in "abcd" if await keeper.get(name) is not None] == ["a", "c", "d"]


async def test_in_redis_its_time_passes(redis: RedisServer, clock: Clock) -> None:
    """Redis lets go of it, and the next one that is kept finds its room free."""
    keeper = await on(redis, clock, ttl=0.2)
    try:
        await keeper.put("a", entry())
        await keeper.put("b", entry())
        names = {bytes(name) async for name in keeper._client.scan_iter("mlops:*")}
        assert all([0 < await keeper._client.pttl(name) <= 200 for name in names - {b"mlops:probe"}])
        async with asyncio.timeout(20):
            while await keeper.get("b") is not None:
                await asyncio.sleep(0.02)
        clock.now += 0.2
        await keeper.put("c", entry())
        assert (keeper.entries, keeper.bytes) == (1, entry().size)
    finally:
        await keeper.aclose()


async def test_what_redis_has_lost_is_not_counted_for_ever(redis: RedisServer, clock: Clock) -> None:
    """Where Redis has let go of an entry, or of the index, the bound holds and nothing fails."""
    keeper = await on(redis, clock)
    try:
        for name in "ab":
            await keeper.put(name, entry())
        await keeper._client.delete("mlops:{responses}:a")
        assert await keeper.get("a") is None
        await keeper._client.delete("mlops:{responses}:sizes")
        for number in range(20):
            clock.now += 1
            await keeper.put(str(number), entry())
            assert keeper.bytes <= MOST
        await keeper._client.delete("mlops:{responses}:order")
        await keeper.put("last", entry())
        assert await keeper.get("last") is not None
    finally:
        await keeper.aclose()


async def test_what_is_not_understood_is_not_there(redis: RedisServer, clock: Clock) -> None:
    """An entry of another version, or of anybody else, is a miss."""
    keeper = await on(redis, clock)
    try:
        await keeper._client.set("mlops:{responses}:a", b"\xc1")
        assert await keeper.get("a") is None
    finally:
        await keeper.aclose()


async def test_a_redis_that_is_away_is_a_miss(clock: Clock) -> None:
    """Nothing fails and nobody waits; the log has it once, and when it is back."""
    with RedisServer() as server, capture_logs() as logs:
        keeper = await on(server, clock)
        await keeper.put("a", entry())
        server.stop()
        assert await keeper.get("a") is None
        await keeper.put("b", entry())
        assert await keeper.get("b") is None
        server.start()
        async with asyncio.timeout(30):
            while await keeper.get("c") is None:
                await keeper.put("c", entry())
                await asyncio.sleep(0.05)
        await keeper.aclose()
    told = [each["event"] for each in logs if each["event"].startswith("responses_")]
    assert told == ["responses_redis_down", "responses_redis_up"]


async def test_a_redis_that_hangs_keeps_nobody_for_long(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request waits a quarter of a second for it, the next one not at all."""
    monkeypatch.setattr(in_redis, "_WITHIN", 0.25)
    with RedisServer() as server:
        keeper = await on(server, clock)
        await keeper.put("a", entry())
        server.pause()
        try:
            assert await keeper.get("a") is None
            began = monotonic()
            for _ in range(1000):
                assert await keeper.get("a") is None
            assert monotonic() - began < 1
        finally:
            server.resume()
            await keeper.aclose()


async def test_who_leaves_while_redis_is_asked_hurts_nobody(redis: RedisServer, clock: Clock) -> None:
    """A client that leaves tears no connection: what is asked next is answered right."""
    keeper = await on(redis, clock)
    try:
        await keeper.put("a", entry())
        await keeper.put("b", entry(mark=b"y"))
        for _ in range(20):
            leaving = asyncio.create_task(keeper.get("a"))
            await asyncio.sleep(0)
            leaving.cancel()
            assert await keeper.get("b") == entry(mark=b"y")
    finally:
        await keeper.aclose()


def cache(*, shared: bool = False, memory: int = 64 * 1024) -> ResponseCache:
    """A cache in memory."""
    choices = {"always": False, "shared": shared, "entry_bytes": 4096, "memory": memory}
    return ResponseCache(MemoryKeeper(TTL, memory), **choices)  # type: ignore[arg-type]


def test_names_are_of_one_key_and_one_call() -> None:
    """Another key has another name, unless all share; parts that only look alike when joined have their own."""
    own = cache()
    assert own.name(ONE, "a", "b") == own.name(ONE, "a", b"b")
    assert len({own.name(ONE, "a", "b"), own.name(OTHER, "a", "b"), own.name(ONE, "ab", ""), own.name(ONE, "ab")}) == 4
    assert cache(shared=True).name(ONE, "a") == cache(shared=True).name(OTHER, "a") != own.name(ONE, "a")


def test_what_is_written_down_has_a_bound() -> None:
    """All that are written down take a quarter together; one that is too large, or has no room, is let go of."""
    kept = cache()
    recordings = [Recording(kept) for _ in range(8)]
    for recording in recordings:
        for _ in range(4):
            recording.take(b"x" * 1024)
    assert [recording.text is not None for recording in recordings] == [True] * 4 + [False] * 4
    for recording in recordings:
        recording.let_go()
        recording.let_go()
    large = Recording(kept)
    large.take(b"x" * 4096)
    assert large.text == b"x" * 4096
    large.take(b"x")
    assert large.text is None
    again = [Recording(kept) for _ in range(4)]
    for recording in again:
        recording.take(b"x" * 4096)
    assert all(recording.text is not None for recording in again)
