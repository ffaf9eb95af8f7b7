"""Connections: closed with their client, whatever it did before it left."""

from __future__ import annotations

import asyncio
import json

import psutil
import pytest

from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ORDINARY_KEY, Service

BODY = json.dumps({"model": "llama3", "prompt": "Hi"}).encode()
STRAY = {
    "nothing": b"",
    "a line end": b"\r\n",
    "another request": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "a lot": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 500,
}


def request_for(route: str) -> bytes:
    """A request to one of the inference routes, as bytes."""
    head = (
        f"POST /api/llm/{route} HTTP/1.1\r\nHost: x\r\nX-API-Key: {ORDINARY_KEY}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    return head.encode() + BODY


async def connect(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection to the service."""
    host, port = service.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


@pytest.mark.usefixtures("uninterrupted")
@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY)
@pytest.mark.parametrize("mode", [Mode.HANG_BEFORE_HEADERS, Mode.HANG_MID_STREAM], ids=lambda mode: mode.name)
@pytest.mark.parametrize("route", ["generate", "stream"])
async def test_a_client_that_leaves_is_noticed(
    service: Service, fake: FakeOllama, route: str, mode: Mode, stray: bytes
) -> None:
    """The upstream is closed within 100 ms of the client, even when bytes followed its request.

    A machine that does something else for so long does it seldom ten times.
    """
    took = [await _until_upstream_is_closed(service, fake, route, mode, stray)]
    while min(took) >= 0.1 and len(took) < 10:
        took.append(await _until_upstream_is_closed(service, fake, route, mode, stray))
    assert min(took) < 0.1, took


async def _until_upstream_is_closed(service: Service, fake: FakeOllama, route: str, mode: Mode, stray: bytes) -> float:
    """The seconds from a client's leaving on."""
    fake.mode = mode
    fake.requests.clear()
    reader, writer = await connect(service)
    writer.write(request_for(route) + stray)
    await fake.wait_for_request("/api/generate")
    if route == "stream" and mode is Mode.HANG_MID_STREAM:
        await reader.readuntil(b'"done":false')
    left = asyncio.get_running_loop().time()
    writer.close()
    gone = await fake.wait_for_disconnect()
    assert gone.disconnected_at is not None
    await asyncio.wait_for(_settled(service), 10)
    return gone.disconnected_at - left


async def _settled(service: Service) -> None:
    while service.admission.running or service.upstream.active:
        await asyncio.sleep(0.005)


async def test_requests_in_a_row_are_answered_in_order(service: Service) -> None:
    """Pipelined requests, whole or in pieces, get their answers one after the other."""
    reader, writer = await connect(service)
    requests = request_for("generate") + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + request_for("generate")
    for start in range(0, len(requests), 7):
        writer.write(requests[start : start + 7])
        await asyncio.sleep(0)
    for marker in (b'"done":true', b'"status":"ok"', b'"done":true'):
        await asyncio.wait_for(reader.readuntil(marker), 5)
    writer.close()
    await writer.wait_closed()


async def test_closed_connections_leave_nothing(service: Service) -> None:
    """A client that asks once and closes its kept-alive connection gives its descriptor back at once."""
    await service.client.get("/health")
    process = psutil.Process()
    files, tasks = process.num_fds(), len(asyncio.all_tasks())
    for number in range(100):
        reader, writer = await connect(service)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" if number % 2 else request_for("stream"))
        await reader.readuntil(b"\r\n\r\n" if number % 3 else b"}")
        writer.close()
        await writer.wait_closed()
    # The pools to the database and the backend may have grown by a few meanwhile; one left of each would be a hundred.
    async with asyncio.timeout(20):
        while process.num_fds() > files + 20 or len(asyncio.all_tasks()) > tasks + 10:
            await asyncio.sleep(0.01)
