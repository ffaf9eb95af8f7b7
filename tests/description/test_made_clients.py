"""Clients made from `/openapi.json` walk through a running service, and change what they were told to change."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import installed
from tests.conftest import ServeFactory
from tests.description.making import (
    DESCRIPTION,
    HEY_API,
    OPENAPI_GENERATOR,
    OPENAPI_TYPESCRIPT,
    PYTHON_CLIENT,
    Generator,
    Workshop,
)
from tests.e2e.processes import clean_environment
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service

pytestmark = pytest.mark.description

CHECKS = ",".join(
    (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
)
MODEL = "smollm2:135m"
WHOLE = "".join(DEFAULT_WORDS)
STREAMED = [*DEFAULT_WORDS, ""]


@pytest.fixture
async def running(fake: FakeOllama, serve: ServeFactory) -> AsyncIterator[Service]:
    """The service before a fake backend."""
    fake.models = [MODEL]
    async with serve(fake.url, default_model=MODEL) as service:
        yield service


async def test_a_reader_that_tries_everything(running: Service, tmp_path: Path) -> None:
    """Schemathesis: keys, usage, exports and generations; no 5xx, nothing answered that is undocumented."""
    # To begin streams is left out: each runs on by itself, and a thousand of a key are rightly enough.
    asked = [f"--include-tag={tag}" for tag in ("keys", "usage", "llm")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/openapi.json", *asked),
        *("--exclude-path", "/api/llm/streams", "--phases", "examples,coverage,stateful", "--max-examples", "5"),
        *("--checks", CHECKS, "--header", f"X-API-Key: {ADMIN_KEY}", "--seed", "1", "--no-color"),
        cwd=tmp_path,
        env=clean_environment(NO_PROXY="*", no_proxy="*"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    said = output.decode()
    assert process.returncode == 0, said[-8000:]
    assert re.search(r"Tested: [2-4]\d\n", said), said[-8000:]
    assert "✅ Stateful" in said


async def driven(generator: Generator, service: Service, home: Path) -> dict[str, Any]:
    """What the driver tells that uses the client of `generator`, which is made and compiled first."""
    packages = await asyncio.to_thread(installed, generator.packages)
    if isinstance(packages, str):
        pytest.skip(packages)
    described = await service.stranger.get("/openapi.json")
    (home / DESCRIPTION).write_bytes(described.content)
    workshop = Workshop(generator, packages, home)
    await workshop.make()
    await workshop.compile()
    said = await workshop.drive(URL=service.url, MODEL=MODEL, KEY=ORDINARY_KEY, ADMIN_KEY=ADMIN_KEY)
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    return told


@pytest.mark.parametrize("generator", [OPENAPI_TYPESCRIPT, HEY_API], ids=lambda generator: generator.name)
async def test_clients_in_typescript(generator: Generator, running: Service, tmp_path: Path) -> None:
    """No warning, strict types, and both a whole answer and a stream arrive; errors and CSV are what the types say."""
    told = await driven(generator, running, tmp_path)
    assert told["whole"] == WHOLE
    assert told["streamed"] == STREAMED
    assert told.get("events", STREAMED) == STREAMED
    assert told["code"] == "model_not_found"
    assert told["head"].startswith("id,request_id,")


@pytest.mark.parametrize("generator", [PYTHON_CLIENT, OPENAPI_GENERATOR], ids=lambda generator: generator.name)
async def test_clients_in_python(generator: Generator, running: Service, tmp_path: Path) -> None:
    """Keys, generations, usage, exports and conversations go by without an exception; no change is one unasked for."""
    told = await driven(generator, running, tmp_path)
    _check_keys(told)
    assert (told["whole"], told["streamed"]) == (WHOLE, STREAMED)
    assert (told["health"], told["readiness"]) == ("healthy", "ready")
    _check_errors(told)
    assert told["tokens"] > 0
    assert told["generation"] == MODEL
    assert told["csv"].splitlines()[0] == told["all csv"].splitlines()[0]
    assert len(told["csv"].splitlines()) >= 5
    begun, changed = told["conversation"]
    assert (begun["title"], changed["title"], changed["model"]) == ("One", "Two", MODEL)
    assert told["other version"]["code"] == "precondition_failed"
    assert told["reply"]["content"] == WHOLE
    assert told["exported"] == "Two"


def _check_keys(told: dict[str, Any]) -> None:
    """A change of one member leaves the others as they were."""
    key = {name: value for name, value in told["made"].items() if name != "key"}
    assert (key["owner"], key["metadata"]) == ("alice@example.org", {"team": "blue"})
    assert key["limits"] == {"requests": "60/minute", "tokens_per_day": None}
    disabled = {**key, "enabled": False, "state": "disabled"}
    assert told["disabled"] == disabled
    assert told["renamed"] == told["looked at"] == {**disabled, "name": "runner"}
    assert told["enabled"] == {**key, "name": "runner"}
    assert told["listed"] == [key["id"]]
    assert told["rotated"]["key"] != told["made"]["key"]
    assert (told["revoked"]["state"], told["revoked"]["owner"]) == ("revoked", "alice@example.org")


def _check_errors(told: dict[str, Any]) -> None:
    """Each error is an object of its model."""
    codes = {name: told[name]["code"] for name in ("not found", "unknown key", "limited")}
    assert codes == {"not found": "model_not_found", "unknown key": "unauthorized", "limited": "rate_limited"}
    said = {name: value for name, value in told["not found by Ollama"].items() if value is not None}
    assert said.keys() == {"error"}
