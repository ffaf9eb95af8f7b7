"""What a client sends: a buffer of our own, a body read piece by piece, and a hang-up behind unread bytes."""

import asyncio
import select

READ_SIZE = 65536


class Inbox:
    """What has arrived and was not used yet, so that watching for a hang-up loses no request."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._buffer = bytearray()

    @property
    def client_left(self) -> bool:
        """Whether the client has closed its side, and all that came before was used."""
        return self._reader.at_eof() or self._reader.exception() is not None

    async def fill(self) -> bool:
        """Wait for more; False when the client has closed its side."""
        try:
            data = await self._reader.read(READ_SIZE)
        except ConnectionError:
            return False
        self._buffer += data
        return bool(data)

    async def until(self, separator: bytes) -> bytes | None:
        """Return what stands before a separator, or None when the client has gone."""
        while (end := self._buffer.find(separator)) < 0:
            if not await self.fill():
                return None
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(separator)]
        return found

    async def some(self, limit: int) -> bytes:
        """Return up to `limit` bytes as soon as there are any; nothing when the client has gone."""
        if not self._buffer and not await self.fill():
            return b""
        found = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        return found


class Body:
    """One request's body, chunked or of a known length; never more of it than a piece is held."""

    def __init__(self, inbox: Inbox, headers: list[tuple[str, str]]) -> None:
        names = dict(headers)
        self._inbox = inbox
        self._chunked = "chunked" in names.get("transfer-encoding", "").lower()
        self._left = 0 if self._chunked else int(names.get("content-length", "0"))
        self.expects = names.get("expect", "").lower() == "100-continue"
        self.ended = asyncio.Event()
        if not self._chunked and not self._left:
            self.ended.set()

    async def piece(self) -> bytes:
        """Return the next bytes, at most 64 KiB, or nothing at the end.

        Raises: ConnectionResetError when the client leaves before the end.
        """
        if self._chunked and not self._left and not self.ended.is_set():
            await self._next_chunk()
        if self.ended.is_set():
            return b""
        data = await self._inbox.some(min(self._left, READ_SIZE))
        if not data:
            raise ConnectionResetError
        self._left -= len(data)
        if not self._left:
            await self._end_of_part()
        return data

    async def _next_chunk(self) -> None:
        self._left = int((await self._line()).split(b";")[0], 16)
        if not self._left:
            await self._end_of_part()
            self.ended.set()

    async def _end_of_part(self) -> None:
        if self._chunked:
            await self._line()
        else:
            self.ended.set()

    async def _line(self) -> bytes:
        line = await self._inbox.until(b"\r\n")
        if line is None:
            raise ConnectionResetError
        return line


async def closed_by_peer(descriptor: int) -> None:
    """Return when the other side has closed, even if bytes before that were not read yet (Linux only)."""
    if not hasattr(select, "epoll"):
        await asyncio.Event().wait()
    if descriptor < 0:
        return
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    with select.epoll() as poll:
        poll.register(descriptor, select.EPOLLRDHUP)
        loop.add_reader(poll.fileno(), closed.set)
        try:
            await closed.wait()
        finally:
            loop.remove_reader(poll.fileno())
