"""A client that leaves a process of its own is felt at the backend within a tenth of a second, in every phase.

In the test's own loop, phase by phase: tests/web/llm/test_leaving.py.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import httpx
import psutil
import pytest

from tests.e2e.raw_client import RawClient
from tests.e2e.server_process import KEY, ServerProcess, serving_process
from tests.e2e.test_drain import ended_well
from tests.fakes.http11 import Connection, Request, head_bytes
from tests.fakes.ollama import FakeOllama, Mode, Recorded
from tests.fakes.ollama_routes import INFERENCE, route_of

BOUND: Final = 0.1
# A busy machine may be late by itself.
TRIES: Final = 10
SLOTS: Final = TRIES
PATIENCE: Final = 20
PATH: Final = "/api/generate"


@dataclass(kw_only=True, eq=False)
class Reader(FakeOllama):
    """An Ollama that, while it `reads`, sends the head of its answer and goes on to read the prompt."""

    reads: bool = False

    async def answer(self, connection: Connection, request: Request) -> None:
        """Say that it is at work, and nothing more."""
        if self.reads and route_of(request.path)[0] in INFERENCE:
            head = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
            await connection.send_part(head_bytes(200, head))
            await asyncio.Event().wait()
        await super().answer(connection, request)

    def record(self, prompt: str) -> Recorded | None:
        """The request with that prompt, if it has come."""
        asked = (each for each in self.requests if each.path == PATH)
        return next((each for each in asked if each.json()["prompt"] == prompt), None)


class Scene:
    """The service, the backend that it asks, and clients that leave."""

    def __init__(self, service: ServerProcess, fake: Reader, client: httpx.AsyncClient) -> None:
        self.service, self.fake, self._client = service, fake, client

    async def ask(self, prompt: str, *, stream: bool = True) -> RawClient:
        """A client that has asked, and waits."""
        client = await RawClient.connect(self.service.url)
        body = {"model": "llama3", "prompt": prompt, "stream": stream}
        await client.request("POST", PATH, body, X_API_Key=KEY)
        return client

    async def came(self, prompt: str) -> Recorded:
        """What the backend was asked, once it was."""
        await self.fake.wait_until(lambda: self.fake.record(prompt) is not None)
        found = self.fake.record(prompt)
        assert found is not None
        return found

    async def felt(self, client: RawClient, record: Recorded) -> float:
        """The client leaves: seconds until the backend sees its connection closed."""
        at = monotonic()
        await client.leave()
        await self.fake.wait_until(lambda: record.disconnected_at is not None)
        assert record.disconnected_at is not None
        return record.disconnected_at - at

    async def queue(self) -> Mapping[str, int]:
        """How many wait, and how many have slots."""
        seen = (await self._client.get("/api/llm/queue")).json()
        return {name: seen[name] for name in ("waiting", "running")}

    async def until(self, **wanted: int) -> None:
        """Until so many do."""
        async with asyncio.timeout(PATIENCE):
            while await self.queue() != wanted:
                await asyncio.sleep(0.002)

    async def empty(self) -> None:
        """Until nothing of any generation is left, in the queue, at slots, in the list, at the backend."""
        await self.until(waiting=0, running=0)
        async with asyncio.timeout(PATIENCE):
            while (await self._client.get("/api/llm/generations")).json()["count"]:
                await asyncio.sleep(0.002)
        await self.fake.wait_until(lambda: self.fake.active == 0)

    def processes(self) -> Sequence[psutil.Process]:
        """Those of the service."""
        parent = psutil.Process(self.service.pid)
        return [parent, *parent.children()]


def is_connecting(process: psutil.Process) -> bool:
    """Whether it has a connection that has not come about."""
    return any(each.status == psutil.CONN_SYN_SENT for each in process.net_connections("tcp4"))


async def queued(scene: Scene, prompt: str) -> float:
    """All slots are taken, by others; the backend never hears of who leaves."""
    scene.fake.mode = Mode.HANG_BEFORE_HEADERS
    others = [await scene.ask(f"{prompt}, other {number}") for number in range(SLOTS)]
    await scene.until(waiting=0, running=SLOTS)
    client = await scene.ask(prompt)
    await scene.until(waiting=1, running=SLOTS)
    at = monotonic()
    await client.leave()
    await scene.until(waiting=0, running=SLOTS)
    late = monotonic() - at
    for other in others:
        await other.leave()
    await scene.empty()
    assert scene.fake.record(prompt) is None
    return late


@contextmanager
def full(port: int) -> Iterator[None]:
    """A host at that port that takes no connection, for its line is full."""
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.bind(("127.0.0.1", port))
        line.listen(0)
        taken = [socket.socket() for _ in range(3)]
        for each in taken:
            each.setblocking(False)
            each.connect_ex(line.getsockname())
        try:
            yield
        finally:
            for each in taken:
                each.close()


async def connecting(scene: Scene, prompt: str) -> float:
    """The backend's host says nothing; what it would see is seen at the service's own socket."""
    await scene.fake.stop()
    with full(scene.fake.port):
        client = await scene.ask(prompt)
        async with asyncio.timeout(PATIENCE):
            while not (asking := [each for each in scene.processes() if is_connecting(each)]):
                await asyncio.sleep(0.002)
            at = monotonic()
            await client.leave()
            while any(map(is_connecting, asking)):
                await asyncio.sleep(0.002)
        late = monotonic() - at
    await scene.fake.start()
    return late


async def loading(scene: Scene, prompt: str) -> float:
    """The backend has the request, and has said nothing."""
    scene.fake.mode = Mode.HANG_BEFORE_HEADERS
    client = await scene.ask(prompt)
    return await scene.felt(client, await scene.came(prompt))


async def reading(scene: Scene, prompt: str) -> float:
    """It has sent the head of its answer."""
    scene.fake.reads = True
    client = await scene.ask(prompt)
    record = await scene.came(prompt)
    await asyncio.sleep(0.05)  # nobody can tell from outside when the head has come to the service
    scene.fake.reads = False
    return await scene.felt(client, record)


async def streaming(scene: Scene, prompt: str) -> float:
    """The client has read the first words."""
    scene.fake.mode = Mode.HANG_MID_STREAM
    client = await scene.ask(prompt)
    assert await client.head() == 200
    await client.chunk()
    return await scene.felt(client, await scene.came(prompt))


async def not_streamed(scene: Scene, prompt: str) -> float:
    """The whole answer is waited for."""
    scene.fake.mode = Mode.HANG_BEFORE_HEADERS
    client = await scene.ask(prompt, stream=False)
    return await scene.felt(client, await scene.came(prompt))


async def draining(scene: Scene) -> list[float]:
    """The service was told to stop, amid answers, and gives them their time."""
    scene.fake.mode = Mode.HANG_MID_STREAM
    prompts = [f"draining {number}" for number in range(TRIES)]
    clients = [await scene.ask(prompt) for prompt in prompts]
    for client in clients:
        assert await client.head() == 200
        await client.chunk()
    scene.service.signal(signal.SIGTERM)
    await scene.service.printed('"draining"')
    pairs = zip(clients, prompts, strict=True)
    return [await scene.felt(client, await scene.came(prompt)) for client, prompt in pairs]


PHASES: Final[Mapping[str, Callable[[Scene, str], Awaitable[float]]]] = {
    "queued": queued,
    "connecting": connecting,
    "loading": loading,
    "reading the prompt": reading,
    "streaming": streaming,
    "not streamed": not_streamed,
}


async def in_turn(scene: Scene, phase: str) -> list[float]:
    """How late each of some clients was felt, until one was in time; nothing of any is left."""
    late: list[float] = []
    while len(late) < TRIES and not any(each <= BOUND for each in late):
        late.append(await PHASES[phase](scene, f"{phase} {len(late)}"))
        await scene.empty()
    return late


@pytest.mark.parametrize(
    ("loop", "workers"),
    [
        pytest.param("uvloop", "1", id="uvloop-one_process", marks=pytest.mark.long),
        pytest.param("uvloop", "2", id="uvloop-two_workers"),
        pytest.param("asyncio", "1", id="asyncio-one_process"),
        pytest.param("asyncio", "2", id="asyncio-two_workers", marks=pytest.mark.long),
    ],
)
async def test_the_backend_is_let_go_of_in_every_phase(tmp_path: Path, loop: str, workers: str) -> None:
    """Its connection is closed, and nothing of the generation is left; in the queue it never had one."""
    settings: dict[str, Any] = {"EVENT_LOOP": loop, "WORKERS": workers, "MAX_CONCURRENCY": str(SLOTS)}
    async with AsyncExitStack() as scope:
        fake = await scope.enter_async_context(Reader())
        service = await scope.enter_async_context(serving_process(tmp_path, fake.url, CONNECT_TIMEOUT="60", **settings))
        scene = Scene(service, fake, await scope.enter_async_context(service.client()))
        late = {phase: await in_turn(scene, phase) for phase in PHASES}
        late["draining"] = await draining(scene)
        assert await ended_well(service)
    assert all(min(each) <= BOUND for each in late.values()), late
