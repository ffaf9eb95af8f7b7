"""The little HTTP/1.1 that a fake server needs: requests in, replies out, hang-ups noticed at once."""

import asyncio
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

READ_SIZE = 65536


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
    """One client's connection. The buffer is our own, so that watching for a hang-up loses no request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self.dropped = False
        # With no room in the buffer, drain() means that the kernel has the bytes.
        writer.transport.set_write_buffer_limits(high=0)

    async def read_request(self) -> Request | None:
        """Return the next request, or None when the client has gone."""
        head = await self._until(b"\r\n\r\n")
        if head is None:
            return None
        method, path, query, headers = parse_head(head)
        names = dict(headers)
        if names.get("expect", "").lower() == "100-continue":
            await self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in names.get("transfer-encoding", "").lower():
            body = await self._chunked_body()
        else:
            body = await self._exactly(int(names.get("content-length", "0")))
        return None if body is None else Request(method, path, query, headers, body)

    async def hung_up(self) -> None:
        """Return when the client has closed its side; what it pipelines meanwhile is kept."""
        while await self._fill():
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

    def drop(self) -> None:
        """Close the socket at once; what was sent has left, what was not never will."""
        self.dropped = True
        self._writer.transport.abort()

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _fill(self) -> bool:
        try:
            data = await self._reader.read(READ_SIZE)
        except ConnectionError:
            return False
        self._buffer += data
        return bool(data)

    async def _until(self, separator: bytes) -> bytes | None:
        while (end := self._buffer.find(separator)) < 0:
            if not await self._fill():
                return None
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(separator)]
        return found

    async def _exactly(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            if not await self._fill():
                return None
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    async def _chunked_body(self) -> bytes | None:
        body = bytearray()
        while (line := await self._until(b"\r\n")) is not None:
            size = int(line.split(b";")[0], 16)
            data = await self._exactly(size)
            if data is None or await self._until(b"\r\n") is None:
                return None
            if not size:
                return bytes(body)
            body += data
        return None
