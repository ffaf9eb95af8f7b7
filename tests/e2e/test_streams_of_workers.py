"""Streams that are read where they were not begun: at another worker, at another replica, or when theirs is gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import httpx
import pytest

from tests.e2e.server_process import ServerProcess, serving_process
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.fakes.redis_server import RedisServer

PROMPT: Final = {"model": "llama3", "prompt": "Hi"}
LINES: Final = {"Accept": "application/x-ndjson"}
# What a reader is promised, and some more for a machine that has others to do.
SOON: Final = 10.0 + 5.0


@dataclass
class Two:
    """A service in two processes, or two services: where streams are begun, and where they are read."""

    begins: ServerProcess
    reads: ServerProcess
    # Ends whatever may make an answer, at once.
    killed: Any

    async def begin(self, **headers: str) -> dict[str, Any]:
        """What POST answers."""
        async with self.begins.client(**headers) as client:
            answer = await client.post("/api/llm/streams", json=PROMPT)
        assert answer.status_code == 201, answer.text
        begun: dict[str, Any] = answer.json()
        return begun

    async def read(self, url: str, after: int = 0) -> list[dict[str, Any]]:
        """The events behind a number, to the end."""
        async with self.reads.client(**LINES) as client:
            answer = await client.get(url, params={"after": after})
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers_of(parent: ServerProcess) -> list[int]:
    """Its workers: what has no other name of its own."""
    return [pid for pid in children(parent.pid) if b"mlops_backend" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture(params=["workers", "replicas"])
async def two(request: pytest.FixtureRequest, fake: FakeOllama, tmp_path: Path) -> AsyncIterator[Two]:
    """Two workers whose parent keeps what they make, and two services that have Redis in common."""
    async with AsyncExitStack() as stack:
        if request.param == "workers":
            service = await stack.enter_async_context(serving_process(tmp_path, fake.url, WORKERS="2"))

            def end_workers() -> None:
                for pid in workers_of(service):
                    os.kill(pid, signal.SIGKILL)

            yield Two(service, service, end_workers)
            return
        redis = stack.enter_context(RedisServer())
        both = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            settings = {"REDIS_URL": redis.url, "WORKERS": "1"}
            both.append(await stack.enter_async_context(serving_process(tmp_path / name, fake.url, **settings)))
        first, second = both
        yield Two(first, second, lambda: first.signal(signal.SIGKILL))


def said(events: list[dict[str, Any]]) -> str:
    """Their text."""
    return "".join(event.get("response", "") for event in events)


async def test_any_process_goes_on_with_it(two: Two, fake: FakeOllama) -> None:
    """While it is made, whichever is asked; and after its process was killed, once it had ended."""
    fake.hold()
    begun = await two.begin()
    reading = [asyncio.create_task(two.read(begun["url"])) for _ in range(6)]
    fake.release(3)
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in reading)
    fake.release()
    for events in await asyncio.gather(*reading):
        assert (said(events), events[-1]["done"]) == ("".join(DEFAULT_WORDS), True)
    two.killed()
    await until_it_answers(two.reads)
    assert said(await two.read(begun["url"], after=2)) == "".join(DEFAULT_WORDS[2:])
    assert sum(request.path == "/api/generate" for request in fake.requests) == 1


@pytest.mark.parametrize("two", [pytest.param("workers", marks=pytest.mark.long), "replicas"], indirect=True)
async def test_its_process_dies_amid_the_answer(two: Two, fake: FakeOllama) -> None:
    """Readers get an error soon, and what had come stays readable; nobody waits for more."""
    fake.hold()
    begun = await two.begin()
    fake.release(2)
    async with two.reads.client(**LINES) as client, client.stream("GET", begun["url"]) as answer:
        lines = answer.aiter_lines()
        for word in DEFAULT_WORDS[:2]:
            assert json.loads(await anext(lines))["response"] == word
        two.killed()
        at = monotonic()
        try:
            told = json.loads(await anext(lines))
        except httpx.TransportError:  # the worker that it was read from has died, too
            await until_it_answers(two.reads)
            again = await client.get(begun["url"], params={"after": 2})
            assert again.status_code == 502
            told = again.json()
        assert told["code"] == "stream_broken"
        assert monotonic() - at < SOON
    events = await two.read(begun["url"])
    assert said(events) == "".join(DEFAULT_WORDS[:2])
    assert events[-1]["code"] == "stream_broken"


@pytest.mark.parametrize("two", ["workers", pytest.param("replicas", marks=pytest.mark.long)], indirect=True)
async def test_the_same_request_again_at_another_process(two: Two, fake: FakeOllama) -> None:
    """One generation, wherever it is asked for."""
    named = {"Idempotency-Key": "one-call"}
    answers = []
    for service in (two.begins, two.reads, two.begins, two.reads):
        async with service.client(**named) as client:
            answers.append(await client.post("/v1/completions", json={"model": "llama3", "prompt": "Hi"}))
    assert len({answer.content for answer in answers}) == 1
    assert ["idempotent-replayed" in answer.headers for answer in answers] == [False, True, True, True]
    assert sum(request.path == "/v1/completions" for request in fake.requests) == 1


async def until_it_answers(service: ServerProcess) -> None:
    """Wait until it serves again."""
    async with asyncio.timeout(60), service.client() as client:
        while True:
            try:
                if (await client.get("/health")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
