"""An address that moves: connections go to where it leads when they are made, and packets may be swallowed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType


class Forwarder:
    """On loopback, in the test's own loop.

    Args:
        target: the port that new connections lead to, at first.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._silent = False
        self._loud = asyncio.Event()
        self._loud.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Forwarder:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def silent(self) -> bool:
        """Whether everything is taken and nothing comes to the other side, on old connections and on new ones."""
        return not self._loud.is_set()

    @silent.setter
    def silent(self, silent: bool) -> None:
        if silent:
            self._loud.clear()
        else:
            self._loud.set()

    def cut(self) -> None:
        """Reset all connections that there are."""
        for task in self._tasks:
            task.cancel()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._loud.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        try:
            ways = {asyncio.ensure_future(self._pass(reader, back)), asyncio.ensure_future(self._pass(there, writer))}
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            writer.transport.abort()
            back.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while some := await reader.read(65536):
                await self._loud.wait()
                writer.write(some)
                await writer.drain()
