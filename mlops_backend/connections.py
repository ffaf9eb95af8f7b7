"""One connection, as Hypercorn serves it, but for three things that it does not do.

* A client that leaves while its connection is idle: Hypercorn 0.18 keeps the connection's tasks and descriptor until
  `keep_alive_timeout` has passed, so that clients which come and go could use up all descriptors.
* A client that leaves in the middle of an answer after it has sent anything behind its request, be it a line end: while
  h11 is paused Hypercorn does not read, and the generation would go on for nobody.
* An answer's head leaves together with the first bytes of its body: one write to the socket and one wake-up of the
  client less, which is a good part of what a short answer costs.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ssl import SSLError
from typing import Any, Final

from hypercorn.asyncio import run
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.asyncio.worker_context import AsyncioSingleTask
from hypercorn.events import Closed, Event, RawData

from mlops_backend.middleware.asgi import CLIENT_LEFT

_AHEAD: Final = MAX_RECV
_HEAD: Final = b"HTTP/1."
# How often a client that cannot be read from is looked at, in seconds; what Linux tells of its connection (tcp(7)).
_LOOK: Final = 0.5
_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)
_ESTABLISHED: Final = 1


class _IdleClock(AsyncioSingleTask):
    """Hypercorn's clock of an idle connection; behind the end, where nothing more will be asked, it is not started."""

    ended = False

    async def restart(self, task_group: Any, action: Callable[[], Awaitable[None]]) -> None:
        """Start `action` anew, unless the client has left."""
        if not self.ended:
            await super().restart(task_group, action)


class Connection(TCPServer):
    """Reads on while a request is answered, at most `_AHEAD` bytes, to see the end; closes when it has seen it."""

    _ahead = b""
    _head = b""
    _ended = False
    _receiving: asyncio.Task[None] | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.idle_task = self._idle_clock = _IdleClock()
        self._left = asyncio.Event()

    async def protocol_send(self, event: Event) -> None:
        """Send; a head waits for what is sent with it in the same turn of the loop."""
        if not isinstance(event, RawData):
            self._send_head()
            await super().protocol_send(event)
        elif not self._head and event.data.startswith(_HEAD):
            self._head = event.data
            asyncio.get_running_loop().call_soon(self._send_head)
        else:
            await self._write(event.data)

    async def _write(self, data: bytes) -> None:
        """What Hypercorn does, but that it waits only for a writer that has something left to write."""
        if self._head:
            data, self._head = self._head + data, b""
        transport = self.writer.transport
        try:
            self.writer.write(data)
            if transport.get_write_buffer_size() or transport.is_closing():
                async with self.send_lock:
                    await self.writer.drain()
        except (ConnectionError, RuntimeError):
            await self.protocol.handle(Closed())

    def _send_head(self) -> None:
        """Send a head that nothing came with."""
        head, self._head = self._head, b""
        if head and not self.writer.is_closing():
            self.writer.write(head)

    async def _read_data(self) -> None:
        CLIENT_LEFT.set(self._left)
        try:
            while not self._ended or self._ahead:
                if not self._ahead:
                    await self._receive()
                data, self._ahead = self._ahead, b""
                if data:
                    await self._handle(data)
        finally:
            self._ended = self._idle_clock.ended = True
            self._left.set()
            if self._receiving is not None:
                self._receiving.cancel()
            await self.idle_task.stop()
        await self.protocol.handle(Closed())

    async def _handle(self, data: bytes) -> None:
        """Hand bytes to the protocol; should that wait, look meanwhile whether the client leaves."""
        handling = asyncio.ensure_future(self.protocol.handle(RawData(data)))
        await asyncio.sleep(0)
        while not (handling.done() or self._ended):
            if len(self._ahead) < _AHEAD:
                await self._receive_beside(handling)
            else:
                await asyncio.wait({handling}, timeout=_LOOK)
                self._ended = not handling.done() and self._has_left()
        if self._ended and not handling.done():
            self._left.set()
            handling.cancel()
            await asyncio.gather(handling, return_exceptions=True)
        else:
            await handling

    async def _receive_beside(self, handling: asyncio.Future[None]) -> None:
        self._receiving = self._receiving or asyncio.ensure_future(self._receive_once())
        await asyncio.wait({handling, self._receiving}, return_when=asyncio.FIRST_COMPLETED)
        if self._receiving.done():
            self._receiving = None

    def _has_left(self) -> bool:
        """Whether the connection is over, seen without reading: what was read ahead leaves no room for more."""
        if self.writer.is_closing():
            return True
        try:
            state = self.writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)
        except (OSError, AttributeError, TypeError):
            return False
        return bool(state[0] != _ESTABLISHED)

    async def _receive(self) -> None:
        receiving, self._receiving = self._receiving, None
        await (receiving or self._receive_once())

    async def _receive_once(self) -> None:
        try:
            data = await asyncio.wait_for(self.reader.read(MAX_RECV), self.config.read_timeout)
        except (OSError, TimeoutError, SSLError):
            data = b""
        self._ahead += data
        self._ended = not data


def install() -> None:
    """Let Hypercorn serve every connection of this process so; it offers no other place to say it."""
    run.TCPServer = Connection  # type: ignore[assignment, attr-defined]
