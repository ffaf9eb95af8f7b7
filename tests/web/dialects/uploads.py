"""Uploads of blobs, sent by a client that feels at once when nobody takes them."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, Service

MEGABYTE = 2**20
PIECE = b"x" * 65536
BLOB = bytes(range(256)) * 4096
NAME = "/api/blobs/sha256:" + "0" * 64
ADMIN = {"X-API-Key": ADMIN_KEY}
# What two pairs of socket buffers and a few pieces on the way come to; a body that is read ahead is all there.
FEW = 12 * MEGABYTE


def name_of(blob: bytes) -> str:
    """The path of a blob."""
    return f"/api/blobs/sha256:{hashlib.sha256(blob).hexdigest()}"


def head_of(path: str, *headers: str, method: str = "POST") -> bytes:
    """The head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def key(value: str) -> str:
    """The header with a key."""
    return f"X-API-Key: {value}"


class Uploading:
    """A client that sends for as long as it is let, and counts what it got rid of."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.sent = 0

    async def send(self, size: int, framed: bool = False) -> None:
        """Send so many bytes of a body."""
        piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if framed else PIECE
        for _ in range(size // len(PIECE)):
            self.writer.write(piece)
            await self.writer.drain()
            self.sent += len(PIECE)

    def reset(self) -> None:
        """Cut the connection: the other side gets a RST, as from a machine that crashed."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def answer(self, seconds: float = 5) -> tuple[int, bytes]:
        """Status and body of the answer."""
        async with asyncio.timeout(seconds):
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            return int(head.split(b" ", 2)[1]), await self.reader.readexactly(length)


@asynccontextmanager
async def uploading(service: Service, head: bytes) -> AsyncIterator[Uploading]:
    """A connection whose own side holds next to nothing, with the head already sent."""
    connection = socket.create_connection((urlsplit(service.url).hostname, urlsplit(service.url).port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(PIECE))
    reader, writer = await asyncio.open_connection(sock=connection)
    writer.transport.set_write_buffer_limits(high=0)
    writer.write(head)
    try:
        yield Uploading(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def stalled(service: Service, fake: FakeOllama) -> AsyncIterator[Uploading]:
    """An upload of which the backend takes no more than the first MiB, and the client could send no more."""
    fake.blob_delay, fake.blob_any_digest = 600, True
    async with uploading(service, head_of(NAME, key(ADMIN_KEY), f"Content-Length: {2**40}")) as client:
        sending = asyncio.create_task(client.send(2**40))
        sent = -1
        while sent != client.sent or not sent:
            sent = client.sent
            await asyncio.sleep(0.2)
        sending.cancel()
        yield client
