"""The fake of `chaos` counts only what somebody still waits for."""

import asyncio
import json

import pytest

from chaos.backends import ChaosOllama


@pytest.mark.parametrize("stays", [True, False])
async def test_who_has_left_before_it_begins_is_not_counted(stays: bool) -> None:
    """A service may give the slot of one who has left to the next."""
    body = json.dumps({"model": "llama3", "prompt": "Hi"}).encode()
    head = f"POST /api/generate HTTP/1.1\r\nHost: fake\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with ChaosOllama() as fake:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        while not fake._connections:
            await asyncio.sleep(0.001)
        writer.write(head + body)
        if stays:
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        while fake._connections:
            await asyncio.sleep(0.001)
    assert fake.max_active == (1 if stays else 0)
