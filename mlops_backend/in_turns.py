"""How much of one connection is read in a turn of the event loop: left alone it is 256 KiB and more, on any loop."""

from __future__ import annotations

import asyncio
from functools import cache


class InTurns(asyncio.BufferedProtocol):
    """Hands on to a protocol what comes, in pieces of at most `most` bytes.

    All connections read into one buffer: no loop does anything else between asking for it and saying what is in it.
    """

    __slots__ = ("_buffer", "_most", "_protocol")

    def __init__(self, protocol: asyncio.Protocol, most: int) -> None:
        self._protocol = protocol
        self._most = most
        self._buffer = _buffer(most)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a connection."""
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The other end takes nothing at present."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It takes something again."""
        self._protocol.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop is to put what it reads."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """The loop has read so many bytes."""
        self._protocol.data_received(bytes(self._buffer[:nbytes]))
        if nbytes == self._most:
            self.filled()

    def filled(self) -> None:
        """There may be more at once; asyncio reads it in its next turn."""

    def eof_received(self) -> bool | None:
        """The other end sends no more."""
        return self._protocol.eof_received()


@cache
def _buffer(size: int) -> memoryview:
    return memoryview(bytearray(size))
