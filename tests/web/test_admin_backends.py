"""The administrator's routes over backends."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.e2e.page_blocks import read_blocks
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.fakes.openai_server import FakeOpenAI
from tests.service import ADMIN_KEY, Service

ROUTE = "/api/admin/backends"
GENERATE = {"model": "llama3", "prompt": "Hi", "stream": False}


@pytest.fixture
async def other() -> AsyncIterator[FakeOllama]:
    """Another Ollama with the same model."""
    async with FakeOllama() as server:
        yield server


def admin(service: Service) -> httpx.AsyncClient:
    """The client of the test, with the administrator's key."""
    service.client.headers["X-API-Key"] = ADMIN_KEY
    return service.client


async def listed(service: Service) -> list[dict[str, Any]]:
    """All backends."""
    answer = await admin(service).get(ROUTE)
    assert answer.status_code == 200, answer.text
    backends: list[dict[str, Any]] = answer.json()["backends"]
    return backends


async def test_all_that_is_known_is_shown(
    serve: ServeFactory, fake: FakeOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those in the settings, of those in the file, and of one that is away; keys are nowhere."""
    monkeypatch.setenv("OTHERS_KEY", "sk-secret")
    file = tmp_path / "backends.toml"
    async with FakeOpenAI() as server:
        file.write_text(
            f'[[backend]]\nname = "vllm"\nurl = "{server.url}"\nkind = "openai"\napi_key_env = "OTHERS_KEY"\n'
            'max_concurrency = 4\nweight = 2\ntags = ["gpu"]\n'
            '[[backend]]\nname = "away"\nurl = "http://127.0.0.1:9"\nkind = "ollama"\n'
        )
        url = fake.url.replace("http://", "http://user:pw@")
        async with serve(url, backends_file=str(file)) as service:
            answer = await admin(service).get(ROUTE)
        assert server.requests[-1].header("authorization") == "Bearer sk-secret"
    assert "pw" not in answer.text
    assert "sk-secret" not in answer.text
    assert answer.json()["file_error"] is None
    ollama, vllm, away = answer.json()["backends"]
    masked = fake.url.replace("http://", "http://***@")
    assert (ollama.pop("latency_ms") > 0, vllm.pop("latency_ms") > 0, away.pop("latency_ms")) == (True, True, 0)
    assert ollama == {
        "name": masked,
        "url": masked,
        "kind": "ollama",
        "source": "settings",
        "reachable": True,
        "version": "0.9.3",
        "error": None,
        "note": None,
        "models": 1,
        "loaded": ["llama3:latest"],
        "loaded_models": [
            {
                "name": "llama3:latest",
                "bytes": 4_661_224_676,
                "vram_bytes": 4_661_224_676,
                "context_length": 4096,
                "expires_at": "2036-08-21T10:05:00.5+02:00",
            }
        ],
        "breaker": {"state": "closed", "seconds": 0.0, "openings": 0},
        "drained": False,
        "max_concurrency": None,
        "weight": 1.0,
        "tags": [],
    }
    assert (vllm["name"], vllm["url"], vllm["source"]) == ("vllm", server.url, "file")
    assert (vllm["max_concurrency"], vllm["weight"], vllm["tags"]) == (4, 2.0, ["gpu"])
    assert (vllm["reachable"], vllm["loaded"]) == (True, None)
    assert (away["reachable"], away["error"]) == (False, "The backend refuses connections.")


async def test_a_drained_backend_gets_nothing_and_ends_what_it_runs(
    serve: ServeFactory, fake: FakeOllama, other: FakeOllama
) -> None:
    """A stream that runs there comes whole, others go elsewhere, and with `resume` some come back; names are paths."""
    fake.hold()
    fake.release(1)
    async with serve(fake.url, other.url) as service:
        client = admin(service)
        other.mode = Mode.BUSY_503  # so the stream is the first one's
        async with client.stream("POST", "/api/generate", json={"model": "llama3", "prompt": "Hi"}) as stream:
            lines = stream.aiter_lines()
            first = await anext(lines)
            other.mode = Mode.NORMAL
            drained = (await client.post(f"{ROUTE}/{fake.url}/drain")).json()
            assert (drained["name"], drained["drained"]) == (fake.url, True)
            assert [each["drained"] for each in await listed(service)] == [True, False]
            before = len([request for request in fake.requests if request.path == "/api/generate"])
            for _ in range(4):
                assert (await client.post("/api/generate", json=GENERATE)).status_code == 200
            assert len([request for request in fake.requests if request.path == "/api/generate"]) == before
            assert (await client.post("/api/show", json={"model": "llama3"})).status_code == 200
            fake.release()
            rest = [json.loads(line) async for line in lines]
        assert "".join(part["response"] for part in [json.loads(first), *rest]) == "".join(DEFAULT_WORDS)
        assert rest[-1]["done"] is True
        resumed = (await client.post(f"{ROUTE}/{fake.url}/resume")).json()
        assert resumed["drained"] is False
        for number in range(20):  # prompts that begin in another way each are spread
            asked = {**GENERATE, "prompt": f"{number} is a number"}
            assert (await client.post("/api/generate", json=asked)).status_code == 200
        assert len([request for request in fake.requests if request.path == "/api/generate"]) > before


async def test_when_all_are_drained_that_is_said(serve: ServeFactory, fake: FakeOllama, other: FakeOllama) -> None:
    """In a sentence, with 503 and `Retry-After`, by every family's routes; the service is not ready then."""
    async with serve(fake.url, other.url) as service:
        client = admin(service)
        assert (await client.get("/health/ready")).status_code == 200
        for url in (fake.url, other.url):
            assert (await client.post(f"{ROUTE}/{url}/drain")).status_code == 200
        messages = [{"role": "user", "content": "Hi"}]
        for path in ("/api/llm/chat", "/api/chat", "/v1/chat/completions"):
            answer = await client.post(path, json={"model": "llama3", "messages": messages})
            assert answer.status_code == 503
            assert "drained at present" in answer.text
            assert answer.headers["retry-after"]
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/api/tags")).status_code == 200


async def test_one_that_is_left_alone_says_for_how_long(
    serve: ServeFactory, fake: FakeOllama, other: FakeOllama
) -> None:
    """Its breaker opens when it broke off three times in a row; until then it is closed."""
    other.mode = Mode.CLOSE_BEFORE_HEADERS
    async with serve(fake.url, other.url) as service:
        closed = {"state": "closed", "seconds": 0.0, "openings": 0}
        assert [each["breaker"] for each in await listed(service)] == [closed, closed]
        for number in range(100):  # prompts that begin in another way each are spread
            if (breaker := (await listed(service))[1]["breaker"]) != closed:
                break
            await service.client.post("/api/generate", json={**GENERATE, "prompt": f"{number} is a number"})
        assert (await listed(service))[0]["breaker"] == closed
    assert breaker["state"] in {"open", "half-open"}
    assert (breaker["openings"], 0 <= breaker["seconds"] <= 1) == (1, True)


async def test_a_probe_asks_now(serve: ServeFactory, fake: FakeOllama) -> None:
    """However young the last one is; what it finds is what the service knows then."""
    async with serve(fake.url, connect_timeout=0.3) as service:
        client = admin(service)
        assert (await listed(service))[0]["reachable"] is True
        fake.version = "0.9.9"
        assert (await client.post(f"{ROUTE}/{fake.url}/probe")).json()["version"] == "0.9.9"
        fake.probe_mode = Mode.HANG_BEFORE_HEADERS
        found = (await client.post(f"{ROUTE}/{fake.url}/probe")).json()
        assert (found["reachable"], found["error"]) == (False, "The backend did not answer in time.")
        assert (await listed(service))[0] == found


async def test_who_leaves_ends_no_probe_of_others(serve: ServeFactory, fake: FakeOllama) -> None:
    """One who asked for it goes; who asked meanwhile has the answer."""
    fake.probe_mode = Mode.SLOW_FIRST_BYTE
    async with serve(fake.url) as service:
        client = admin(service)
        leaving = asyncio.create_task(client.post(f"{ROUTE}/{fake.url}/probe"))
        await fake.wait_for_request("/api/version")
        staying = asyncio.create_task(client.post(f"{ROUTE}/{fake.url}/probe"))
        await asyncio.sleep(0.05)
        leaving.cancel()
        assert (await staying).json()["reachable"] is True


@pytest.mark.parametrize("deed", ["drain", "resume", "probe"])
async def test_a_name_that_nobody_has(service: Service, deed: str) -> None:
    """Is 404."""
    answer = await admin(service).post(f"{ROUTE}/unknown/{deed}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_ordinary_keys_may_not(service: Service, fake: FakeOllama) -> None:
    """Neither look nor change."""
    assert (await service.client.get(ROUTE)).status_code == 403
    assert (await service.client.post(f"{ROUTE}/{fake.url}/drain")).status_code == 403


async def test_the_pages_commands_are_routes(serve: ServeFactory, fake: FakeOllama, tmp_path: Path) -> None:
    """The page drains a backend and gives it generations again."""
    file = tmp_path / "backends.toml"
    file.write_text(read_blocks()["backends-file"].text.replace("http://10.0.0.12:11434", fake.url))
    async with serve(backends_file=str(file)) as service:
        told = []
        for command in read_blocks()["backends-drain"].text.splitlines():
            path = re.findall(r"http://localhost:8000(\S+)", command)[0]
            told.append((await admin(service).post(path)).json()["drained"])
        assert told == [True, False]
