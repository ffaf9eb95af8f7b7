"""Drop-in routes when the client leaves or the service stops, and what is counted of each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import ServeFactory
from tests.e2e.gates import AfterFirstLine
from tests.e2e.raw_client import RawClient
from tests.e2e.test_resources import eventually
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import ADMIN_KEY, Service
from tests.web.dialects.drop_in_families import FAMILIES, PROMPT_WORDS, Family, begin, directly, masked
from tests.web.test_logs import requests_in

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
ADMIN = {"X-API-Key": ADMIN_KEY}
PROGRESS = {
    "/api/pull": {"model": "phi3"},
    "/api/push": {"model": "llama3"},
    "/api/create": {"model": "mine", "from": "llama3"},
}
every_progress = pytest.mark.parametrize("path", PROGRESS)


async def settled(service: Service) -> None:
    """Wait until nothing is held."""
    await eventually(lambda: service.admission.running == service.upstream.active == 0)


async def last_entry(logs: list[Any]) -> Any:
    """The log line of the one request, which may come a moment behind its answer."""
    await eventually(lambda: bool(requests_in(logs)))
    (entry,) = requests_in(logs)
    return entry


@pytest.mark.parametrize("vanish", [RawClient.leave, RawClient.reset])
@pytest.mark.parametrize("phase", ["before headers", "mid-stream", "whole", "whole, half read"])
@every_family
async def test_a_client_that_leaves_is_noticed(
    service: Service, fake: FakeOllama, family: Family, phase: str, vanish: Callable[[RawClient], Awaitable[None]]
) -> None:
    """Whenever it leaves, and however, the backend is left within a second, and no slot stays taken."""
    if phase == "mid-stream":
        fake.gate = AfterFirstLine()
    else:
        fake.mode = Mode.HANG_MID_STREAM if phase == "whole, half read" else Mode.HANG_BEFORE_HEADERS
    client = await begin(service, family, family.whole if "whole" in phase else family.streamed)
    await fake.wait_for_request(family.path)
    if phase == "mid-stream":
        assert await client.head() == 200
        assert await client.chunk()
    await vanish(client)
    await fake.wait_for_disconnect(1)
    await settled(service)


@pytest.mark.parametrize("asking", ["whole", "streamed", "unasked"])
@every_family
async def test_usage_is_what_the_backend_tells(service: Service, fake: FakeOllama, family: Family, asking: str) -> None:
    """Its counts stand in the log, of whole answers and streams alike, whether or not the client asked for them."""
    with capture_logs() as logs:
        assert (await service.client.post(family.path, json=getattr(family, asking))).status_code == 200
        entry = await last_entry(logs)
    assert (entry["prompt_tokens"], entry["completion_tokens"]) == (PROMPT_WORDS, len(DEFAULT_WORDS))
    assert (entry["route"], entry["model"], entry["outcome"]) == (family.path, "llama3", "done")
    assert "tokens_estimated" not in entry


@pytest.mark.parametrize("asking", ["streamed", "unasked"])
@every_family
async def test_usage_of_an_aborted_stream_is_estimated(
    service: Service, fake: FakeOllama, family: Family, asking: str
) -> None:
    """Of a stream whose client leaves the frames and the letters that it got are counted, and the line says so."""
    fake.hold()
    got = b""
    with capture_logs() as logs:
        client = await begin(service, family, getattr(family, asking))
        for number in range(4):
            fake.release(1)
            if not number:
                assert await client.head() == 200
            got += await client.chunk()
        await client.leave()
        entry = await last_entry(logs)
    words = [word for word in DEFAULT_WORDS if f'"{word}"'.encode() in got]
    tokens = max(len(words), -(-len("".join(words)) // 4))
    assert (entry["outcome"], entry["tokens_estimated"], entry["completion_tokens"]) == ("client_gone", True, tokens)
    assert entry["prompt_tokens"] > 0


@every_family
async def test_usage_of_a_broken_stream_is_estimated(service: Service, fake: FakeOllama, family: Family) -> None:
    """Of a stream that breaks off the whole frames are counted."""
    frames = len(await directly(fake, family, family.streamed))
    fake.mode = Mode.CUT_MID_STREAM
    with capture_logs() as logs:
        await service.client.post(family.path, json=family.streamed)
        entry = await last_entry(logs)
    assert (entry["outcome"], entry["error"], entry["tokens_estimated"]) == ("error", "backend_vanished", True)
    assert 0 < entry["completion_tokens"] < frames


@every_family
async def test_a_refusal_has_no_usage(service: Service, fake: FakeOllama, family: Family) -> None:
    """What the backend refuses cost nothing, and is logged as refused."""
    fake.mode = Mode.NOT_FOUND_MODEL
    with capture_logs() as logs:
        assert (await service.client.post(family.path, json=family.streamed)).status_code == 404
        entry = await last_entry(logs)
    assert entry["outcome"] == "refused"
    assert "completion_tokens" not in entry


@every_family
async def test_a_drain_ends_a_stream_with_an_error(service: Service, fake: FakeOllama, family: Family) -> None:
    """A stream that outlasts the drain gets one last frame in its family's shape; what comes then is a 503."""
    fake.gate = AfterFirstLine()
    async with await begin(service, family, family.streamed) as client:
        assert await client.head() == 200
        stream = await client.chunk()
        await service.admission.drain(0.05)
        while chunk := await asyncio.wait_for(client.chunk(), 20):
            stream += chunk
    family.last(stream)
    await settled(service)
    refused = await service.client.post(family.path, json=family.streamed)
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/json")
    family.assert_error(refused.json())


def progress_of(path: str) -> Family:
    """Progress as a stream of lines."""
    return Family(path, PROGRESS[path], events=False)


async def begin_progress(service: Service, path: str) -> RawClient:
    """The administrator's client that has asked for progress."""
    client = await RawClient.connect(service.url)
    await client.request("POST", path, PROGRESS[path], X_API_Key=ADMIN_KEY)
    return client


@every_progress
async def test_progress_is_relayed_as_it_comes(service: Service, fake: FakeOllama, path: str) -> None:
    """Each line of pull, push and create arrives before the next leaves, as the backend wrote it."""
    expected = await directly(fake, progress_of(path), PROGRESS[path])
    fake.hold()
    async with await begin_progress(service, path) as client:
        for number, line in enumerate(expected):
            fake.release(1)
            if not number:
                assert await client.head() == 200
            assert masked(await asyncio.wait_for(client.chunk(), 20)) == masked(line)
        assert await client.chunk() == b""
    assert expected[-1] == b'{"status":"success"}\n'


@every_progress
async def test_progress_that_breaks_off_says_so(service: Service, fake: FakeOllama, path: str) -> None:
    """Progress without its last line, cut or just ended, gets a line with an error."""
    for fake.mode in (Mode.CUT_MID_STREAM, Mode.NO_DONE, Mode.ERROR_MID_STREAM):
        answer = await service.client.post(path, json=PROGRESS[path], headers=ADMIN)
        assert answer.status_code == 200
        progress_of(path).last(answer.content)


@every_progress
async def test_progress_may_pause(serve: ServeFactory, fake: FakeOllama, path: str) -> None:
    """No clock of generations runs: a download may be silent for longer than either of them."""
    fake.hold()
    clocks = {"idle_timeout": 0.1, "first_byte_timeout": 0.1}
    async with serve(fake.url, **clocks) as service, await begin_progress(service, path) as client:
        await asyncio.sleep(0.3)
        fake.release(1)
        assert await client.head() == 200
        await asyncio.sleep(0.3)
        fake.release()
        assert json.loads((await client.lines())[-1]) == {"status": "success"}


@every_progress
async def test_progress_ends_with_its_client_or_with_the_service(service: Service, fake: FakeOllama, path: str) -> None:
    """A client that leaves ends it at the backend too; a drain ends it with an error line."""
    fake.gate = AfterFirstLine()
    async with await begin_progress(service, path) as client:
        assert await client.head() == 200
    await fake.wait_for_disconnect(1)
    await settled(service)
    async with await begin_progress(service, path) as client:
        assert await client.head() == 200
        await service.admission.drain(0.05)
        lines = await asyncio.wait_for(client.lines(), 20)
    assert json.loads(lines[-1])["code"] == "draining"
    await fake.wait_for_disconnect(1)
