"""How much of a connection is read at once."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from mlops_backend.in_turns import InTurns

MOST = 1000


class Pieces(asyncio.Protocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self.pieces.append(bytes(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self.over.set()


async def test_a_connection_is_read_in_pieces() -> None:
    """Of the size that was asked for, all of it, and each connection's own though they share a buffer."""
    loop = asyncio.get_running_loop()
    kept = []
    for letter in (b"a", b"b"):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        protocol = Pieces()
        await loop.connect_accepted_socket(partial(InTurns, protocol, MOST), ours)
        theirs.sendall(letter * 10_000)
        kept.append((letter, protocol, theirs))
    for letter, protocol, theirs in kept:
        theirs.close()
        async with asyncio.timeout(20):
            await protocol.over.wait()
        assert b"".join(protocol.pieces) == letter * 10_000
        assert max(map(len, protocol.pieces)) == MOST
