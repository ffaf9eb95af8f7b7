"""A worker that is killed amid a stream, behind a real router: who notices, and what the ledger says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from tests.servers.real.killing import endless, killed
from tests.servers.real.routers import SMG, VLLM_ROUTER
from tests.servers.real.starting import Missing, Running
from tests.service import Service, serving, settings_for

pytestmark = pytest.mark.servers
_NATIVE: Final = "/v1/chat/completions"


@pytest.fixture(name="router", params=[SMG, VLLM_ROUTER], ids=lambda kind: kind.name)
def _router(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with endless(request.param, tmp_path) as running:
        if isinstance(running, Missing):
            pytest.skip(running.why)
        yield running


@pytest_asyncio.fixture(name="service")
async def _service(router: Running, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    async with serving(settings_for(openai_backends=router.url)) as service:
        yield service


def _lines(body: bytes) -> list[str]:
    return [line for line in body.decode().splitlines() if line]


def _error(line: str) -> Any:
    return json.loads(line.removeprefix("data: "))["error"]


async def outcome(service: Service, request_id: str) -> str:
    """How the ledger says that a request ended."""
    answer = await service.client.get(f"{service.url}/api/usage/generations/{request_id}")
    return str(answer.json()["outcome"])


async def test_the_router_itself(router: Running, request: pytest.FixtureRequest) -> None:
    """SMG ends with an error and `[DONE]`, as if nothing were wrong; vLLM's router passes the cut on."""
    ended = await killed(router, router.url, _NATIVE)
    if request.node.callspec.params["router"] is SMG:
        *_, error, last = _lines(ended.body)
        assert (ended.cut, last) == (False, "data: [DONE]")
        assert _error(error)["message"]
    else:
        assert ended.cut


async def test_a_native_stream(router: Running, service: Service) -> None:
    """Its client reads an error, and the ledger says so."""
    ended = await killed(router, service.url, _NATIVE)
    errors = [_error(line) for line in _lines(ended.body) if '"error"' in line]
    assert len(errors) == 1
    assert errors[0]["message"]
    assert await outcome(service, ended.request_id) == "error"


async def test_a_translated_stream(router: Running, service: Service) -> None:
    """Its last line is an error, and the ledger says so."""
    ended = await killed(router, service.url, "/api/chat")
    lines = [json.loads(line) for line in _lines(ended.body)]
    assert not ended.cut
    assert lines[-1]["error"]
    assert not any(line.get("done") for line in lines)
    assert await outcome(service, ended.request_id) == "error"
