"""A backend that sends a lot is read a little in each turn of the event loop."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from mlops_backend.services.llm.upstream.client import _session
from mlops_backend.services.llm.upstream.overhead import _A_TURN, BoundedHandler

SIZE = 2_000_000


@pytest.fixture
async def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much was read in each turn of the loop; the last one stands at the end."""
    turns = [0]
    read = BoundedHandler.data_received

    def next_turn() -> None:
        if turns[-1]:
            turns.append(0)
        asyncio.get_running_loop().call_later(0, next_turn)

    def count(handler: BoundedHandler, data: bytes) -> None:
        turns[-1] += len(data)
        read(handler, data)

    monkeypatch.setattr(BoundedHandler, "data_received", count)
    next_turn()
    return turns


async def test_a_fast_backend_is_read_in_turns(counted: list[int]) -> None:
    """All of it comes, and others have their turn between each 8 KiB."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + b"x" * SIZE)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, _session(aiohttp.TCPConnector()) as session:
        host, port = server.sockets[0].getsockname()
        async with session.get(f"http://{host}:{port}/") as response:
            assert await response.read() == b"x" * SIZE
    assert max(counted) <= 2 * _A_TURN
