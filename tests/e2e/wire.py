"""One exchange over a connection of its own: what is sent is what is written here, what came back is not touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

Headers = Sequence[tuple[str, str]]

_PATIENCE: Final = 30
_CHUNK: Final = 1000
_STREAMED: Final = ("application/x-ndjson", "text/event-stream")


@dataclass(frozen=True)
class Request:
    """What is sent.

    Attributes:
        method: of HTTP.
        target: as it stands in the request line; `{host}` is the server's.
        headers: beside those that frame the body; `Host` is the server's unless it stands here.
        body: without one there is no header about it either.
        chunked: sends the body in chunks, rather than with its length.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes | None = None
    chunked: bool = False

    @property
    def expects_continue(self) -> bool:
        """Whether the body waits until the server has asked for it."""
        return ("Expect", "100-continue") in self.headers

    def head(self, host: str, added: Headers) -> bytes:
        """The request line and the headers."""
        framing = [("Transfer-Encoding", "chunked")] if self.chunked else []
        if self.body is not None and not self.chunked:
            framing = [("Content-Length", str(len(self.body)))]
        named = [] if any(name == "Host" for name, _ in self.headers) else [("Host", host)]
        headers = [*named, *framing, *self.headers, *added]
        lines = [f"{self.method} {self.target.format(host=host)} HTTP/1.1", *(f"{name}: {v}" for name, v in headers)]
        return "\r\n".join([*lines, "", ""]).encode()

    def framed_body(self) -> bytes:
        """The body as it goes over the wire."""
        body = self.body or b""
        if not self.chunked:
            return body
        pieces = (body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK))
        return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """What came back: `body` without the chunks it may have come in."""

    status: int
    headers: Headers
    body: bytes
    interim: tuple[int, ...] = ()

    @property
    def streamed(self) -> bool:
        """Whether it is a stream, whose length nobody knew at its beginning."""
        kind = self.header("content-type") or ""
        return kind.startswith(_STREAMED) and self.header("transfer-encoding") == "chunked"

    def header(self, name: str) -> str | None:
        """The values of a header, lower-case names."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None


async def exchange(url: str, request: Request, added: Headers = ()) -> Answer:
    """Send one request and read the answer to its end.

    Args:
        url: the server's address.
        request: what is asked.
        added: headers that only this server gets, such as a key.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        async with asyncio.timeout(_PATIENCE):
            writer.write(request.head(parts.netloc, added))
            if not request.expects_continue:
                writer.write(request.framed_body())
            status, headers = await _head(reader)
            interim = []
            while 100 <= status < 200:
                interim.append(status)
                writer.write(request.framed_body() if request.expects_continue else b"")
                status, headers = await _head(reader)
            bodiless = request.method == "HEAD" or status in {204, 304}
            body = b"" if bodiless else await _body(reader, dict(headers))
            return Answer(status, headers, body, tuple(interim))
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> tuple[int, Headers]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    pairs = (line.partition(":") for line in lines)
    return int(first.split(" ", 2)[1]), [(name.lower(), value.strip()) for name, _, value in pairs]


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        return b"".join([piece async for piece in _chunks(reader)])
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read()


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while length := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(length + 2))[:-2]
    assert await reader.readexactly(2) == b"\r\n"
