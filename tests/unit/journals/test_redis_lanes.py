"""Steps go to Redis together, each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from mlops_backend.services.other.journals.redis_lanes import Lanes, Width


class Server:
    """Answers what it is asked, when a test lets it."""

    def __init__(self) -> None:
        self.taken: list[list[Any]] = []
        self.goes = asyncio.Event()

    async def take(self, asked: list[Sequence[Any]]) -> Sequence[Any]:
        """See `Lanes`."""
        self.taken.append([name for name, *_ in asked])
        await self.goes.wait()
        if asked[0][0] == "broken":
            raise OSError("the connection has ended")
        return [ValueError(name) if name == "wrong" else name for name, *_ in asked]


async def test_what_comes_meanwhile_goes_together() -> None:
    """In its order, so many at a time and not too many bytes; an error is one's own."""
    server = Server()
    lanes = Lanes(server.take, lambda: Width(1, 3))
    names = ["first", "a", "wrong", "b", "c", "d", "e"]
    large = {"d", "e"}
    steps = []
    for name in names:
        steps.append(asyncio.create_task(lanes.ask([name, b"x" * (700_000 if name in large else 1)])))
        await asyncio.sleep(0)
    server.goes.set()
    answers = await asyncio.gather(*steps, return_exceptions=True)
    assert server.taken == [["first"], ["a", "wrong", "b"], ["c", "d"], ["e"]]
    assert [answer for answer in answers if isinstance(answer, str)] == ["first", "a", "b", "c", "d", "e"]
    assert isinstance(answers[2], ValueError)


async def test_who_left_is_not_begun_and_a_broken_connection_ends_nothing() -> None:
    """All who went with it hear of it; those behind them go their way."""
    server = Server()
    lanes = Lanes(server.take, lambda: Width(1, 2))
    steps = []
    for name in ("broken", "left", "a", "b"):
        steps.append(asyncio.create_task(lanes.ask([name])))
        await asyncio.sleep(0)
    steps[1].cancel()
    server.goes.set()
    with pytest.raises(OSError, match="has ended"):
        await steps[0]
    assert [await steps[2], await steps[3]] == ["a", "b"]
    assert server.taken == [["broken"], ["a", "b"]]
    await lanes.finish()
    assert await lanes.ask(["later"]) == "later"


async def test_lanes_go_beside_each_other() -> None:
    """As many as there are."""
    server = Server()
    lanes = Lanes(server.take, lambda: Width(2, 1))
    steps = [asyncio.create_task(lanes.ask([number])) for number in range(5)]
    await asyncio.sleep(0.01)
    assert server.taken == [[0], [1]]
    server.goes.set()
    assert await asyncio.gather(*steps) == [0, 1, 2, 3, 4]


async def test_one_step_follows_the_other() -> None:
    """Whoever is answered may ask again at once."""
    server = Server()
    server.goes.set()
    lanes = Lanes(server.take, lambda: Width(1, 1))
    async with asyncio.timeout(30):
        assert [await lanes.ask([number]) for number in range(5)] == [0, 1, 2, 3, 4]
