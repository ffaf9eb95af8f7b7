"""Turns at what there is little of: so many at once, and of each who asks fewer."""

from __future__ import annotations

import asyncio

import pytest

from mlops_backend.shares import NoTurn, Shares


async def taken(shares: Shares, who: str, number: int, done: asyncio.Event) -> list[asyncio.Task[None]]:
    """So many tasks of one, each of which holds its turn until `done`."""

    async def hold() -> None:
        async with shares.turn(who):
            await done.wait()

    tasks = [asyncio.create_task(hold()) for _ in range(number)]
    await asyncio.sleep(0.01)
    return tasks


async def test_one_leaves_room_for_another() -> None:
    """However many turns one asks for, another has theirs at once; the service itself may have all."""
    shares, done = Shares(4, 2, 5), asyncio.Event()
    tasks = await taken(shares, "one", 50, done)
    async with asyncio.timeout(20), shares.turn("two"), shares.turn(""):
        pass
    done.set()
    await asyncio.gather(*tasks)


async def test_nobody_waits_for_ever() -> None:
    """Whose turn does not come is told so, and leaves nothing behind."""
    shares, done = Shares(2, 1, 0.05), asyncio.Event()
    tasks = await taken(shares, "one", 1, done) + await taken(shares, "two", 1, done)
    for who in ("one", "three"):
        with pytest.raises(NoTurn):
            async with shares.turn(who):
                pass
    done.set()
    await asyncio.gather(*tasks)
    assert not shares._of
    async with shares.turn("one"), shares.turn("two"):
        pass


async def test_who_leaves_while_waiting_takes_no_turn() -> None:
    """A request that is cancelled in the line costs nobody a turn."""
    shares, done = Shares(1, 1, 5), asyncio.Event()
    tasks = await taken(shares, "one", 1, done)
    waiting = await taken(shares, "two", 3, done)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    done.set()
    await asyncio.gather(*tasks)
    async with asyncio.timeout(20), shares.turn("two"):
        pass
    assert not shares._of
