"""Connections that are over: idle ones, stuck ones, too many of them, and what is not HTTP/1.1."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import pytest
from structlog.testing import capture_logs

from mlops_backend.middleware.body_limit import DISCARD_SECONDS
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ORDINARY_KEY, Service

BODY = json.dumps({"model": "llama3", "prompt": "Hi"}).encode()
# More than any buffer on the way holds.
MUCH = ("x" * 8000,) * 20_000
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to the service."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


def asking(path: str, *headers: str, body: bytes = BODY, method: str = "POST") -> bytes:
    """A request with the ordinary key."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"X-API-Key: {ORDINARY_KEY}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def until_closed(reader: asyncio.StreamReader, seconds: float = 5) -> bytes:
    """All that comes until the service closes the connection."""
    with suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), seconds)
    return b""


def head_and_body(answer: bytes) -> tuple[bytes, Any]:
    """An answer's head, and what its body tells."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, json.loads(body)


@pytest.mark.parametrize(
    "refused", [b"POST * HTTP/1.1\r\nHost: x", b"POST /api/tags HTTP/1.1\r\nHost: x?y"], ids=["path", "host"]
)
async def test_what_cannot_be_read_is_over_with_its_answer(service: Service, refused: bytes) -> None:
    """A request without a path or a `Host`, and with a body that nobody wants, leaves no connection behind."""
    with capture_logs() as logs:
        async with connected(service) as (reader, writer):
            writer.write(refused + b"\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
            head, _ = head_and_body(await until_closed(reader))
    assert head.startswith(b"HTTP/1.1 400 ")
    assert [line["status"] for line in logs if line["event"] == "request"] == [400]


BEGUN = {
    "nothing": b"",
    "half a line": b"GET /hea",
    "half a head": b"GET /health HTTP/1.1\r\nHost: x\r\n",
    "half a body": asking("/api/llm/generate", "Content-Length: 100", body=b'{"mod'),
    "half a chunk": asking("/api/llm/generate", "Transfer-Encoding: chunked", body=b"20\r\n{"),
    "half a blob": asking("/api/blobs/sha256:00", "Content-Length: 100", body=b"abc"),
    "a whole request": asking("/health", body=b"", method="GET"),
}


@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN)
async def test_who_says_nothing_more_is_closed(serve: ServeFactory, fake: FakeOllama, begun: bytes) -> None:
    """However far a client has come, its connection ends when it has been waited for too long."""
    async with serve(fake.url, keep_alive_timeout=0.2) as service, connected(service) as (reader, writer):
        writer.write(begun)
        started = monotonic()
        await until_closed(reader)
        assert monotonic() - started < 3


async def test_a_head_that_drips_is_closed(serve: ServeFactory, fake: FakeOllama) -> None:
    """A byte now and then keeps no connection: its whole head has the time that an idle one has."""
    async with serve(fake.url, keep_alive_timeout=0.3) as service, connected(service) as (reader, writer):
        started = monotonic()
        with suppress(ConnectionError):
            for byte in b"GET / HTTP/1.1\r\nX: " + b"y" * 100:
                writer.write(bytes([byte]))
                await writer.drain()
                if reader.at_eof():
                    break
                await asyncio.sleep(0.05)
        assert monotonic() - started < 3


async def test_a_long_answer_is_not_idle(serve: ServeFactory, fake: FakeOllama) -> None:
    """A generation that takes longer than an idle connection may is not cut."""
    fake.hold()
    async with serve(fake.url, keep_alive_timeout=0.2) as service, connected(service) as (reader, writer):
        writer.write(asking("/api/llm/generate", f"Content-Length: {len(BODY)}"))
        await fake.wait_for_request("/api/generate")
        await asyncio.sleep(1.5)
        fake.release()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/api/llm/stream", "/api/chat", "/v1/chat/completions"])
async def test_who_takes_nothing_is_ended(serve: ServeFactory, path: str) -> None:
    """A client that reads nothing of a long stream keeps its backend busy for SEND_TIMEOUT; the record says so."""
    async with FakeOllama(words=MUCH) as fake, serve(fake.url, send_timeout=0.5) as service:
        host, port = service.url.removeprefix("http://").split(":")
        with socket.socket() as client, capture_logs() as logs:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((host, int(port)))
            body = json.dumps(
                {"model": "llama3", "prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
            ).encode()
            client.sendall(asking(path, f"Content-Length: {len(body)}", body=body))
            gone = await fake.wait_for_disconnect()
            assert gone.disconnected_at is not None
            await asyncio.sleep(0.1)
        (entry,) = [entry for entry in logs if entry["event"] == "request"]
        assert (entry["outcome"], entry["error"]) == ("timeout", "send_timeout")


async def test_who_reads_slowly_is_not_ended(serve: ServeFactory) -> None:
    """A client that takes a little now and then is slow, not stuck."""
    async with FakeOllama(words=MUCH) as fake, serve(fake.url, send_timeout=0.7) as service:
        async with connected(service) as (reader, writer):
            writer.write(asking("/api/llm/stream", f"Content-Length: {len(BODY)}"))
            for _ in range(15):
                assert await reader.read(65536)
                await asyncio.sleep(0.2)
        assert (await fake.wait_for_disconnect()).disconnected_at


@pytest.mark.parametrize("path", ["/health", "/api/llm/generate", "/api/llm/stream"])
async def test_who_has_said_all_gets_a_short_answer(service: Service, path: str) -> None:
    """A client that closes its side behind its request, as `nc -N` does, gets a whole answer that is soon made."""
    async with connected(service) as (reader, writer):
        method, body = ("GET", b"") if path == "/health" else ("POST", BODY)
        writer.write(asking(path, f"Content-Length: {len(body)}", body=body, method=method))
        writer.write_eof()
        answer = await until_closed(reader)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith((b"}", b"}\n", b"0\r\n\r\n"))


async def test_an_address_has_its_share(serve: ServeFactory, fake: FakeOllama) -> None:
    """One connection too many from an address is told so and closed; when another ends there is room again."""
    async with (
        serve(fake.url, max_connections_per_address=2) as service,
        connected(service) as (_, held),
        connected(service),
    ):
        async with connected(service) as (reader, _):
            head, told = head_and_body(await until_closed(reader))
            assert head.startswith(b"HTTP/1.1 503")
            assert told["code"] == "service_unavailable"
        held.close()
        await asyncio.sleep(0.1)
        async with connected(service) as (reader, writer):
            writer.write(asking("/health", body=b"", method="GET"))
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HTTP2_PREFACE, b"505"),
        (HTTP2_PREFACE + b"\0\0\0\4\0\0\0\0\0", b"505"),
        (b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n", b"505"),
        (b"\x16\3\1\2\0\1\0\1\xfc\3\3", b"400"),
        (b"GET /health\r\n\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n", b"400"),
    ],
    ids=["HTTP/2", "HTTP/2 frames", "version 2", "TLS", "version 0.9", "no host", "long head", "gzip", "two lengths"],
)
async def test_what_is_not_http_1_gets_json(service: Service, sent: bytes, status: bytes) -> None:
    """A request that cannot be read is answered in JSON, without a byte of it, and the connection ends."""
    async with connected(service) as (reader, writer):
        writer.write(sent)
        head, told = head_and_body(await until_closed(reader))
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in head.lower()
    assert set(told) == {"error", "code"}


@pytest.mark.parametrize(
    "headers",
    [
        ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
        ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: eA==", "Sec-WebSocket-Version: 13"),
    ],
    ids=["h2c", "websocket"],
)
async def test_an_upgrade_is_ignored(service: Service, headers: tuple[str, ...]) -> None:
    """Whoever wants another protocol gets the answer of a plain request."""
    async with connected(service) as (reader, writer):
        writer.write(asking("/nothing", *headers, "Connection: close", body=b"", method="GET"))
        head, told = head_and_body(await until_closed(reader))
    assert head.startswith(b"HTTP/1.1 404")
    assert told["code"] == "not_found"


async def test_two_framings_end_the_connection(service: Service) -> None:
    """Behind a request with a length and chunks nothing is read, for another may read it differently."""
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    sent = asking("/api/llm/generate", "Content-Length: 5", "Transfer-Encoding: chunked", body=chunked)
    async with connected(service) as (reader, writer):
        writer.write(sent + asking("/health", body=b"", method="GET"))
        answer = await until_closed(reader)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("framing", [b"Content-Length: 99999", b"Transfer-Encoding: chunked"], ids=["length", "chunks"])
async def test_an_answer_before_the_body_ends_the_connection(service: Service, framing: bytes) -> None:
    """It says that it is the last, so that a proxy which gives up the rest of the body asks nothing else there."""
    async with connected(service) as (reader, writer):
        writer.write(b"POST /api/generate HTTP/1.1\r\nHost: x\r\nX-API-Key: no\r\n" + framing + b"\r\n\r\n")
        writer.write(b"5\r\nhello\r\n")
        answer = await until_closed(reader)
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"connection: close" in answer.lower()


async def test_a_refusal_does_not_wait_for_the_body(service: Service) -> None:
    """Its head is there at once, though what is left of the body is awaited before the last of it is sent."""
    async with connected(service) as (reader, writer):
        writer.write(b"POST /api/generate HTTP/1.1\r\nHost: x\r\nX-API-Key: no\r\nContent-Length: 99999\r\n\r\nhello")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DISCARD_SECONDS / 2)
    assert head.startswith(b"HTTP/1.1 401")


async def test_an_answer_to_a_whole_request_keeps_the_connection(service: Service) -> None:
    """A refusal of a request that is all there says nothing, and another one may follow."""
    async with connected(service) as (reader, writer):
        for _ in range(2):
            writer.write(b"POST /api/generate HTTP/1.1\r\nHost: x\r\nX-API-Key: no\r\nContent-Length: 5\r\n\r\nhello")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 401")
            assert b"connection: close" not in head.lower()
            await reader.readuntil(b"}")
