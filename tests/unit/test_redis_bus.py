"""What processes tell and ask each other over Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing
from functools import partial
from time import monotonic

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from mlops_backend import redis_bus, redis_clients
from mlops_backend.redis_bus import RedisBus
from tests.fakes.redis_lessors import until
from tests.fakes.redis_pair import RedisClusterOfThree
from tests.fakes.redis_server import RedisServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """One that may take its time, and is looked for more often than in earnest."""
    monkeypatch.setattr(redis_clients, "_READ", 10.0)
    monkeypatch.setattr(redis_bus, "_PAUSE", 0.05)
    monkeypatch.setattr(redis_bus, "_WITHIN", 3600.0)
    with RedisServer() as running:
        yield running


def add(number: int, _: object, plus: int) -> int:
    """What one of several answers."""
    return number + plus


async def listening(*urls: str) -> list[RedisBus]:
    """Several that listen."""
    made = [RedisBus(url) for url in urls]
    for bus in made:
        await bus.open()
    await until(lambda: all(bus.listening for bus in made))
    return made


@pytest.fixture
async def three(server: RedisServer) -> AsyncIterator[list[RedisBus]]:
    """Three processes."""
    made = await listening(*[server.url] * 3)
    yield made
    for bus in made:
        await bus.aclose()


async def test_all_others_hear_what_is_told(three: list[RedisBus]) -> None:
    """Who tells does not; and what is not of its kind, or of nobody here, is not heard."""
    heard: list[tuple[int, object]] = []

    def note(number: int, _: object, told: object) -> None:
        heard.append((number, told))

    for number, bus in enumerate(three):
        bus.on("word", partial(note, number), tuple[str, int])
    with capture_logs() as logs:
        three[1].tell("other", 1)
        three[1].tell("word", ["x", "not a number"])
        await until(lambda: len(logs) == 2)
        three[0].tell("word", ("x", 1))
        await until(lambda: len(heard) == 2)
    assert sorted(heard) == [(1, ("x", 1)), (2, ("x", 1))]
    assert {log["event"] for log in logs} == {"message_not_understood"}


async def test_a_question_is_answered_by_all_others(three: list[RedisBus]) -> None:
    """As soon as all have; who fails, or does not know it, is waited for until the time is over."""
    for number, bus in enumerate(three):
        bus.on("number", partial(add, number), int)
    async with asyncio.timeout(20):
        answers = await three[0].ask("number", 10)
    assert sorted(answers or []) == [11, 12]
    three[2].on("number", lambda _, __: 1 // 0, int)
    redis_bus_within = 0.3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_bus, "_WITHIN", redis_bus_within)
        began = monotonic()
        assert await three[0].ask("number", 10) == [11]
        assert monotonic() - began >= redis_bus_within


async def test_who_is_alone_does_not_wait(server: RedisServer) -> None:
    """There is nobody to answer."""
    (bus,) = await listening(server.url)
    async with aclosing(bus), asyncio.timeout(20):
        assert await bus.ask("number", 10) == []


async def test_while_redis_is_away_nobody_can_be_asked(server: RedisServer, three: list[RedisBus]) -> None:
    """Which is said at once; when it is back they can be asked again."""
    for bus in three:
        bus.on("number", lambda _, plus: plus, int)
    server.stop()
    await until(lambda: not any(bus.listening for bus in three))
    three[0].tell("number", 1)
    assert await three[0].ask("number", 1) is None
    server.start()
    await until(lambda: all(bus.listening for bus in three))
    assert await three[0].ask("number", 1) == [1, 1]


async def test_what_nobody_of_ours_says_ends_nothing(server: RedisServer, three: list[RedisBus]) -> None:
    """Whatever it is."""
    three[1].on("number", lambda _, plus: plus, int)
    client = Redis(unix_socket_path=str(server.socket))
    with capture_logs() as logs:
        for content in (b"", b"text", b"\x93\xa1a\xa1b\xa1c", b"\x94\xa1a\x00\xa6number\xa1x"):
            await client.publish(three[1]._all, content)
        await until(lambda: len([log for log in logs if log["event"] == "message_not_understood"]) >= 10)
    await client.aclose()
    assert three[1].listening


async def test_a_cluster_carries_it_from_node_to_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows there how many listen, so a question takes its whole time."""
    monkeypatch.setattr(redis_clients, "_READ", 10.0)
    monkeypatch.setattr(redis_bus, "_WITHIN", 2.0)
    with RedisClusterOfThree() as cluster:
        made = await listening(*(node.url for node in cluster.nodes))
        async with AsyncExitStack() as stack:
            for number, bus in enumerate(made):
                stack.push_async_callback(bus.aclose)
                bus.on("number", partial(add, number), int)
            assert sorted(await made[0].ask("number", 10) or []) == [11, 12]


async def test_who_leaves_while_it_asks_leaves_nothing(three: list[RedisBus]) -> None:
    """Neither a question nor a connection in the middle of an answer."""
    three[1].on("number", lambda _, plus: plus, int)
    for turns in range(20):
        asking = asyncio.create_task(three[0].ask("number", 1))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: not three[0]._sending)
    assert three[0]._questions == {}
    for bus in three:
        bus.on("number", lambda _, plus: plus, int)
    assert await three[0].ask("number", 1) == [1, 1]
