"""The listening socket."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from mlops_backend.connections import Listener, Register, Rules, listen
from tests.unit.connections.test_register import Held


class Served:
    """What becomes of connections: each is kept until its client leaves."""

    def __init__(self) -> None:
        self.accepted: list[asyncio.StreamWriter] = []
        self.ended = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Keep it."""
        self.accepted.append(writer)
        try:
            await reader.read()
        finally:
            writer.close()
            self.ended += 1

    async def until(self, accepted: int, seconds: float = 5) -> bool:
        """Whether so many come to be accepted."""
        try:
            async with asyncio.timeout(seconds):
                while len(self.accepted) < accepted:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def listening(register: Register, served: Served) -> AsyncIterator[tuple[Listener, tuple[str, int]]]:
    """A listener that accepts, and its address."""
    bound = listen("127.0.0.1", 0)
    listener = Listener(bound, register)
    listener.start(served.serve, 100)
    try:
        yield listener, bound.getsockname()
    finally:
        listener.stop()
        await listener.finish(5)


async def test_connections_send_at_once() -> None:
    """An accepted connection has Nagle's algorithm off: with it a token waits some 40 ms for the client's ACK."""
    served = Served()
    async with listening(Register(Rules()), served) as (_, address):
        with socket.create_connection(address):
            assert await served.until(1)
            accepted = served.accepted[0].get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_connections_can_be_cut() -> None:
    """What was accepted can be shut from here, so that a client cannot hold up the end."""
    served = Served()
    async with listening(Register(Rules()), served) as (listener, address):
        with socket.create_connection(address, timeout=5) as client:
            assert await served.until(1)
            listener.cut()
            assert await asyncio.to_thread(client.recv, 1) == b""


async def test_nobody_is_accepted_while_there_is_no_room() -> None:
    """Who comes then waits, and is accepted when there is room again; meanwhile the loop has nothing to do."""
    register, served = Register(Rules(most=1)), Served()
    held = Held()
    register.enter(held)
    async with listening(register, served) as (_, address):
        with socket.create_connection(address), capture_logs() as logs:
            used = os.times()
            assert not await served.until(1, 0.5)
            assert os.times().user - used.user < 0.25
            register.leave(held)
            assert await served.until(1)
    assert [entry["event"] for entry in logs] == ["connections are at their limit"]


async def test_nobody_is_accepted_after_the_end() -> None:
    """Not even where the end comes while there is no room."""
    register, served = Register(Rules(most=1)), Served()
    register.enter(Held())
    async with listening(register, served) as (_, address):
        with socket.create_connection(address), capture_logs() as logs:
            while not logs:
                await asyncio.sleep(0.01)
    await asyncio.sleep(0.15)
    assert not served.accepted


class Crowd(socket.socket):
    """A listening socket that counts how often it is asked for a connection in a turn of the loop."""

    turns: list[int]

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next connection."""
        if not self.turns or not self.turns[-1]:
            asyncio.get_running_loop().call_soon(self.turns.append, 0)
            self.turns.append(0)
        self.turns[-1] += 1
        return super().accept()


async def test_a_turn_of_the_loop_accepts_a_few() -> None:
    """A loop's own server would accept all that wait, and everybody else would wait for it."""
    served = Served()
    with Crowd(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.turns = []
        bound.setblocking(False)
        bound.bind(("127.0.0.1", 0))
        listener = Listener(bound, Register(Rules()))
        listener.start(served.serve, 100)
        clients = [socket.create_connection(bound.getsockname()) for _ in range(50)]
        assert await served.until(50)
        assert max(bound.turns) == 2
        for each in clients:
            each.close()
        await listener.finish(5)
        listener.stop()


class Short(socket.socket):
    """A listening socket of a process that has no descriptor left, at first."""

    left = 0

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next connection."""
        if not self.left:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


async def test_a_process_without_descriptors_accepts_later() -> None:
    """It says so once, and has nothing to do meanwhile."""
    served = Served()
    with Short(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.setblocking(False)
        bound.bind(("127.0.0.1", 0))
        listener = Listener(bound, Register(Rules()))
        listener.start(served.serve, 100)
        with socket.create_connection(bound.getsockname()), capture_logs() as logs:
            assert not await served.until(1, 0.3)
            bound.left = 1
            assert await served.until(1)
        await listener.finish(5)
        listener.stop()
    assert [entry["event"] for entry in logs] == ["connections cannot be accepted"]


async def test_what_does_not_end_is_given_up() -> None:
    """After the time that it is given."""
    served = Served()
    bound = listen("127.0.0.1", 0)
    listener = Listener(bound, Register(Rules()))
    listener.start(served.serve, 100)
    with socket.create_connection(bound.getsockname()):
        assert await served.until(1)
        listener.stop()
        await listener.finish(0.05)
        assert served.ended == 1
