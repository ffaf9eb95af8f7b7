"""An upload of gigabytes through the service, which holds next to nothing of it."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from tests.e2e.processes import free_port
from tests.e2e.raw_client import RawClient
from tests.e2e.server_process import KEY, running, serving_process

MEGABYTE = 2**20
GIGABYTE = 2**30
PIECE = bytes(MEGABYTE)
PATH = "/api/blobs/sha256:" + "0" * 64
# As slow as lets 2 GiB through in some seconds, and still much slower than the client.
DELAY = "0.002"


async def send(client: RawClient, process: psutil.Process, size: int, *, chunked: bool) -> int:
    """Send it all; returns the most memory that the process had meanwhile."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    await client.send(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n{framing}\r\n\r\n".encode())
    piece, peak = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE, 0
    for _ in range(size // MEGABYTE):
        await client.send(piece)
        peak = max(peak, process.memory_info().rss)
    await client.send(b"0\r\n\r\n" if chunked else b"")
    return peak


@pytest.mark.parametrize(
    ("size", "chunked"),
    [pytest.param(2 * GIGABYTE, False, marks=pytest.mark.long), (GIGABYTE // 4, True)],
    ids=["sized", "chunked"],
)
async def test_gigabytes_pass_through_little_memory(tmp_path: Path, size: int, chunked: bool) -> None:
    """2 GiB, and half of one in chunks, arrive whole at a slow backend, and cost less than 32 MiB at any moment."""
    port = free_port()
    command = (sys.executable, "-m", "tests.fakes.serve", "--port", str(port))
    options = ("--blob-delay", DELAY, "--blob-any-digest")
    async with running(tmp_path, (*command, *options), {}) as backend:
        await backend.printed("listening")
        async with serving_process(tmp_path, f"http://127.0.0.1:{port}") as service:
            process = psutil.Process(service.pid)
            before = process.memory_info().rss
            async with await RawClient.connect(service.url) as client:
                peak = await send(client, process, size, chunked=chunked)
                assert await client.head() == 201
            async with service.client() as client_of_lists:
                assert (await client_of_lists.head(PATH)).status_code == 200
            assert max(peak, process.memory_info().rss) - before < 32 * MEGABYTE
