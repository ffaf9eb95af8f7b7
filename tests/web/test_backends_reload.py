"""A file of backends that changes under a service at work: no request is dropped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count, cycle
from pathlib import Path

import pytest

from mlops_backend.services.llm.backends import NamedBackends
from mlops_backend.services.llm.backends import named as named_module
from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import ADMIN_KEY, Service, serving, settings_for

GENERATE = {"model": "llama3", "prompt": "Hi", "stream": False}
STREAM = {"model": "llama3", "prompt": "Hi"}
ADMIN = {"X-API-Key": ADMIN_KEY}


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_module, "POLL", 0.02)


@pytest.fixture
async def other() -> AsyncIterator[FakeOllama]:
    """Another Ollama with the same model."""
    async with FakeOllama() as server:
        yield server


def table(name: str, fake: FakeOllama, more: str = "") -> str:
    """A backend in a file."""
    return f'[[backend]]\nname = "{name}"\nurl = "{fake.url}"\nkind = "ollama"\n{more}\n'


def replaced(file: Path, text: str) -> None:
    """Put another file in its place, as editors do."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


async def names(service: Service) -> list[str]:
    """The backends that administrators see."""
    answer = await service.client.get("/api/admin/backends", headers=ADMIN)
    return [each["name"] for each in answer.json()["backends"]]


async def until(service: Service, wanted: list[str]) -> None:
    """Wait until those are the backends."""
    async with asyncio.timeout(30):
        while await names(service) != wanted:
            await asyncio.sleep(0.01)


def generations(fake: FakeOllama) -> int:
    """How many it was asked for."""
    return sum(request.path == "/api/generate" for request in fake.requests)


async def test_a_backend_that_goes_ends_what_it_runs(
    serve: ServeFactory, fake: FakeOllama, other: FakeOllama, tmp_path: Path
) -> None:
    """Its stream comes whole, the next generation is the new one's, and it comes back as it was."""
    file = tmp_path / "backends.toml"
    file.write_text(table("a", fake))
    fake.hold()
    async with serve(backends_file=str(file)) as service:
        fake.release(1)
        async with service.client.stream("POST", "/api/generate", json=STREAM) as stream:
            lines = stream.aiter_lines()
            first = await anext(lines)
            replaced(file, table("b", other))
            await until(service, ["b"])
            assert (await service.client.post("/api/generate", json=GENERATE)).status_code == 200
            assert (generations(fake), generations(other)) == (1, 1)
            fake.release()
            parts = [json.loads(line) for line in [first, *[line async for line in lines]]]
        assert "".join(part["response"] for part in parts) == "".join(DEFAULT_WORDS)
        assert parts[-1]["done"] is True
        replaced(file, table("a", fake) + table("b", other))
        await until(service, ["a", "b"])


async def test_a_backend_that_stays_keeps_what_is_known(
    serve: ServeFactory, fake: FakeOllama, other: FakeOllama, tmp_path: Path
) -> None:
    """A stream goes on in it, and it is not asked anew what it has; another bound and weight are taken over."""
    file = tmp_path / "backends.toml"
    file.write_text(table("a", fake))
    fake.hold()
    async with serve(backends_file=str(file)) as service:
        before = await service.client.get("/api/llm/models")
        fake.release(1)
        async with service.client.stream("POST", "/api/generate", json=STREAM) as stream:
            replaced(file, table("b", other) + table("renamed", fake, "max_concurrency = 2\nweight = 3"))
            await until(service, ["b", "renamed"])
            shown = (await service.client.get("/api/admin/backends", headers=ADMIN)).json()["backends"][1]
            assert (shown["max_concurrency"], shown["weight"]) == (2, 3.0)
            fake.release()
            whole = [json.loads(line) async for line in stream.aiter_lines()]
        assert whole[-1]["done"] is True
        assert (await service.client.get("/api/llm/models")).json()["models"] == before.json()["models"]


async def test_no_request_is_dropped(serve: ServeFactory, fake: FakeOllama, other: FakeOllama, tmp_path: Path) -> None:
    """While the file is replaced, written in place, cut off, filled with nonsense, and read by whoever says so."""
    file = tmp_path / "backends.toml"
    both = table("a", fake) + table("b", other)
    file.write_text(both)
    contents = cycle([table("a", fake), both[:-40], both, "nonsense", table("b", other), "", both.replace("b", "c", 1)])
    asked: list[int] = []
    stop = asyncio.Event()

    async def ask(service: Service, streamed: bool) -> None:
        while not stop.is_set():
            body = {**GENERATE, "stream": streamed}
            answer = await service.client.post("/api/generate", json=body)
            last = json.loads(answer.text.splitlines()[-1])
            asked.append(answer.status_code if last.get("done") is True else 0)

    async with serve(backends_file=str(file)) as service:
        following = service.services.get(NamedBackends)
        asking = [asyncio.create_task(ask(service, bool(number % 2))) for number in range(4)]
        async with asyncio.timeout(60):
            for number in count():
                if number >= 40 < len(asked):
                    break
                replaced(file, next(contents)) if number % 2 else file.write_text(next(contents))
                if number % 3 == 0:
                    following.reread()
                await asyncio.sleep(0.03)
        stop.set()
        await asyncio.gather(*asking)
    assert set(asked) == {200}
    assert generations(fake)
    assert generations(other)


async def test_half_a_file_then_the_whole(
    serve: ServeFactory, fake: FakeOllama, other: FakeOllama, tmp_path: Path
) -> None:
    """Who reads half of it says where it ends, changes nothing, and takes the whole a moment later."""
    file = tmp_path / "backends.toml"
    file.write_text(table("a", fake))
    whole = table("a", fake) + table("b", other)
    async with serve(backends_file=str(file)) as service:
        file.write_text(whole[: whole.rindex('"')])
        async with asyncio.timeout(30):
            while not (told := (await service.client.get("/api/admin/backends", headers=ADMIN)).json())["file_error"]:
                await asyncio.sleep(0.01)
        assert told["file_error"].startswith("backends.toml, line 9: ")
        assert [each["name"] for each in told["backends"]] == ["a"]
        assert (await service.client.post("/api/generate", json=GENERATE)).status_code == 200
        file.write_text(whole)
        await until(service, ["a", "b"])
        assert (await service.client.get("/api/admin/backends", headers=ADMIN)).json()["file_error"] is None


async def test_a_drain_outlasts_another_file(
    serve: ServeFactory, fake: FakeOllama, other: FakeOllama, tmp_path: Path
) -> None:
    """A backend that is taken out and put back is as drained as it was."""
    file = tmp_path / "backends.toml"
    both = table("a", fake) + table("b", other)
    file.write_text(both)
    async with serve(backends_file=str(file)) as service:
        assert (await service.client.post("/api/admin/backends/a/drain", headers=ADMIN)).status_code == 200
        replaced(file, table("b", other))
        await until(service, ["b"])
        replaced(file, both)
        await until(service, ["a", "b"])
        for _ in range(4):
            assert (await service.client.post("/api/generate", json=GENERATE)).status_code == 200
    assert generations(fake) == 0


async def test_a_service_whose_file_broke_before_it_started(fake: FakeOllama, tmp_path: Path) -> None:
    """Does not start, though the file could be used when the settings were read."""
    file = tmp_path / "backends.toml"
    file.write_text(table("a", fake))
    settings = settings_for(backends_file=str(file))
    file.write_text("nonsense")
    with pytest.raises(Exception, match=r"backends\.toml, line 1"):
        async with serving(settings):
            pass
