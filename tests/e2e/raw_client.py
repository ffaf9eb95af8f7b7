"""One HTTP/1.1 connection under the test's full control: it can stop reading, leave, or be cut."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class RawClient:
    """Sends what it is told; reads only when asked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def connect(cls, url: str, *, receive_buffer: int | None = None) -> RawClient:
        """Connect; a small `receive_buffer` makes a client that does not read felt soon."""
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        connection = socket.socket()
        connection.setblocking(False)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(connection, (parts.hostname, parts.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=receive_buffer or 65536)
        return cls(reader, writer, parts.netloc)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def request(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        """Send a request; an underscore in a header's name stands for a hyphen."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(content)}"]
        lines += ["Content-Type: application/json"] if content else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode() + content)

    async def head(self) -> int:
        """Read the answer's status line and headers; returns the status."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1])

    async def chunk(self) -> bytes:
        """Read one chunk of a chunked body; empty at its end."""
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        return (await self._reader.readexactly(size + 2))[:-2]

    async def lines(self) -> list[bytes]:
        """Read a chunked body to its end; returns its lines, without empty ones."""
        chunks = []
        while chunk := await self.chunk():
            chunks.append(chunk)
        return [line for line in b"".join(chunks).split(b"\n") if line]

    async def at_end(self) -> bytes:
        """Read whatever comes until the other side closes or resets the connection."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    async def leave(self) -> None:
        """Close the connection as a client does that has had enough."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def reset(self) -> None:
        """Cut the connection: the other side gets a RST, as from a machine that crashed."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        await asyncio.sleep(0)
