"""One connection, as Hypercorn serves it, but for what it does not do.

* A client that leaves while its connection is idle: Hypercorn 0.18 keeps the connection's tasks and descriptor until
  `keep_alive_timeout` has passed, so that clients which come and go could use up all descriptors.
* A client that leaves in the middle of an answer after it has sent anything behind its request, be it a line end: while
  h11 is paused Hypercorn does not read, and the generation would go on for nobody.
* A client that takes nothing of what is sent to it, or stops in the middle of its request: Hypercorn waits for ever.
* An answer's head leaves together with the first bytes of its body: one write to the socket and one wake-up of the
  client less, which is a good part of what a short answer costs.
* It speaks HTTP/1.1 alone (`http1.py`), and is one of a bounded number (`register.py`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from contextlib import suppress
from ssl import SSLError
from time import monotonic
from typing import Any, Final

from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from mlops_backend.begun import Begun
from mlops_backend.connections.http1 import Http1, WholeAnswer, error_body
from mlops_backend.connections.outgoing import Outgoing
from mlops_backend.connections.register import Register
from mlops_backend.connections.tasks import Tasks
from mlops_backend.middleware.asgi import CLIENT_LEFT, STRAIGHT, ClientLeft

_AHEAD: Final = MAX_RECV
# How often a client that cannot be read from is looked at, in seconds; what Linux tells of its connection (tcp(7)).
_LOOK: Final = 0.5
_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)
_ESTABLISHED: Final = 1
# A client that has sent its last byte may have left, or wait for its answer: what is as good as made it still gets.
_HALF_CLOSED: Final = 0.05
_TOO_MANY: Final = 503


class Connection(TCPServer):
    """Reads on while a request is answered, at most `_AHEAD` bytes, to see the end; closes when it has seen it.

    Args:
        register: counts it, and looks at it once a second.
        args: what Hypercorn gives to a `TCPServer`.
    """

    _ahead = b""
    _ended = False
    _receiving: asyncio.Task[None] | None = None
    _closing = False
    _address = ""
    _until = 0.0

    def __init__(self, register: Register, *args: Any) -> None:
        super().__init__(*args)
        self._register = register
        self._left = ClientLeft()
        self._answered = asyncio.Event()
        # When the client began to be waited for: for a request's head, for more of its body, to take what was sent.
        self.idle_since: float | None = monotonic()
        self._waits_since: float | None = None
        self._out = Outgoing(self.writer)

    @property
    def address(self) -> str:
        """Of the client's end."""
        return self._address

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            peer, here, tls = self._ends()
            self._task_group = task_group = Tasks(self.loop)
            state = ConnectionState(self.state)
            self._http: Http1 = Http1(
                self.app, self.config, self.context, task_group, state, tls, peer, here, self.protocol_send
            )
            self.protocol = self._http  # type: ignore[assignment]
            if not self._register.enter(self):
                self._refuse()
                return
            async with task_group:
                await self._read_data()
        except OSError:
            pass
        finally:
            await self._close()
            self._register.leave(self)

    def look(self, now: float, idle: float) -> None:
        """End it when its client has been waited for too long; called once a second."""
        rules = self._register.rules
        if self._out.is_stuck(now, rules.send):
            self._left.why = self._left.why or "send_timeout"
            self.writer.transport.abort()
        elif self._closing:
            return
        elif _is_older(self.idle_since, now, 0 if self.context.terminated.is_set() else idle) or (
            self._http.wants_more and _is_older(self._waits_since, now, idle)
        ):
            self.writer.close()

    async def protocol_send(self, event: Event) -> None:
        """Send what Hypercorn has made of an answer."""
        # By their very types: Hypercorn's events are abstract, of which `isinstance` asks slowly what they are not.
        if type(event) is WholeAnswer:
            await self._send(self._out.send_whole(event.data))
        elif type(event) is RawData:
            await self._send(self._out.send_framed(event.data))
        elif type(event) is Updated:
            self._out.send_head()
            self._note(idle=event.idle)
        elif type(event) is Closed:
            self._out.send_head()
            self._answered.set()
            await self._close()
        else:
            raise TypeError(f"a connection sends no {type(event).__name__}")

    async def _send(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except (ConnectionError, RuntimeError):
            self._left.set()
            await self.protocol.handle(Closed())
            await asyncio.sleep(0)  # whoever sends on must come to notice

    def _note(self, *, idle: bool) -> None:
        """A request begins, or has been answered."""
        self.idle_since = monotonic() if idle else None
        if idle:
            self._answered.set()
        else:
            self._out.begin()
            self._answered.clear()

    async def _read_data(self) -> None:
        CLIENT_LEFT.set(self._left)
        STRAIGHT.set(self._out)
        try:
            while not self._ended or self._ahead:
                if not self._ahead:
                    await self._receive()
                data, self._ahead = self._ahead, b""
                if data:
                    await self._handle(data)
            await self._answer_half_closed()
        finally:
            self._ended = True
            self._left.set()
            if self._receiving is not None:
                self._receiving.cancel()
        await self.protocol.handle(Closed())

    async def _answer_half_closed(self) -> None:
        """Let the answer under way be made, if that is soon."""
        if self._http.stream is not None and not self.writer.is_closing():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._answered.wait(), self._patience())

    def _patience(self) -> float:
        """How long it may still take, for a client that sends nothing more."""
        now = self.loop.time()
        self._until = self._until or now + _HALF_CLOSED
        return max(0.0, self._until - now)

    async def _handle(self, data: bytes) -> None:
        """Hand bytes to the protocol; should that wait, look meanwhile whether the client leaves."""
        begun = Begun(self.protocol.handle(RawData(data)))
        if begun.done:
            return
        handling = begun.task()
        while not (handling.done() or self._ended):
            if len(self._ahead) < _AHEAD:
                await self._receive_beside(handling)
            else:
                await asyncio.wait({handling}, timeout=_LOOK)
                self._ended = not handling.done() and self._has_left()
        if self._ended and not handling.done():
            await asyncio.wait({handling}, timeout=self._patience())
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
        self._waits_since = monotonic()
        await (receiving or self._receive_once())
        self._waits_since = None

    async def _receive_once(self) -> None:
        try:
            data = await self.reader.read(MAX_RECV)
        except (OSError, TimeoutError, SSLError):
            data = b""
        self._ahead += data
        self._ended = not data

    async def _close(self) -> None:
        self._closing = True
        await super()._close()

    def _ends(self) -> tuple[Any, Any, bool]:
        """Client's address, ours, and whether there is TLS between them; raises an OSError when the client has left."""
        connected = self.writer.get_extra_info("socket")
        if connected is None:
            raise ConnectionResetError  # uvloop has none any more
        peer = parse_socket_addr(connected.family, connected.getpeername())
        here = parse_socket_addr(connected.family, connected.getsockname())
        self._address = peer[0] if peer else ""
        return peer, here, self.writer.get_extra_info("ssl_object") is not None

    def _refuse(self) -> None:
        """Say that there are too many; the client sees it if it looks before it sends."""
        body = error_body(_TOO_MANY, "There are too many connections, or too many from this address; try again soon.")
        head = b"HTTP/1.1 503 \r\ncontent-type: application/json\r\nretry-after: 5\r\nconnection: close\r\n"
        self.writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)


def _is_older(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since > seconds
