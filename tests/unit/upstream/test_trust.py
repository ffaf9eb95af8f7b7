"""Backends over TLS: who is trusted, and when that is looked up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import connector

from mlops_backend.errors import BackendFailed
from mlops_backend.services.llm.upstream import trust
from mlops_backend.services.llm.upstream.client import Target, Upstream

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    """The authorities are read once in a process."""
    trust._read.cache_clear()
    yield
    trust._read.cache_clear()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


@asynccontextmanager
async def backend(certificate: tuple[Path, Path] | None = None) -> AsyncIterator[Target]:
    """A backend on a socket, over TLS if it has a certificate."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    async with await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        yield Target(f"http{'s' if context else ''}://127.0.0.1:{port}", {})


async def asked(target: Target, body: bytes | AsyncIterator[bytes] | None = None) -> bytes:
    """What it answers; a body in pieces goes aiohttp's own way."""
    upstream = Upstream(max_connections=1, connect_timeout=5, user_agent="test")
    await upstream.open()
    try:
        async with upstream.stream("POST", target, "/", content=body) as response:
            return (await response.whole()).body
    finally:
        await upstream.aclose()


async def _pieces() -> AsyncIterator[bytes]:
    yield b"piece"


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_a_stranger_is_not_trusted(certificate: tuple[Path, Path], in_pieces: bool) -> None:
    """Whichever way the request goes."""
    async with backend(certificate) as target:
        with pytest.raises(BackendFailed):
            await asked(target, _pieces() if in_pieces else None)


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_who_is_named_is_trusted(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, in_pieces: bool
) -> None:
    """By `SSL_CERT_FILE`, as OpenSSL has it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    async with backend(certificate) as target:
        assert await asked(target, _pieces() if in_pieces else None) == b"ok"


async def test_without_tls_nobody_is_looked_up() -> None:
    """Neither by us nor by aiohttp, which would read all authorities twice."""
    async with backend() as target:
        assert await asked(target) == b"ok"
    assert trust._read.cache_info().currsize == 0
    assert connector._SSL_CONTEXT_VERIFIED is connector._SSL_CONTEXT_UNVERIFIED is trust.AUTHORITIES
    assert not trust.AUTHORITIES.get_ca_certs()
