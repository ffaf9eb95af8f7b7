"""The little HTTP/1.1 that a fake server needs: requests in, replies out, hang-ups noticed at once."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus

from tests.fakes.http11_body import READ_SIZE, Body, Inbox, closed_by_peer

LINGER = 0.5


@dataclass(frozen=True)
class Request:
    """One request, body included; header names are lower-cased, order and repetitions kept."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header, or an empty string."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True)
class Reply:
    """A reply with a known length; `declared` lies about that length."""

    status: int = 200
    content_type: str | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None


def head_bytes(status: int, headers: dict[str, str]) -> bytes:
    """Return the status line and headers, ended by their empty line."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Date: {formatdate(usegmt=True)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def reply_headers(reply: Reply) -> dict[str, str]:
    """Return a reply's headers, its length among them."""
    headers = dict(reply.headers)
    if reply.content_type:
        headers["Content-Type"] = reply.content_type
    length = len(reply.body) if reply.declared is None else reply.declared
    headers["Content-Length"] = str(length)
    return headers


def parse_head(head: bytes) -> tuple[str, str, str, list[tuple[str, str]]]:
    """Return method, path, query and headers of a request's head."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    path, _, query = target.partition("?")
    pairs = (line.partition(":") for line in lines if line)
    return method, path, query, [(name.strip().lower(), value.strip()) for name, _, value in pairs]


class Connection:
    """One client's connection. The body of a request that is `streamed` is left to `read_piece`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._inbox = Inbox(reader)
        self._writer = writer
        self._body = Body(self._inbox, [])
        self.dropped = False
        # With no room in the buffer, drain() means that the kernel has the bytes.
        writer.transport.set_write_buffer_limits(high=0)

    @property
    def unread(self) -> bool:
        """Whether a part of the last request's body was not read."""
        return not self._body.ended.is_set()

    @property
    def client_left(self) -> bool:
        """Whether the client is known to have closed its side."""
        return self._inbox.client_left

    async def read_request(self, streamed: Callable[[Request], bool] = lambda _: False) -> Request | None:
        """Return the next request, or None when the client has gone."""
        head = await self._inbox.until(b"\r\n\r\n")
        if head is None:
            return None
        request = Request(*parse_head(head), b"")
        self._body = Body(self._inbox, request.headers)
        if streamed(request):
            return request
        body = bytearray()
        try:
            while piece := await self.read_piece():
                body += piece
        except ConnectionError:
            return None
        return replace(request, body=bytes(body))

    async def read_piece(self) -> bytes:
        """Return more of the body, at most 64 KiB, or nothing at its end.

        Raises: ConnectionResetError when the client leaves before that.
        """
        if self._body.expects:
            self._body.expects = False
            await self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self._body.piece()

    async def hung_up(self) -> None:
        """Return when the client has closed its side; what it pipelines meanwhile is kept."""
        if self.unread and not await self._body_ends():
            return
        while await self._inbox.fill():
            pass

    async def send(self, reply: Reply, *, with_body: bool = True) -> None:
        """Send a reply with a Content-Length."""
        body = reply.body if with_body else b""
        await self._write(head_bytes(reply.status, reply_headers(reply)) + body)

    async def send_part(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._write(data)

    async def send_chunk(self, data: bytes, *, declared: int | None = None, head: bytes = b"") -> None:
        """Send one chunk, after `head` if it is the first; a larger `declared` leaves it unfinished."""
        whole = declared is None
        size = len(data) if declared is None else declared
        await self._write(head + b"%x\r\n" % size + data + (b"\r\n" if whole else b""))

    async def end_chunks(self) -> None:
        """End a chunked body properly."""
        await self._write(b"0\r\n\r\n")

    def narrow(self) -> None:
        """Let the kernel hold little of what comes, so that a slow reader is felt at once."""
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_SIZE)

    async def linger(self) -> None:
        """Close the sending side and give the client time to read, as Go does when a body was not read."""
        with suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(LINGER):
                await self._closed_by_peer()

    def drop(self) -> None:
        """Close the socket at once; what was sent has left, what was not never will."""
        self.dropped = True
        self._writer.transport.abort()

    async def _body_ends(self) -> bool:
        """Wait until somebody has read the body; False when the client leaves before."""
        watched = [asyncio.ensure_future(self._body.ended.wait()), asyncio.ensure_future(self._closed_by_peer())]
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in watched:
                task.cancel()
        return not self.unread

    async def _closed_by_peer(self) -> None:
        await closed_by_peer(self._socket().fileno())

    def _socket(self) -> socket.socket:
        found: socket.socket = self._writer.get_extra_info("socket")
        return found

    async def _write(self, data: bytes) -> None:
        if self._writer.is_closing():  # uvloop has a RuntimeError for that
            raise ConnectionResetError("the client has left")
        self._writer.write(data)
        await self._writer.drain()
