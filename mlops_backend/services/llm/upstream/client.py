"""The process's one HTTP client: the only module that imports one.

httpx for its interface, aiohttp beneath it for its pool: plain httpx loses a pool slot with each cancelled request and
slows down above some tens of streams (docs/decisions/0002). No environment proxies, no redirects, no cookies; what
the transport reports alike (refused, unresolvable, vanished, timed out) is told apart here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence, Sized
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

import aiohttp
import httpx

from mlops_backend.errors import PoolFull
from mlops_backend.services.llm.upstream.answers import Reply, UpstreamResponse
from mlops_backend.services.llm.upstream.errors import classify, without_frames
from mlops_backend.services.llm.upstream.overhead import BoundedHandler, StaleConnection
from mlops_backend.services.llm.upstream.transport import ADDRESS, HEADER_LIMIT, KnownHeaders, Transport
from mlops_backend.services.llm.upstream.trust import AUTHORITIES
from mlops_backend.telemetry.record import RequestRecord

POOL_WAIT: Final = 1.0
KEEP_ALIVE: Final = 30.0
_PARSED_URLS: Final = 256
# A larger body goes piece by piece: at once, all that the backend's socket has no room for would be copied.
_PIECE: Final = 256 * 1024
# How many kept connections may turn out to be closed, one after the other.
_STALE: Final = 3
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_NOTHING: Final = httpx.ByteStream(b"")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a backend is: an address without credentials, and the headers that every request to it carries."""

    url: str
    headers: Mapping[str, str]


class _RelayClient(httpx.AsyncClient):
    """A client that goes straight to its transport.

    What lies between for a browser's sake (cookies, redirects, authentication, event hooks) a relay must not have; it
    costs a tenth of a millisecond a call, and one generator more for each token.
    """

    async def send(self, request: httpx.Request, **_: object) -> httpx.Response:
        """Send it; the answer's body is still to be read, and to be closed."""
        response = await self._transport_for_url(request.url).handle_async_request(request)
        response.request = request
        return response


class Upstream:
    """The shared client; opened and closed by the application's lifespan.

    Args:
        max_connections: how many requests may be under way at once; more wait `POOL_WAIT` seconds, then `PoolFull`.
        connect_timeout: seconds for name resolution and connecting together.
        user_agent: what backends see.
        unix_sockets: host name in a URL -> path of the Unix socket that stands for it.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        connect_timeout: float,
        user_agent: str,
        unix_sockets: Mapping[str, Path] | None = None,
    ) -> None:
        clocks = httpx.Timeout(connect=connect_timeout, pool=connect_timeout, read=None, write=None)
        self._clocks = clocks.as_dict()
        self._own_headers = (
            (b"accept", (b"Accept", b"*/*")),
            (b"accept-encoding", (b"Accept-Encoding", b"identity")),
            (b"connection", (b"Connection", b"keep-alive")),
            (b"user-agent", (b"User-Agent", user_agent.encode("latin-1"))),
        )
        self._unix_sockets = dict(unix_sockets or {})
        self._slots = asyncio.Semaphore(max_connections)
        self._max_connections = max_connections
        self._urls: dict[str, tuple[httpx.URL, bytes]] = {}
        self._client: httpx.AsyncClient | None = None
        self.active = 0

    async def open(self) -> None:
        """Make the client; its pool belongs to the running loop."""
        self._client = _RelayClient(
            transport=Transport(
                client=lambda: _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE, ssl=AUTHORITIES)),
                verify=AUTHORITIES,
            ),
            mounts={f"http://{host}": _unix_transport(path) for host, path in self._unix_sockets.items()},
            limits=httpx.Limits(max_connections=self._max_connections),
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close the client and every connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        target: Target,
        path: str,
        record: RequestRecord | None = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> AsyncIterator[UpstreamResponse]:
        """Send one request; the answer's body is read, or abandoned, within the `async with`.

        JSON goes as one body with its length: Go notices a client that leaves only once the body ended. A body of
        unknown length is pulled as fast as the backend takes it, and no faster. `headers` are the client's own; those
        of the target win.

        Raises:
            PoolFull: all connections are in use.
            BackendFailed: refused, unresolvable or gone before the headers.
            ConnectTimedOut: `connect_timeout` passed.
        """
        url = target.url + path
        if record is not None:
            record.upstream_url = url.partition("?")[0]
            headers = record.trace.carried(record, tuple(headers))
            await self._take_slot()
        try:
            response = await self._send(method, url, _merged(headers, target.headers, content), content)
            try:
                yield UpstreamResponse(response)
            finally:
                # Not by the response itself, which would only say of an error which request it is of.
                await cast(httpx.AsyncByteStream, response.stream).aclose()
                response.stream = _NOTHING  # it and its stream hold each other, and the request's body with them
        finally:
            if record is not None:
                self._give_slot()

    async def request(
        self,
        method: str,
        target: Target,
        path: str,
        record: RequestRecord | None = None,
        content: bytes | None = None,
    ) -> Reply:
        """Send one request and read its whole answer; raises what `stream` and `read` raise."""
        async with self.stream(method, target, path, record, content) as response:
            return await response.whole()

    async def _send(
        self, method: str, url: str, headers: list[tuple[bytes, bytes]], content: bytes | AsyncIterable[bytes] | None
    ) -> httpx.Response:
        if isinstance(content, Sized):
            headers.append((b"Content-Length", b"%d" % len(content)))
        elif content is None and method not in _WITHOUT_BODY:
            headers.append((b"Content-Length", b"0"))
        left = _STALE if _can_be_sent_again(content) else 0
        while True:
            try:
                return await self._sent(method, url, headers, content)
            except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
                if not (left and StaleConnection in {type(error), type(error.__cause__)}):
                    raise without_frames(classify(error), error) from None
                left -= 1

    async def _sent(
        self, method: str, url: str, headers: list[tuple[bytes, bytes]], content: bytes | AsyncIterable[bytes] | None
    ) -> httpx.Response:
        assert self._client is not None, "Upstream.open() comes first"  # noqa: S101 - a programming error
        parsed, host = self._parsed(url)
        # Not by `build_request`, which merges and parses all headers some five times.
        named = {name.lower() for name, _ in headers}
        own = [header for name, header in ((b"host", (b"Host", host)), *self._own_headers) if name not in named]
        # Nor with its content, of which httpx would make headers once more.
        request = httpx.Request(
            method,
            parsed,
            headers=KnownHeaders([*own, *headers]),
            stream=_body(content),
            extensions={"timeout": self._clocks, ADDRESS: url},
        )
        return await self._client.send(request)

    def _parsed(self, url: str) -> tuple[httpx.URL, bytes]:
        """It and its `Host`, parsed once: a process calls its backends' routes, a handful; few name a model."""
        parsed = self._urls.get(url)
        if parsed is None:
            if len(self._urls) >= _PARSED_URLS:
                del self._urls[next(iter(self._urls))]
            address = httpx.URL(url)
            parsed = self._urls[url] = address, address.netloc
        return parsed

    async def _take_slot(self) -> None:
        """A look at a backend takes none: with all of them in use the backend is still there."""
        if self._slots.locked():
            try:
                await asyncio.wait_for(self._slots.acquire(), POOL_WAIT)
            except TimeoutError:
                raise PoolFull("All connections to the backends are in use; try again soon.") from None
        else:
            await self._slots.acquire()
        self.active += 1

    def _give_slot(self) -> None:
        self.active -= 1
        self._slots.release()


def _can_be_sent_again(content: object) -> bool:
    """Whether all of it is still here; an upload is gone as it is sent."""
    return content is None or isinstance(content, Sized)


def _body(content: bytes | AsyncIterable[bytes] | None) -> httpx.AsyncByteStream:
    """As the transport takes it: whole, or piece by piece."""
    if content is None:
        return _NOTHING
    if isinstance(content, bytes):
        return httpx.ByteStream(content) if len(content) <= _PIECE else _Pieces(_pieces(content))
    return _Pieces(content)


class _Pieces(httpx.AsyncByteStream):
    """A body that goes as its backend takes it."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            yield piece


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    """A body's pieces, each taken when the backend has room for it."""
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]


def _merged(
    headers: Sequence[tuple[str, str]], own: Mapping[str, str], content: object | None
) -> list[tuple[bytes, bytes]]:
    """A client's headers and the target's own; what has a body has a type. As bytes: httpx takes text of ASCII only."""
    names = {name.lower() for name in own}
    merged = [*[(name, value) for name, value in headers if name.lower() not in names], *own.items()]
    if content is not None and not any([name.lower() == "content-type" for name, _ in merged]):
        merged.append(("Content-Type", "application/json"))
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in merged]


def _unix_transport(path: Path) -> Transport:
    return Transport(client=lambda: _session(aiohttp.UnixConnector(str(path), limit=0)), verify=False)


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    # aiohttp offers no other place to choose what reads from a connection.
    connector._factory = partial(BoundedHandler, loop=asyncio.get_running_loop())  # type: ignore[assignment]
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        max_line_size=HEADER_LIMIT,
        max_field_size=HEADER_LIMIT,
    )
