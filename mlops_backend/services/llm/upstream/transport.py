"""The transport beneath the httpx client: aiohttp's connections, with as little as possible between.

aiohttp's client builds for each request what does not change from one to the next (cookies, redirects, credentials,
proxies, tracing, timers), and makes a task that writes a body which one `write` takes. A request whose body is here as
a whole, as nearly all are, goes straight to a connection of aiohttp's pool; all others go aiohttp's own way.

What is private to aiohttp stands here, in `overhead.py` and in `tap.py`; `tests/web/llm/test_short_way.py` holds
that it is what is known.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import httpx
from aiohttp import connector
from aiohttp.http_exceptions import HttpProcessingError
from httpx_aiohttp import AiohttpTransport
from yarl import URL

from mlops_backend.services.llm.upstream.trust import AUTHORITIES

# aiohttp reads the authorities twice when it is imported, for who names none; here all do (`trust.py`).
connector._SSL_CONTEXT_VERIFIED = connector._SSL_CONTEXT_UNVERIFIED = AUTHORITIES
_MOST_TARGETS: Final = 256
_READ_AT_ONCE: Final = 16 * 1024
_READ_BUFFER: Final = 256 * 1024
HEADER_LIMIT: Final = 64 * 1024
_MOST_HEADERS: Final = 128
_SWITCHING: Final = 101
_FORBIDDEN: Final = re.compile(rb"[\r\n\0]")
_ANSWERED: Final = {"http_version": b"HTTP/1.1"}


# What a request was given as its URL, in its extensions: httpx would put it together again.
ADDRESS: Final = "mlops_backend.address"


class KnownHeaders(httpx.Headers):
    """Headers that are bytes already; httpx looks at each, and at its type, to make them so."""

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._list = [(name, name.lower(), value) for name, value in raw]
        self._encoding = None


@dataclass(frozen=True, slots=True)
class _Target:
    """What does not change between the requests to one URL.

    `connects` is a request of aiohttp's that is never sent: it says where a connection leads.
    """

    line: bytes
    connects: aiohttp.ClientRequest


class Arriving(httpx.AsyncByteStream):
    """An answer's body; `content` is aiohttp's reader, and `connection` is let go of once all has come."""

    def __init__(self, connection: Any, content: aiohttp.StreamReader) -> None:
        self.connection = connection
        self.content = content
        content.on_eof(self._let_go)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Its pieces; raises an `aiohttp.ClientError` or an `OSError`."""
        async for piece in self.content.iter_chunked(_READ_AT_ONCE):
            yield piece

    async def aclose(self) -> None:
        """Let go of the connection, which is closed where the body has not come to its end."""
        self._let_go()

    def _let_go(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release()


class Transport(AiohttpTransport):
    """aiohttp's pool and connections for httpx."""

    def __init__(self, **choices: Any) -> None:
        super().__init__(**choices)
        self._targets: dict[tuple[str, str], _Target] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and give the head of its answer.

        Raises:
            httpx.HTTPError, aiohttp.ClientError, OSError: see `errors.py`.
        """
        if not isinstance(request.stream, httpx.ByteStream):
            return await super().handle_async_request(request)
        written = _written(request)
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        target = self._target(self.client, request)
        connection = await _connected(self.client, target, request.extensions["timeout"])
        try:
            message, content = await _asked(connection, target, request.method, written)
        except BaseException:
            connection.close()
            raise
        return httpx.Response(
            message.code,
            headers=KnownHeaders(message.raw_headers),
            stream=Arriving(connection, content),
            request=request,
            extensions=_ANSWERED,
        )

    def _target(self, session: aiohttp.ClientSession, request: httpx.Request) -> _Target:
        key = request.method, request.extensions.get(ADDRESS) or str(request.url)
        target = self._targets.get(key)
        if target is None:
            if len(self._targets) >= _MOST_TARGETS:
                del self._targets[next(iter(self._targets))]
            target = self._targets[key] = _target_of(session, *key)
        return target


def _target_of(session: aiohttp.ClientSession, method: str, url: str) -> _Target:
    """Raises an `aiohttp.ClientError` or a `ValueError` where the URL cannot be asked."""
    connects = aiohttp.ClientRequest("GET", URL(url), loop=asyncio.get_running_loop(), session=session)
    return _Target(f"{method} {connects.url.raw_path_qs} HTTP/1.1\r\n".encode(), connects)


async def _connected(session: aiohttp.ClientSession, target: _Target, clocks: Any) -> Any:
    connector = session.connector
    assert connector is not None  # noqa: S101 - the session is open
    timeout = aiohttp.ClientTimeout(sock_connect=clocks["connect"], connect=clocks["pool"])
    try:
        return await connector.connect(target.connects, traces=[], timeout=timeout)
    except TimeoutError as error:
        raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {target.connects.url}") from error


async def _asked(connection: Any, target: _Target, method: str, written: bytes) -> tuple[Any, aiohttp.StreamReader]:
    """Send a request, and read the head of its answer."""
    handler = connection.protocol
    handler.set_response_params(
        skip_payload=method == "HEAD",
        read_until_eof=True,
        auto_decompress=False,
        read_bufsize=_READ_BUFFER,
        max_line_size=HEADER_LIMIT,
        max_field_size=HEADER_LIMIT,
        max_headers=_MOST_HEADERS,
    )
    transport = handler.transport
    if transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("the connection was closed before it was used")
    transport.write(target.line + written)
    while True:
        try:
            message, content = await handler.read()
        except HttpProcessingError as error:
            raise aiohttp.ClientResponseError(target.connects.request_info, (), status=error.code) from error
        if not 100 <= message.code < 200 or message.code == _SWITCHING:
            return message, content


def _written(request: httpx.Request) -> bytes:
    """Headers and body as they go over the wire.

    Raises:
        httpx.LocalProtocolError: a header holds what would end it.
    """
    headers = request.headers.raw
    if _FORBIDDEN.search(b"".join([part for header in headers for part in header])):
        raise httpx.LocalProtocolError("a header holds a line's end", request=request)
    body = request.stream
    assert isinstance(body, httpx.ByteStream)  # noqa: S101 - the caller looked
    return b"".join([*[b"%b: %b\r\n" % header for header in headers], b"\r\n", *body])
