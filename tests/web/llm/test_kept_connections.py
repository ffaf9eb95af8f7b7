"""Connections to a backend that are kept: one that was closed just as it was taken costs no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conftest import ServeFactory

LAST = b'{"model":"m","response":"hi","done":true,"prompt_eval_count":1,"eval_count":1}\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(LAST)


class Closing:
    """A backend that answers the first request on each connection, and closes on the second without a word.

    `late` seconds pass before that. `asked` counts the requests that it read.
    """

    def __init__(self, late: float = 0.0, part: bytes = b"") -> None:
        self.late = late
        self.part = part
        self.asked = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            await self._read(reader)
            writer.write(HEAD + LAST)
            await self._read(reader)
            await asyncio.sleep(self.late)
            writer.write(self.part)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        self.asked += 1


@asynccontextmanager
async def running(backend: Closing) -> AsyncIterator[Closing]:
    """The backend on a socket."""
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    async with server:
        backend.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield backend


@pytest.mark.parametrize("route", ["/api/llm/generate", "/api/generate"])
async def test_it_is_asked_again_on_a_new_one(serve: ServeFactory, route: str) -> None:
    """Whatever the method: no byte of an answer came."""
    async with running(Closing()) as backend, serve(backend.url) as service:
        body = {"model": "m", "prompt": "hi", "stream": False}
        for _ in range(4):
            assert (await service.client.post(route, json=body)).status_code == 200
        assert backend.asked == 7


@pytest.mark.parametrize("backend", [Closing(late=1.2), Closing(part=b"HTTP/1.1 200 OK\r\n")], ids=["late", "begun"])
async def test_one_that_had_begun_is_not_asked_twice(serve: ServeFactory, backend: Closing) -> None:
    """It may have worked on it: that is an error, and no second generation."""
    async with running(backend), serve(backend.url) as service:
        body = {"model": "m", "prompt": "hi", "stream": False}
        assert (await service.client.post("/api/llm/generate", json=body)).status_code == 200
        failed = await service.client.post("/api/llm/generate", json=body)
        assert failed.status_code == 502
        assert backend.asked == 2
