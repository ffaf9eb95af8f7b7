"""How the service stops: SIGTERM and SIGINT under load, on every Python that it supports."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.e2e.gates import AfterFirstLine, CountingGate
from tests.e2e.raw_client import RawClient
from tests.e2e.server_process import KEY, ServerProcess, running, serving_process
from tests.fakes.gate import Gate
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode

pytestmark = [pytest.mark.drain, pytest.mark.usefixtures("_any_number_of_workers")]

STREAMS = 50
BODY = {"model": "llama3", "prompt": "Hi"}
CHAT = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]}
SSE = {"Accept": "text/event-stream"}
HUGE = ("x" * 2**20,) * 40
STOPS = [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
# A start-up that never ends: as when the embedded engine loads its model.
HANGING_START = """
import asyncio, sys
import mlops_backend.services.llm.wiring
from mlops_backend.__main__ import main

async def never(*_):
    print("hanging", flush=True)
    await asyncio.Event().wait()

mlops_backend.services.llm.wiring.choose_backends = never
sys.exit(main())
"""


def _tells(line: str) -> bool:
    """Whether it brings an object, or says what the next one is."""
    return line.startswith(("{", "data: ", "event: "))


class Stream:
    """A stream of which the first line has arrived."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._lines: AsyncIterator[str] = response.aiter_lines()

    async def first(self) -> Stream:
        """Wait for the first line."""
        assert self._response.status_code == 200
        while not _tells(await anext(self._lines)):
            pass
        return self

    async def rest(self) -> list[str]:
        """Every line that follows, to the end of the body."""
        return [line async for line in self._lines if _tells(line)]


async def open_stream(
    scope: AsyncExitStack, client: httpx.AsyncClient, path: str = "/api/llm/stream", **headers: str
) -> Stream:
    """Start a generation, and wait for its first line."""
    response = await scope.enter_async_context(client.stream("POST", path, json=BODY, headers=headers))
    return await Stream(response).first()


async def open_capability(scope: AsyncExitStack, client: httpx.AsyncClient) -> Stream:
    """Begin a stream, read it by its address alone, and wait for its first event."""
    begun = await client.post("/api/llm/streams", json=CHAT)
    response = await scope.enter_async_context(client.stream("GET", begun.json()["url"], headers={"X-API-Key": ""}))
    return await Stream(response).first()


def refused_as_draining(answer: httpx.Response) -> bool:
    """Whether an answer is the refusal of a service that stops."""
    known = answer.json() | {"status": answer.status_code, "retry": int(answer.headers["Retry-After"]) > 0}
    return bool(known["status"] == 503 and known["code"] == "draining" and known["retry"] and known["request_id"])


async def ended_well(service: ServerProcess, seconds: float = 10) -> bool:
    """Whether the service ends with status 0, silently, and leaves no process."""
    assert await service.ended(seconds) == 0, service.report()
    assert service.errors == ""
    return not service.left_something()


@pytest.mark.parametrize("stop", STOPS)
async def test_running_streams_finish(fake: FakeOllama, tmp_path: Path, stop: signal.Signals) -> None:
    """While 50 streams run on after a signal the service answers, takes no new generation, then exits with 0."""
    fake.gate = AfterFirstLine()
    async with (
        serving_process(tmp_path, fake.url) as service,
        service.client() as client,
        AsyncExitStack() as scope,
    ):
        opening = [open_stream(scope, client) for _ in range(STREAMS - 2)]
        streams = await asyncio.gather(*opening, open_stream(scope, client, **SSE), open_capability(scope, client))
        assert (await client.get("/health/ready")).status_code == 200
        service.signal(stop)
        await service.printed('"draining"')
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/health")).status_code == 200
        for path, body in (("generate", BODY), ("stream", BODY), ("chat", CHAT), ("embed", {"input": "Hi"})):
            assert refused_as_draining(await client.post(f"/api/llm/{path}", json=body)), path
        assert refused_as_draining(await client.post("/api/llm/streams", json=CHAT))
        assert fake.active == STREAMS
        fake.release()
        for lines in await asyncio.gather(*(stream.rest() for stream in streams)):
            assert len(lines) == len(DEFAULT_WORDS)
            assert json.loads(lines[-1].removeprefix("data: "))["done"] is True
        assert await ended_well(service)


async def test_it_goes_on_for_a_while_where_that_is_set(fake: FakeOllama, tmp_path: Path) -> None:
    """With SHUTDOWN_DELAY it says that it is not ready, takes new connections and generations, and drains then."""
    fake.gate = AfterFirstLine()
    async with serving_process(tmp_path, fake.url, SHUTDOWN_DELAY="2") as service, AsyncExitStack() as scope:
        async with service.client() as client:
            assert (await client.get("/health/ready")).status_code == 200
        service.signal(signal.SIGTERM)
        await service.printed('"leaving"')
        async with service.client() as client:
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["reason"]) == (503, "The service is stopping.")
            assert (await client.get("/health")).status_code == 200
            stream = await open_stream(scope, client)
            await service.printed('"draining"', seconds=10)
            assert refused_as_draining(await client.post("/api/llm/generate", json=BODY))
            fake.release()
            assert json.loads((await stream.rest())[-1])["done"] is True
        assert await ended_well(service)


async def test_a_second_signal_ends_the_delay_too(fake: FakeOllama, tmp_path: Path) -> None:
    """Nobody waits for a minute that was set for a balancer."""
    async with serving_process(tmp_path, fake.url, SHUTDOWN_DELAY="60") as service:
        service.signal(signal.SIGTERM)
        await service.printed('"leaving"')
        await asyncio.sleep(0.4)
        service.signal(signal.SIGTERM)
        assert await service.ended() == 1


@pytest.mark.parametrize("stop", STOPS)
async def test_what_outlasts_the_drain_is_told_so(fake: FakeOllama, tmp_path: Path, stop: signal.Signals) -> None:
    """When DRAIN_TIMEOUT passes each generation ends with an error in its own dialect, and the service with 0."""
    fake.gate = AfterFirstLine()
    async with (
        serving_process(tmp_path, fake.url, DRAIN_TIMEOUT="0.3") as service,
        service.client() as client,
        AsyncExitStack() as scope,
    ):
        ndjson = await asyncio.gather(*(open_stream(scope, client) for _ in range(STREAMS)))
        events = [await open_stream(scope, client, **SSE), await open_capability(scope, client)]
        fake.gate = Gate()
        fake.hold()
        waiting = [asyncio.create_task(client.post(f"/api/llm/{path}", json=BODY)) for path in ("generate", "stream")]
        await fake.wait_until(lambda: fake.active == STREAMS + 4)
        service.signal(stop)
        for lines in await asyncio.gather(*(stream.rest() for stream in ndjson)):
            (line,) = lines
            assert json.loads(line).keys() == {"error", "code", "request_id"}
            assert json.loads(line)["code"] == "draining"
        for stream in events:
            name, data = await stream.rest()
            assert name == "event: error"
            assert json.loads(data.removeprefix("data: "))["code"] == "draining"
        assert all(map(refused_as_draining, await asyncio.gather(*waiting)))
        assert await ended_well(service, 5)
        await fake.wait_until(lambda: fake.active == 0)
        assert service.output.count('"outcome":"drained"') == STREAMS + 4


@pytest.mark.parametrize("stop", STOPS)
async def test_second_signal_ends_at_once(fake: FakeOllama, tmp_path: Path, stop: signal.Signals) -> None:
    """A second signal ends the process at once, whatever runs, with a status that is not 0."""
    fake.gate = AfterFirstLine()
    async with (
        serving_process(tmp_path, fake.url, DRAIN_TIMEOUT="60") as service,
        service.client() as client,
        AsyncExitStack() as scope,
    ):
        stream = await open_stream(scope, client)
        service.signal(stop)
        await service.printed('"draining"')
        service.signal(stop)
        await asyncio.sleep(0.4)
        assert (await client.get("/health")).status_code == 200, "an echo of the first signal is not a second one"
        service.signal(stop)
        assert await service.ended(2) != 0
        async with asyncio.timeout(20):  # the kernel ends a parent's workers
            while service.left_something():
                await asyncio.sleep(0.01)
        with pytest.raises(httpx.TransportError):
            await stream.rest()


async def test_client_that_never_reads_keeps_nothing_alive(fake: FakeOllama, tmp_path: Path) -> None:
    """A client that has stopped reading a huge stream cannot hold up the end."""
    fake.words, fake.gate = HUGE, (gate := CountingGate())
    async with (
        serving_process(tmp_path, fake.url, DRAIN_TIMEOUT="0.3") as service,
        await RawClient.connect(service.url, receive_buffer=4096) as client,
    ):
        await client.request("POST", "/api/llm/stream", BODY, X_API_Key=KEY)
        await gate.stalled()
        stopped = time.monotonic()
        service.signal(signal.SIGTERM)
        assert await ended_well(service)
        assert time.monotonic() - stopped < 6
        await fake.wait_until(lambda: fake.active == 0)


async def test_slow_client_learns_of_the_drain_when_it_reads_on(fake: FakeOllama, tmp_path: Path) -> None:
    """A client that does not read while DRAIN_TIMEOUT passes, and then does, still finds the error at the end."""
    fake.words, fake.gate = HUGE, (gate := CountingGate())
    async with (
        serving_process(tmp_path, fake.url, DRAIN_TIMEOUT="0.1") as service,
        await RawClient.connect(service.url) as slow,
        service.client() as client,
    ):
        await slow.request("POST", "/api/llm/stream", BODY, X_API_Key=KEY)
        await gate.stalled()
        fake.mode = Mode.HANG_BEFORE_HEADERS
        waiting = asyncio.create_task(client.post("/api/llm/generate", json=BODY))
        await fake.wait_until(lambda: fake.active == 2)
        service.signal(signal.SIGTERM)
        assert refused_as_draining(await waiting)
        assert await slow.head() == 200
        assert json.loads((await slow.lines())[-1])["code"] == "draining"
        assert await ended_well(service)


async def test_connections_without_a_generation_do_not_delay_the_end(fake: FakeOllama, tmp_path: Path) -> None:
    """Idle connections, fresh ones, and requests that never arrive in full do not delay the end."""
    head = f"POST /api/llm/generate HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Length: 100\r\n\r\n"
    async with serving_process(tmp_path, fake.url) as service, AsyncExitStack() as scope:
        clients = [await scope.enter_async_context(await RawClient.connect(service.url)) for _ in range(4)]
        idle, _fresh, half_head, half_body = clients
        await idle.request("GET", "/health")
        assert await idle.head() == 200
        await half_head.send(head[:40].encode())
        await half_body.send(f"{head}{{".encode())
        stopped = time.monotonic()
        service.signal(signal.SIGTERM)
        await asyncio.gather(*(client.at_end() for client in clients))
        assert await ended_well(service)
        assert time.monotonic() - stopped < 3


@pytest.mark.parametrize("stop", STOPS)
async def test_signal_during_start_up_ends_it(fake: FakeOllama, tmp_path: Path, stop: signal.Signals) -> None:
    """A signal while the service is still starting ends it, with 0 and no stack trace."""
    settings = {"HOST": "127.0.0.1", "PORT": "0", "API_KEY": KEY, "OLLAMA_BASE_URL": fake.url}
    async with running(tmp_path, [sys.executable, "-c", HANGING_START], settings) as service:
        await service.printed("hanging")
        service.signal(stop)
        assert await ended_well(service, 3)
