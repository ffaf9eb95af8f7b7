"""A client that leaves is felt at the backend within a tenth of a second, wherever its generation is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.fakes.http11 import Connection, Request, head_bytes
from tests.fakes.ollama import FakeOllama, Mode
from tests.fakes.ollama_routes import INFERENCE, route_of
from tests.service import Service

BOUND: Final = 0.1
# A busy machine may be late by itself.
TRIES: Final = 10
PROMPT: Final[dict[str, Any]] = {"model": "llama3", "prompt": "Hi"}
Until = Callable[[Service, FakeOllama], Awaitable[None]]


@dataclass(kw_only=True, eq=False)
class Reading(FakeOllama):
    """An Ollama that has sent the head of its answer, and still reads the prompt."""

    async def answer(self, connection: Connection, request: Request) -> None:
        """Say that it is at work, and nothing more."""
        if route_of(request.path)[0] in INFERENCE:
            head = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
            await connection.send_part(head_bytes(200, head))
            await asyncio.sleep(60)
        else:
            await super().answer(connection, request)


async def asked(service: Service, fake: FakeOllama) -> None:
    """Until the backend has the request."""
    await fake.wait_until(lambda: fake.active > 0)


async def answering(service: Service, fake: FakeOllama) -> None:
    """Until the first words have come to the client, a moment later."""
    await asked(service, fake)
    await asyncio.sleep(0.05)


async def in_a_drain(service: Service, fake: FakeOllama) -> None:
    """Until the process is told to stop, amid an answer."""
    await answering(service, fake)
    service.app.add_background_task(service.admission.drain, 30)
    await asyncio.sleep(0.02)


@asynccontextmanager
async def leaving(service: Service, body: dict[str, Any]) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """A client under way; called, it leaves, and says when."""

    async def ask() -> None:
        async with service.client.stream("POST", "/api/generate", json=body) as answer:
            async for _ in answer.aiter_raw():
                pass

    task = asyncio.create_task(ask())

    async def leave() -> float:
        at = monotonic()
        task.cancel()
        with suppress(asyncio.CancelledError, httpx.TransportError):
            await task
        return at

    try:
        yield leave
    finally:
        await leave()


PHASES: Final[dict[str, tuple[Mode | None, dict[str, Any], Until]]] = {
    "loading": (Mode.HANG_BEFORE_HEADERS, PROMPT, asked),
    "reading the prompt": (None, PROMPT, answering),
    "streaming": (Mode.HANG_MID_STREAM, PROMPT, answering),
    "not streamed": (Mode.HANG_BEFORE_HEADERS, PROMPT | {"stream": False}, asked),
    "draining": (Mode.HANG_MID_STREAM, PROMPT, in_a_drain),
}


@pytest.mark.parametrize("phase", PHASES)
async def test_the_backend_is_let_go_of(serve: ServeFactory, phase: str) -> None:
    """Its connection is closed: it can stop."""
    mode, body, until = PHASES[phase]
    late = []
    for _ in range(TRIES):
        async with (
            Reading() if mode is None else FakeOllama(mode=mode) as fake,
            serve(fake.url) as service,
            leaving(service, body) as leave,
        ):
            await until(service, fake)
            at = await leave()
            gone = await fake.wait_for_disconnect()
        assert gone.disconnected_at is not None
        late.append(gone.disconnected_at - at)
        if late[-1] <= BOUND:
            return
    raise AssertionError(f"it was let go of after {late} s")


async def ends(service: Service, at: float, is_over: Callable[[], Awaitable[bool]]) -> float:
    """Seconds until it is over."""
    async with asyncio.timeout(20):
        while not await is_over():
            await asyncio.sleep(0.002)
    return monotonic() - at


async def test_the_queue_is_let_go_of(serve: ServeFactory, fake: FakeOllama) -> None:
    """The place is the next one's, and the backend is never asked."""
    fake.hold()
    late = []
    async with serve(fake.url, max_concurrency=1) as service:

        async def waiting() -> int:
            return int((await service.client.get("/api/llm/queue")).json()["waiting"])

        async def nobody_waits() -> bool:
            return await waiting() == 0

        running = asyncio.create_task(service.client.post("/api/generate", json=PROMPT))
        await asked(service, fake)
        for _ in range(TRIES):
            async with leaving(service, PROMPT) as leave, asyncio.timeout(20):
                while await waiting() == 0:
                    await asyncio.sleep(0.002)
                late.append(await ends(service, await leave(), nobody_waits))
            if late[-1] <= BOUND:
                break
        fake.release()
        assert (await running).status_code == 200
    assert min(late) <= BOUND, late
    assert sum(request.path == "/api/generate" for request in fake.requests) == 1


async def test_a_connection_that_does_not_come_about_is_let_go_of(serve: ServeFactory) -> None:
    """The host takes no connection: its line is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        taken = [socket.socket() for _ in range(3)]
        for each in taken:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        late = []
        async with serve(f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout=30) as service:

            async def is_over() -> bool:
                return service.admission.running == 0

            for _ in range(TRIES):
                async with leaving(service, PROMPT) as leave, asyncio.timeout(20):
                    while service.admission.running == 0:
                        await asyncio.sleep(0.002)
                    late.append(await ends(service, await leave(), is_over))
                if late[-1] <= BOUND:
                    break
        for each in taken:
            each.close()
    assert min(late) <= BOUND, late
