"""The listening socket: clients are accepted while there is room, and their connections are remembered."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from mlops_backend.connections.register import Register
from mlops_backend.in_turns import InTurns

# More than these in one turn of the loop, and everybody waits meanwhile.
_IN_A_TURN: Final = 2
_LATER: Final = 0.1
# A process that has more connections than another leaves it the next one, and looks again whether it was taken.
_A_MOMENT: Final = 0.001
# How much of a client is read at once.
_AT_ONCE: Final = 16 * 1024
_SHORT_OF: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NOBODY: Final = (BlockingIOError, InterruptedError, ConnectionAbortedError)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Listener:
    """Accepts what comes to a socket, on any event loop: the loop tells that somebody waits, and all else is done here.

    A loop's own server accepts always, and as many as wait. This one stops while there is no room, so that clients
    wait in the socket's backlog. It also remembers its connections, so that those which do not end can be cut.

    Args:
        bound: a socket of `listen`, which several processes may share.
        register: knows whether there is room.
    """

    def __init__(self, bound: socket.socket, register: Register) -> None:
        self._socket = bound
        self._register = register
        self._accepted: WeakSet[socket.socket] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._serve: Serve | None = None
        self._later: asyncio.TimerHandle | None = None
        self._left_since: float | None = None

    def start(self, serve: Serve, backlog: int) -> None:
        """Accept from now on; each connection is served in a task of its own."""
        self._serve = serve
        self._socket.listen(backlog)
        self._watch()

    def stop(self) -> None:
        """Accept nobody any more, and close the socket; connections go on."""
        if self._serve is not None and self._later is None:
            asyncio.get_running_loop().remove_reader(self._socket)
        if self._later is not None:
            self._later.cancel()
        self._serve = None
        self._socket.close()

    async def finish(self, seconds: float) -> None:
        """Wait so long for the connections to end, and give up those that have not."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=seconds)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def cut(self) -> None:
        """Shut every connection that is still open, in both directions: to Hypercorn the client has left."""
        for connection in tuple(self._accepted):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _watch(self) -> None:
        self._later = None
        if self._left_since is not None and not _has_somebody(self._socket):
            self._left_since = None
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        """Somebody waits, or nobody any more: another process may have been faster."""
        for _ in range(_IN_A_TURN):
            if self._register.full:
                rules = self._register.rules
                self._register.tell("connections are at their limit", limit=rules.most, setting="MAX_CONNECTIONS")
                self._register.make_room()
                self._pause()
                return
            if self._is_for_others():
                self._pause(_A_MOMENT)
                return
            try:
                connection, _ = self._socket.accept()
            except _NOBODY:
                return
            except OSError as error:
                if error.errno not in _SHORT_OF:
                    raise
                self._register.tell("connections cannot be accepted", reason=error.strerror)
                self._pause()
                return
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._accepted.add(connection)
        task = asyncio.get_running_loop().create_task(self._connected(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.connect_accepted_socket(partial(InTurns, protocol, _AT_ONCE), connection)
        except OSError:
            connection.close()
            return
        if self._serve is None:
            transport.abort()
            return
        await self._serve(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    def _is_for_others(self) -> bool:
        """Whether another process has fewer connections, and may still come to take this one."""
        patience = self._register.others.patience()
        if not patience:
            self._left_since = None
            return False
        now = monotonic()
        self._left_since = self._left_since or now
        return now - self._left_since < patience

    def _pause(self, seconds: float = _LATER) -> None:
        """Accept nobody for a moment; the loop has nothing to do meanwhile."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        self._later = loop.call_later(seconds, self._watch)


def _has_somebody(bound: socket.socket) -> bool:
    """Whether a client waits to be accepted."""
    poll = select.poll()
    poll.register(bound, select.POLLIN)
    return bool(poll.poll(0))
