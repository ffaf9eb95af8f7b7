"""A request's body is let go with its answer, however that comes about: no garbage collector is needed for it."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from fnmatch import fnmatch
from typing import Any

import pytest

from tests.conftest import ServeFactory
from tests.e2e.raw_client import RawClient
from tests.e2e.test_resources import eventually
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ORDINARY_KEY, Service

BODY_BYTES = 900_000  # aiohttp warns of bodies above 1 MiB
COUNT = 4
FILLING = "A" * BODY_BYTES
DROP_IN, OWN = "/api/chat", "/api/llm/chat"
every_route = pytest.mark.parametrize(
    "path", [DROP_IN, pytest.param(OWN, marks=pytest.mark.long), "/v1/chat/completions"]
)
every_way = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
every_vanishing = pytest.mark.parametrize(
    "vanish", [RawClient.leave, pytest.param(RawClient.reset, marks=pytest.mark.long)]
)


def asking(path: str, body: bytes, *more: str) -> bytes:
    """A request with a body, the only one of its connection; without `more` headers its length is told."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"X-API-Key: {ORDINARY_KEY}", "Content-Type: application/json"]
    lines += ["Connection: close", *(more or [f"Content-Length: {len(body)}"]), "", ""]
    return "\r\n".join(lines).encode() + body


def large(**more: Any) -> bytes:
    """The body of a chat, with nearly a megabyte of something."""
    messages = [{"role": "user", "content": "Hi"}]
    return json.dumps({"model": "llama3", "messages": messages, "more": FILLING, "stream": False, **more}).encode()


def bodies_held() -> int:
    """How many objects as large as a body are alive, but for those that a fake or a test has read or made.

    What is there when this is first asked, before any body, does not count.
    """
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    large = (trace for trace in tracemalloc.take_snapshot().traces if trace.size >= BODY_BYTES)
    return sum(not fnmatch(trace.traceback[0].filename, "*/tests/*") for trace in large)


@pytest.fixture
def _uncollected() -> Iterator[None]:
    """No garbage is collected, and what is allocated is known."""
    gc.collect()
    gc.disable()
    yield
    tracemalloc.stop()
    gc.enable()
    gc.collect()


pytestmark = pytest.mark.usefixtures("_uncollected")


async def assert_let_go(service: Service, fake: FakeOllama, before: int) -> None:
    """Nothing runs any more, and of all the bodies none is alive."""
    await fake.wait_until(lambda: fake.active == 0)
    await eventually(lambda: service.admission.running == service.upstream.active == 0)
    fake.requests.clear()
    await eventually(lambda: bodies_held() <= before)


async def assert_answers_let_go(service: Service, fake: FakeOllama, request: bytes, status: int) -> None:
    """Each of several requests is answered with `status`, and then no body is left."""
    before = bodies_held()
    for _ in range(COUNT):
        async with await RawClient.connect(service.url) as client:
            await client.send(request)
            assert await client.head() == status
            await client.at_end()
    await assert_let_go(service, fake, before)


@asynccontextmanager
async def begun(service: Service, fake: FakeOllama, request: bytes) -> AsyncIterator[list[RawClient]]:
    """Several clients whose requests the backend has before it."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await RawClient.connect(service.url)) for _ in range(COUNT)]
        for client in clients:
            await client.send(request)
        await fake.wait_until(lambda: fake.active == COUNT)
        yield clients


@every_route
async def test_a_body_that_is_too_large_is_let_go(serve: ServeFactory, fake: FakeOllama, path: str) -> None:
    """What had arrived of a body over the limit goes with the 413, whether or not its length was told."""
    body = large()
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with serve(fake.url, max_body_bytes=BODY_BYTES) as service:
        await assert_answers_let_go(service, fake, asking(path, body), 413)
        await assert_answers_let_go(service, fake, asking(path, chunks, "Transfer-Encoding: chunked"), 413)


@every_route
async def test_a_refused_body_is_let_go(service: Service, fake: FakeOllama, path: str) -> None:
    """Nor does anything stay of what is refused here."""
    await assert_answers_let_go(service, fake, asking(path, b'{"x":' * 2000 + large()), 400)
    await assert_answers_let_go(service, fake, asking(path, large(model="of:cloud")), 403)


async def test_a_body_that_breaks_the_schema_is_let_go(service: Service, fake: FakeOllama) -> None:
    """Nor of what a schema refuses."""
    await assert_answers_let_go(service, fake, asking(OWN, large(messages=7)), 422)


@every_route
async def test_a_body_is_let_go_when_time_runs_out(serve: ServeFactory, fake: FakeOllama, path: str) -> None:
    """A 504 keeps nothing of what was asked."""
    fake.mode = Mode.HANG_BEFORE_HEADERS
    async with serve(fake.url, first_byte_timeout=0.1) as service:
        await assert_answers_let_go(service, fake, asking(path, large()), 504)


@every_route
async def test_a_body_is_let_go_when_the_backend_vanishes(service: Service, fake: FakeOllama, path: str) -> None:
    """A 502 keeps nothing either."""
    fake.mode = Mode.CLOSE_BEFORE_HEADERS
    await assert_answers_let_go(service, fake, asking(path, large()), 502)


@every_vanishing
@every_way
@every_route
async def test_a_body_is_let_go_when_its_client_leaves(
    service: Service, fake: FakeOllama, path: str, stream: bool, vanish: Callable[[RawClient], Awaitable[None]]
) -> None:
    """A client that leaves before its answer leaves no body behind."""
    fake.mode, before = Mode.HANG_BEFORE_HEADERS, bodies_held()
    async with begun(service, fake, asking(path, large(stream=stream))) as clients:
        for client in clients:
            await vanish(client)
    await assert_let_go(service, fake, before)


@every_route
async def test_half_a_body_is_let_go_when_its_client_leaves(service: Service, fake: FakeOllama, path: str) -> None:
    """What had arrived of a body that never becomes whole goes with its client."""
    request, before = asking(path, large(more=FILLING * 3))[:-BODY_BYTES], bodies_held()
    for _ in range(COUNT):
        async with await RawClient.connect(service.url) as client:
            await client.send(request)
    await assert_let_go(service, fake, before)


@every_route
async def test_a_body_is_let_go_when_the_service_drains(service: Service, fake: FakeOllama, path: str) -> None:
    """What a drain cuts short before its answer, and what it refuses, is let go."""
    fake.mode, before = Mode.HANG_BEFORE_HEADERS, bodies_held()
    async with begun(service, fake, asking(path, large())) as clients:
        await service.admission.drain(0.05)
        for client in clients:
            assert await client.head() == 503
            await client.at_end()
    await assert_let_go(service, fake, before)
    await assert_answers_let_go(service, fake, asking(path, large()), 503)


@every_way
@every_route
async def test_a_body_is_let_go_when_all_is_well(service: Service, fake: FakeOllama, path: str, stream: bool) -> None:
    """Of requests that are answered, whole or streamed, nothing stays."""
    await assert_answers_let_go(service, fake, asking(path, large(stream=stream)), 200)


@every_route
async def test_a_body_that_the_backend_refuses_is_let_go(service: Service, fake: FakeOllama, path: str) -> None:
    """Nor of what the backend refuses."""
    fake.mode = Mode.NOT_FOUND_MODEL
    await assert_answers_let_go(service, fake, asking(path, large()), 404)


@every_route
async def test_a_body_is_let_go_when_nobody_listens(service: Service, fake: FakeOllama, path: str) -> None:
    """Nor of what reaches no backend."""
    await fake.stop()
    await assert_answers_let_go(service, fake, asking(path, large()), 502)


@every_way
@every_route
async def test_a_body_is_let_go_when_an_answer_breaks_off(
    serve: ServeFactory, fake: FakeOllama, path: str, stream: bool
) -> None:
    """Nor of what the backend began to answer, when it vanishes or falls silent then."""
    for fake.mode, status, clock in ((Mode.CUT_MID_STREAM, 502, 60.0), (Mode.HANG_MID_STREAM, 504, 0.1)):
        async with serve(fake.url, first_byte_timeout=60.0 if stream else clock, idle_timeout=clock) as service:
            await assert_answers_let_go(service, fake, asking(path, large(stream=stream)), 200 if stream else status)


@every_vanishing
@every_way
@every_route
async def test_a_body_is_let_go_when_its_client_leaves_mid_answer(
    service: Service, fake: FakeOllama, path: str, stream: bool, vanish: Callable[[RawClient], Awaitable[None]]
) -> None:
    """Nor of a client that leaves within its answer."""
    fake.mode, before = Mode.HANG_MID_STREAM, bodies_held()
    async with begun(service, fake, asking(path, large(stream=stream))) as clients:
        for client in clients:
            await vanish(client)
    await assert_let_go(service, fake, before)


@every_route
async def test_a_body_is_let_go_when_a_drain_ends_its_answer(service: Service, fake: FakeOllama, path: str) -> None:
    """Nor of a stream that a drain cuts short."""
    fake.mode, before = Mode.HANG_MID_STREAM, bodies_held()
    async with begun(service, fake, asking(path, large(stream=True))) as clients:
        for client in clients:
            assert await client.head() == 200
        await service.admission.drain(0.05)
        for client in clients:
            await client.at_end()
    await assert_let_go(service, fake, before)
