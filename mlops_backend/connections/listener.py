"""The listening socket: it accepts while there is room, and remembers its connections."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

from mlops_backend.connections.register import Register

# asyncio accepts as many as the backlog holds in one turn of the loop, and everybody waits meanwhile.
_IN_A_TURN: Final = 2
_LATER: Final = 0.1
_SHORT_OF: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listener(socket.socket):
    """A listening socket that can stop accepting: clients wait in its backlog then.

    asyncio has no word for that, and tries again and again while there is somebody to accept. So it is given the
    descriptor of an epoll object in this socket's place, in which this socket stands only while it accepts. Where there
    is no epoll it accepts always, and `Register` closes what is too many.

    It also remembers its connections, so that those which do not end can be cut: Hypercorn's own grace does not hold on
    Python 3.12 and later, where it waits for every connection, for ever.
    """

    def __init__(self, family: socket.AddressFamily) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._accepted: WeakSet[socket.socket] = WeakSet()
        self._gate = select.epoll() if hasattr(select, "epoll") else None
        self._register: Register | None = None
        self._turn = 0
        if self._gate is not None:
            self._gate.register(super().fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """What a selector watches for new connections."""
        if self._gate is None or self._gate.closed or super().fileno() < 0:
            return super().fileno()
        return self._gate.fileno()

    def accept_while(self, register: Register) -> None:
        """Accept only while `register` has room."""
        self._register = register

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            BlockingIOError: there is none, none is accepted at present, or others have their turn first.
        """
        if self._register is not None and self._gate is not None:
            self._take_turns(self._register)
        try:
            connection, address = super().accept()
        except OSError as error:
            self._turn = 0
            if error.errno in _SHORT_OF and self._register is not None and self._gate is not None:
                self._register.tell("connections cannot be accepted", reason=error.strerror)
                self._pause(self._gate)
            raise
        self._accepted.add(connection)
        return connection, address

    def cut(self) -> None:
        """Shut every connection that is still open, in both directions: to Hypercorn the client has left."""
        for connection in tuple(self._accepted):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it."""
        if self._gate is not None:
            self._gate.close()
        super().close()

    def _take_turns(self, register: Register) -> None:
        self._turn += 1
        if self._turn > _IN_A_TURN:
            self._turn = 0
            raise BlockingIOError
        if register.full and self._gate is not None:
            register.tell("connections are at their limit", limit=register.rules.most, setting="MAX_CONNECTIONS")
            register.make_room()
            self._pause(self._gate)

    def _pause(self, gate: select.epoll) -> None:
        """Accept nothing for a moment.

        Raises:
            BlockingIOError: always, which tells asyncio that there is nobody to accept.
        """
        gate.unregister(super().fileno())
        asyncio.get_running_loop().call_later(_LATER, self._resume, gate)
        self._turn = 0
        raise BlockingIOError from None

    def _resume(self, gate: select.epoll) -> None:
        if not gate.closed:
            gate.register(super().fileno(), select.EPOLLIN)


def listen(host: str, port: int) -> Listener:
    """A listening address; bound before anything is started, so that a taken port costs nothing."""
    listener = Listener(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
