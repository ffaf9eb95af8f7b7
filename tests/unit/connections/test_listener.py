"""The listening socket."""

from __future__ import annotations

import asyncio
import select
import socket
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from mlops_backend.connections import Listener, Register, Rules, listen
from tests.unit.connections.test_register import Held


def test_connections_send_at_once() -> None:
    """An accepted connection has Nagle's algorithm off: with it a token waits some 40 ms for the client's ACK."""
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_connections_can_be_cut() -> None:
    """What was accepted can be shut from here, so that a client cannot hold up the end."""
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname(), timeout=5) as client:
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                listener.cut()
                assert client.recv(1) == b""


async def accepted_within(listener: Listener, seconds: float) -> bool:
    """Whether asyncio would accept somebody."""
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()

    def accept() -> None:
        with suppress(BlockingIOError):
            listener.accept()[0].close()
            seen.set()

    loop.add_reader(listener.fileno(), accept)
    try:
        await asyncio.wait_for(seen.wait(), seconds)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(listener.fileno())
    return True


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="there is no epoll here")
async def test_nobody_is_accepted_while_there_is_no_room() -> None:
    """Who comes then waits, and is accepted when there is room again; meanwhile the loop has nothing to do."""
    register = Register(Rules(most=1))
    held = Held()
    register.enter(held)
    with listen("127.0.0.1", 0) as listener:
        listener.accept_while(register)
        listener.listen()
        with socket.create_connection(listener.getsockname()), capture_logs() as logs:
            assert not await accepted_within(listener, 0.3)
            register.leave(held)
            assert await accepted_within(listener, 2)
    assert [entry["event"] for entry in logs] == ["connections are at their limit"]


async def test_a_turn_of_the_loop_accepts_a_few() -> None:
    """asyncio would accept all that wait, and everybody else would wait for it."""
    with listen("127.0.0.1", 0) as listener:
        listener.accept_while(Register(Rules()))
        listener.listen(100)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(50)]
        accepted = [listener.accept()[0] for _ in range(2)]
        with pytest.raises(BlockingIOError):
            listener.accept()
        for each in (*clients, *accepted):
            each.close()
