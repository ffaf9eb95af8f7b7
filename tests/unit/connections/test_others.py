"""Connections where several processes serve one address."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from time import monotonic

from mlops_backend.connections import Listener, Register, Rules, listen
from tests.unit.connections.test_register import Held


class Others:
    """The other processes, as the test has them."""

    def __init__(self, connections: int = 0, *, ahead: bool = False) -> None:
        self.open = connections
        self.ahead = ahead
        self.noted: list[int] = []

    def note(self, connections: int) -> None:
        """Keep what is told."""
        self.noted.append(connections)

    def patience(self) -> float:
        """As the test says."""
        return 0.02 if self.ahead else 0.0

    def leave(self) -> None:
        """Nobody asks."""


class Accepting:
    """A listener of one process, and how many it has accepted."""

    def __init__(self, bound: socket.socket, others: Others) -> None:
        self.count = 0
        self.some = asyncio.Event()
        self.listener = Listener(bound.dup(), Register(Rules(), others))
        self.listener.start(self._serve, 100)

    async def _serve(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        self.some.set()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_connections_of_all_processes_are_bounded_together() -> None:
    """There is room for as many as the others leave, and each process tells how many it has."""
    others = Others(2)
    register = Register(Rules(most=4), others)
    held = [Held() for _ in range(3)]
    assert [register.enter(each) for each in held] == [True, True, False]
    assert register.full
    register.leave(held[0])
    assert not register.full
    assert others.noted == [1, 2, 1]


async def test_a_process_holds_no_more_than_it_can() -> None:
    """Its own descriptors bound it, however few the others have."""
    register = Register(Rules(most=100), Others(), 1)
    assert register.enter(Held())
    assert register.full


async def test_who_has_more_leaves_the_next_one_to_the_others() -> None:
    """All of a row of connections come to the process that has fewer."""
    with listen("127.0.0.1", 0) as bound:
        ahead, behind = Accepting(bound, Others(ahead=True)), Accepting(bound, Others())
        for number in range(1, 6):
            with socket.create_connection(bound.getsockname()):
                await asyncio.wait_for(behind.some.wait(), 5)
            behind.some.clear()
            assert (ahead.count, behind.count) == (0, number)
        ahead.listener.stop()
        behind.listener.stop()


async def test_nobody_waits_long_for_a_process_that_does_not_come() -> None:
    """A connection that the others do not take is taken, after a moment in which they could have."""
    with listen("127.0.0.1", 0) as bound:
        ahead = Accepting(bound, Others(ahead=True))
        began = monotonic()
        with socket.create_connection(bound.getsockname()):
            await asyncio.wait_for(ahead.some.wait(), 5)
        assert monotonic() - began >= 0.02
        ahead.listener.stop()
