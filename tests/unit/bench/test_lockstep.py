"""Streams in step, with clients and upstream in one process, and nothing between them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict

from bench import lockstep
from bench.families import OPENAI_ROUTE
from bench.processes import free_port
from bench.wire import Address


async def test_no_stream_has_more_than_one_token_under_way() -> None:
    """Each token is written when the last one has come, and none while it is not the target's turn."""
    port = free_port()
    server = asyncio.create_task(lockstep.serve(port))
    await asyncio.sleep(0.05)
    address = Address("one", port, OPENAI_ROUTE.path, OPENAI_ROUTE.path, family_name=OPENAI_ROUTE.name)
    targets = [{"address": asdict(address), "pids": [os.getpid()]}]
    found = await lockstep.run(targets, streams=3, length=0.05, rounds=2)
    server.cancel()
    assert found["spread"] == {"one": [3]}
    assert [figures["one"]["silent"] for figures in found["rounds"]] == [0, 0]
    assert all(figures["one"]["tokens_per_second"] > 0 for figures in found["rounds"])
    assert all(lane.idle.is_set() for lane in lockstep.Lane.lanes.values())


async def test_a_token_is_counted_once_however_it_comes() -> None:
    """In two pieces it is one token, and two in one piece would be two."""
    side = lockstep.Side(Address("one", 0, "/", "/"), [])
    lane = lockstep.Lane(side, b"")
    for piece in (b'{"cont', b'ent":" 1"}\n\n', b'{"content":" 2"}', b"\n\n", b'{"content":" 3"}{"content":" 4"}'):
        lane.data_received(piece)
    assert side.tokens == 4


async def test_a_lane_asks_for_nothing_while_a_token_is_under_way() -> None:
    """However often it is told to go; with its turn, each arrival asks for the next."""
    side, asked = lockstep.Side(Address("one", 0, "/", "/"), []), list[str]()
    lane = lockstep.Lane(side, b"")
    lane.speak = lambda: asked.append("token")
    lane.go()
    assert asked == []
    lane.data_received(b'{"content":" 1"}')
    lane.go()
    lane.go()
    assert asked == ["token"]
    side.on = True
    lane.data_received(b'{"content":" 2"}')
    assert asked == ["token"] * 2
