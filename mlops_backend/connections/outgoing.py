"""What goes to one client: heads that wait for what comes with them, bodies, and how much of all that is taken.

Pieces of a streamed body have two ways: through Hypercorn and h11, event by event, and past them. h11 keeps no count of
the chunks that it frames, so that both may be used for one answer; its head and its end always go through h11.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from asyncio import Lock, StreamWriter
from typing import Any, Final

_HEAD: Final = b"HTTP/1."
_INTERIM: Final = b"1"  # of a status of three digits
_STATUS_AT: Final = 9
_CHUNKED: Final = b"\r\ntransfer-encoding: chunked\r\n"


class Outgoing:
    """The writing side of a connection; whoever writes to a client that has left gets a `ConnectionResetError`."""

    __slots__ = ("_head", "_in_chunks", "_lock", "_sent", "_stuck_since", "_taken", "_writer")

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer
        self._lock = Lock()
        self._head = b""
        self._in_chunks: bool | None = None
        self._sent = self._taken = 0
        self._stuck_since: float | None = None

    def begin(self) -> None:
        """Another answer is to come."""
        self._in_chunks = None

    async def send_framed(self, data: bytes) -> None:
        """Send what h11 has framed; a head waits for what is sent with it in the same turn of the loop."""
        if self._head or not data.startswith(_HEAD):
            await self._write(data)
            return
        self._head = data
        if self._in_chunks is None and data[_STATUS_AT : _STATUS_AT + 1] != _INTERIM:
            self._in_chunks = _CHUNKED in data.lower()
        asyncio.get_running_loop().call_soon(self.send_head)

    async def send_whole(self, data: bytes) -> None:
        """Send a head with all of its body."""
        await self._write(data)

    def send_head(self) -> None:
        """Send a head that nothing came with."""
        head, self._head = self._head, b""
        if head and not self._writer.is_closing():
            self._sent += len(head)
            self._writer.write(head)

    def may_send(self) -> bool:
        """Whether a piece may go past h11: the answer's head is out, chunks follow it, and the client takes them."""
        transport = self._writer.transport
        return bool(self._in_chunks) and not (self._head or transport.is_closing() or transport.get_write_buffer_size())

    def send(self, piece: bytes) -> bool:
        """Send a piece as a chunk (RFC 9112, 7.1); whether there is room for another at once."""
        transport = self._writer.transport
        if transport.is_closing():
            return False  # whoever sends on in the ordinary way comes to notice
        chunk = b"%x\r\n%b\r\n" % (len(piece), piece)
        self._sent += len(chunk)
        transport.write(chunk)
        return not transport.get_write_buffer_size()

    def is_stuck(self, now: float, seconds: float) -> bool:
        """Whether the client has taken nothing for so long of what is there for it."""
        left = self._writer.transport.get_write_buffer_size()
        if not left:
            self._stuck_since = None
            return False
        taken = self._sent - left - _in_kernel(self._writer.get_extra_info("socket"))
        if taken != self._taken or self._stuck_since is None:
            self._taken, self._stuck_since = taken, now
        return now - self._stuck_since > seconds

    async def _write(self, data: bytes) -> None:
        """What Hypercorn does, but that it waits only for a writer that has something left to write."""
        if self._head:
            data, self._head = self._head + data, b""
        transport = self._writer.transport
        # asyncio writes a line into the log for each write to a client that has left.
        if transport.is_closing():
            raise ConnectionResetError
        self._sent += len(data)
        self._writer.write(data)
        if transport.get_write_buffer_size():
            async with self._lock:
                await self._writer.drain()


def _in_kernel(connected: Any) -> int:
    """How many bytes the kernel still holds for a client (tcp(7), SIOCOUTQ); 0 where it does not tell."""
    try:
        told = fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", told)[0])
    except (OSError, ValueError, AttributeError):
        return 0
