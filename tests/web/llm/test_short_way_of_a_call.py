"""A call that is not streamed: what need not wait needs no task, and a request leaves in one piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import TypeAdapter
from pydantic_core import SchemaValidator

from mlops_backend.schemas.llm import GenerateRequest
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ORDINARY_KEY, Service

BODY = json.dumps({"model": "llama3", "messages": [{"role": "user", "content": "Hi"}], "stream": False}).encode()
WHOLE = b'{"model":"llama3","message":{"role":"assistant","content":"Hello"},"done":true}'
_TESTS = str(Path(__file__).parents[2])


@asynccontextmanager
async def tasks_made() -> AsyncIterator[list[str]]:
    """The coroutines that become tasks meanwhile, but for those of the tests' own servers."""
    loop, made = asyncio.get_running_loop(), list[str]()

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        if not work.cr_code.co_filename.startswith(_TESTS):
            made.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, **more)

    loop.set_task_factory(factory)
    try:
        yield made
    finally:
        loop.set_task_factory(None)


async def call(service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int = 0) -> bytes:
    """One call on a kept connection, its body in one piece with its head or, `cut` bytes of it, a moment later."""
    head = f"POST /api/chat HTTP/1.1\r\nHost: x\r\nX-API-Key: {ORDINARY_KEY}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    writer.write(head.encode() + BODY[: len(BODY) - cut])
    if cut:
        await asyncio.sleep(0.05)
        writer.write(BODY[-cut:])
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in answer.lower().splitlines() if line.startswith(b"content-length"))
    return answer + await reader.readexactly(int(length.split(b":")[1]))


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the service."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    yield reader, writer
    writer.close()


# What looks every second whether another service has changed a key.
_OF_THE_POLL: Final = "AsyncConnection.close"


async def test_a_call_makes_one_task(serve: ServeFactory, fake: FakeOllama) -> None:
    """The connection's, in which it is answered; the body is here, the backend's connection is kept, nobody leaves."""
    async with serve(fake.url) as service, connected(service) as (reader, writer):
        first = await call(service, reader, writer)
        async with tasks_made() as made:
            second = await call(service, reader, writer)
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 200")
    assert [name for name in made if name != _OF_THE_POLL] == ["_answer"]


async def test_a_body_that_comes_late_is_waited_for(serve: ServeFactory, fake: FakeOllama) -> None:
    """As Quart does, by a task that receives."""
    async with serve(fake.url) as service, connected(service) as (reader, writer):
        for cut in (1, 5, len(BODY) - 1, 0, 7):
            assert (await call(service, reader, writer, cut)).startswith(b"HTTP/1.1 200"), cut
    assert [request.body for request in fake.requests if request.path == "/api/chat"] == [BODY] * 5


async def test_a_request_leaves_as_it_always_did(serve: ServeFactory) -> None:
    """Whole, in one write: the address first, then what is this service's own, what the client sent, and the length."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await reader.read(65536))
            if not seen[-1]:
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(WHOLE) + WHOLE)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, serve(f"http://{address}") as service:
        seen.clear()  # it was looked at when the service began
        told = await service.client.post("/api/chat", content=BODY, headers={"X-Mine": "1"})
    assert told.content == WHOLE
    (request,) = (each for each in seen if b"/api/chat" in each)
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[:6] == [
        "POST /api/chat HTTP/1.1",
        f"Host: {address}",
        "Accept-Encoding: identity",
        "Connection: keep-alive",
        *lines[4:6],
    ]
    assert f"Content-Length: {len(BODY)}" in lines
    assert "X-Mine: 1" in lines
    assert body == BODY


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2])
async def test_an_interim_answer_is_passed_over(serve: ServeFactory, interim: bytes) -> None:
    """What counts is the answer behind it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(interim + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(WHOLE) + WHOLE)
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, serve(url) as service:
        assert (await service.client.post("/api/chat", content=BODY)).content == WHOLE


async def test_the_model_of_a_body_is_made_once(serve: ServeFactory, fake: FakeOllama) -> None:
    """Not when the process starts, and not at each request: quart-schema takes what is there."""
    async with serve(fake.url) as service:
        answer = await service.client.post("/api/llm/generate", json={"prompt": "Hi"})
    assert answer.status_code == 200
    taking = TypeAdapter(GenerateRequest)
    taking.validate_python({"prompt": "Hi"})
    assert taking.validator is GenerateRequest.__pydantic_validator__
    assert isinstance(taking.validator, SchemaValidator)
