"""What a generation holds is given back, however it ends; and what it may take is bounded."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ServeFactory
from tests.e2e.gates import AfterFirstLine, CountingGate
from tests.e2e.raw_client import RawClient
from tests.e2e.server_process import KEY, serving_process
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ORDINARY_KEY, Service

MEGABYTE = 2**20
HUGE = ("x" * MEGABYTE,) * 64
BODY = {"model": "llama3", "prompt": "Hi"}
CHAT = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
SSE = "text/event-stream"
AT_ONCE = 20
Asking = Callable[[Service, RawClient], Awaitable[None]]


def posting(path: str, body: dict[str, Any], **headers: str) -> Asking:
    """How to ask by POST."""

    async def ask(service: Service, client: RawClient) -> None:
        await client.request("POST", f"/api/llm/{path}", body, X_API_Key=ORDINARY_KEY, **headers)

    return ask


GENERATE, EMBED = posting("generate", BODY), posting("embed", {"model": "llama3", "input": "Hi"})
STREAM, EVENTS = posting("stream", BODY), posting("stream", BODY, Accept=SSE)
STREAMS = {
    "ndjson": STREAM,
    "sse": EVENTS,
    "chat": posting("chat", CHAT),
}
WHOLE = {"generate": GENERATE, "embed": EMBED}


async def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for what the service does right after the fake has seen its client leave."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def asked(service: Service, fake: FakeOllama, ask: Asking, mode: Mode) -> AsyncIterator[RawClient]:
    """A generation that the fake has begun, and whose first line, if its mode sends one, has arrived."""
    fake.mode = mode
    async with await RawClient.connect(service.url) as client:
        await ask(service, client)
        await fake.wait_for_request()
        if mode is Mode.NORMAL:
            assert await client.head() == 200
            assert await client.chunk()
        yield client


async def begin(service: Service, fake: FakeOllama, number: int) -> RawClient:
    """Start one of three kinds of generation that would never end."""
    client = await RawClient.connect(service.url)
    fake.mode = Mode.NORMAL if number % 3 == 0 else Mode.HANG_BEFORE_HEADERS
    await (GENERATE if number % 3 == 1 else STREAM)(service, client)
    if number % 3 == 0:
        assert await client.head() == 200
        assert await client.chunk()
    return client


@pytest.mark.parametrize("rounds", [15, pytest.param(50, marks=pytest.mark.long)])
async def test_cancelled_generations_leave_nothing(serve: ServeFactory, fake: FakeOllama, rounds: int) -> None:
    """Clients that leave - mid-stream, before headers, in a whole call - leave no slot, descriptor or task.

    So do 1,000 of them, and 300 in each run: a slot or a descriptor of each would be felt as well.
    """
    fake.gate = AfterFirstLine()
    # With as many connections as generations at once, one slot that is lost would be felt.
    async with serve(fake.url, upstream_max_connections=AT_ONCE) as service:
        assert (await service.client.post("/api/llm/embed", json={"input": "Hi"})).status_code == 200
        process = psutil.Process()
        tasks, files, asked_before = len(asyncio.all_tasks()), process.num_fds(), len(fake.requests)
        for number in range(rounds):
            clients = await asyncio.gather(*(begin(service, fake, number) for _ in range(AT_ONCE)))
            await fake.wait_until(lambda: fake.active == AT_ONCE)
            await asyncio.gather(*(client.leave() for client in clients))
            await fake.wait_until(lambda: fake.active == 0)
            await eventually(lambda: service.upstream.active == 0)
        await eventually(lambda: service.admission.running == 0)
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
        await eventually(lambda: process.num_fds() <= files + 2)
        left = [request.disconnected_at is not None for request in fake.requests[asked_before:]]
        assert left == [True] * rounds * AT_ONCE
        fake.mode = Mode.NORMAL
        assert (await service.client.post("/api/llm/embed", json={"input": "Hi"})).status_code == 200


@pytest.mark.usefixtures("uninterrupted")
@pytest.mark.parametrize("vanish", [RawClient.leave, RawClient.reset])
@pytest.mark.parametrize(
    ("ask", "mode"),
    [
        *(pytest.param(ask, Mode.NORMAL, id=f"{name}-mid-stream") for name, ask in STREAMS.items()),
        *(
            pytest.param(ask, Mode.HANG_BEFORE_HEADERS, id=f"{name}-before-headers")
            for name, ask in (STREAMS | WHOLE).items()
        ),
        *(pytest.param(ask, Mode.HANG_MID_STREAM, id=f"{name}-half-read") for name, ask in WHOLE.items()),
    ],
)
async def test_client_that_leaves_closes_upstream_at_once(
    service: Service, fake: FakeOllama, ask: Asking, mode: Mode, vanish: Callable[[RawClient], Awaitable[None]]
) -> None:
    """A client that leaves, politely or by a RST, closes the upstream within 100 ms, in every phase and form."""
    fake.gate = AfterFirstLine()
    delays: list[float] = []
    # The machine may be busy; the service must not be what takes the time.
    while len(delays) < 3 and not any(delay < 0.1 for delay in delays):
        async with asked(service, fake, ask, mode) as client:
            left = time.monotonic()
            await vanish(client)
            request = await fake.wait_for_disconnect()
            assert request.disconnected_at is not None
            delays.append(request.disconnected_at - left)
    assert min(delays) < 0.1
    await eventually(lambda: service.admission.running == service.upstream.active == 0)


async def test_client_that_leaves_the_queue_is_forgotten_at_once(serve: ServeFactory, fake: FakeOllama) -> None:
    """A client that leaves while it waits for a connection to the backend is forgotten, and the backend never asked."""
    async with serve(fake.url, upstream_max_connections=1) as service:
        async with asked(service, fake, GENERATE, Mode.HANG_BEFORE_HEADERS):
            async with await RawClient.connect(service.url) as queued:
                await STREAM(service, queued)
                await eventually(lambda: service.admission.running == 2)
            await eventually(lambda: service.admission.running == 1)
        await fake.wait_for_disconnect()
        await eventually(lambda: service.admission.running == service.upstream.active == 0)
        assert len(fake.requests) == 1


async def test_client_that_does_not_read_holds_the_backend_back(fake: FakeOllama, tmp_path: Path) -> None:
    """When a client stops reading the backend's sending stalls, memory stays, and nothing is lost when it reads on."""
    fake.words, fake.gate = HUGE, (gate := CountingGate())
    async with serving_process(tmp_path, fake.url) as service, await RawClient.connect(service.url) as client:
        process = psutil.Process(service.pid)
        before = process.memory_info().rss
        await client.request("POST", "/api/llm/stream", BODY, X_API_Key=KEY)
        assert await gate.stalled() < len(HUGE) / 2
        assert process.memory_info().rss - before < 16 * MEGABYTE
        assert await client.head() == 200
        lines = await client.lines()
        assert len(lines) == len(HUGE) + 1
        assert json.loads(lines[-1])["done"] is True


async def test_slow_client_does_not_trip_the_idle_clock(serve: ServeFactory, fake: FakeOllama) -> None:
    """The idle clock times the backend, never a client that takes longer than IDLE_TIMEOUT to read."""
    fake.words, fake.gate = HUGE, (gate := CountingGate())
    async with serve(fake.url, idle_timeout=0.7) as service, await RawClient.connect(service.url) as client:
        await STREAM(service, client)
        await gate.stalled()
        await asyncio.sleep(1.5)
        assert await client.head() == 200
        assert json.loads((await client.lines())[-1])["done"] is True


async def last_line(service: Service, ask: Asking) -> bytes:
    """What a stream ends with."""
    async with await RawClient.connect(service.url) as client:
        await ask(service, client)
        assert await client.head() == 200
        return (await client.lines())[-1]


async def test_pauses_are_not_cut_but_silence_is(serve: ServeFactory, fake: FakeOllama) -> None:
    """Pauses below IDLE_TIMEOUT add up to any length; one above it ends the stream with an error, the upstream too."""
    fake.mode, fake.token_delay, fake.words = Mode.SLOW_TOKENS, 0.2, ("word",) * 8
    async with serve(fake.url, idle_timeout=0.5) as service:
        started = time.monotonic()
        endings = await asyncio.gather(*(last_line(service, ask) for ask in STREAMS.values()))
        assert time.monotonic() - started > 3 * 0.5
        assert [b'"done":true' in ending for ending in endings] == [True] * len(STREAMS)
        fake.mode, fake.gate = Mode.NORMAL, AfterFirstLine()
        endings = await asyncio.gather(*(last_line(service, ask) for ask in STREAMS.values()))
        assert [b'"code":"idle_timeout"' in ending for ending in endings] == [True] * len(STREAMS)
        await fake.wait_until(lambda: fake.active == 0)
        await eventually(lambda: service.admission.running == service.upstream.active == 0)
        assert sum(request.disconnected_at is not None for request in fake.requests) == len(STREAMS)


@pytest.mark.parametrize("ask", (STREAMS | WHOLE).values(), ids=STREAMS | WHOLE)
async def test_late_first_byte_is_a_504(serve: ServeFactory, fake: FakeOllama, ask: Asking) -> None:
    """When FIRST_BYTE_TIMEOUT passes the status still tells it, and the upstream is closed."""
    async with serve(fake.url, first_byte_timeout=0.1) as service:
        async with asked(service, fake, ask, Mode.HANG_BEFORE_HEADERS) as client:
            assert await client.head() == 504
        await fake.wait_for_disconnect()
        await eventually(lambda: service.admission.running == service.upstream.active == 0)


@pytest.mark.soak
async def test_five_minutes_with_long_pauses_are_not_cut(fake: FakeOllama, tmp_path: Path) -> None:
    """A stream of more than 5 minutes with pauses of 20 s arrives whole, by the default settings."""
    fake.mode, fake.token_delay, fake.words = Mode.SLOW_TOKENS, 20, ("word",) * 16
    async with serving_process(tmp_path, fake.url) as service, service.client() as client:
        started = time.monotonic()
        async with client.stream("POST", "/api/llm/stream", json=BODY, timeout=30) as response:
            lines = [json.loads(line) async for line in response.aiter_lines()]
        assert time.monotonic() - started > 300
        assert len(lines) == 17
        assert lines[-1]["done"] is True
