"""Keys with a list of models: they may name, and see, no other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, Service
from tests.web.dialects.drop_in_families import FAMILIES, Family

MODELS: Final = ["llama3:latest", "phi3:mini", "secret:7b"]
LIST: Final = ["llama3", "phi3*"]
SCOPES: Final = ["inference", "models:read", "models:write"]
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@pytest.fixture
async def limited(serve: ServeFactory, fake: FakeOllama) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose key may use two of three models."""
    fake.models = list(MODELS)
    async with serve(fake.url) as service:
        key = await made_key(service)
        service.stranger.headers["X-API-Key"] = key
        yield service.stranger


async def made_key(service: Service) -> str:
    """The key."""
    body = {"name": "limited", "models": LIST, "scopes": SCOPES}
    made = await service.stranger.post("/api/admin/keys", json=body, headers={"X-API-Key": ADMIN_KEY})
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


@every_family
@pytest.mark.parametrize(
    ("model", "allowed"),
    [
        ("llama3", True),
        ("library/LLAMA3:latest", True),
        ("phi3:mini", True),
        ("secret:7b", False),
        ("llama3:8b", False),
    ],
)
async def test_only_what_stands_on_the_list_may_be_named(
    limited: httpx.AsyncClient, fake: FakeOllama, family: Family, model: str, allowed: bool
) -> None:
    """By any spelling that Ollama takes for the same model; what is refused reaches no backend."""
    answer = await limited.post(family.path, json={**family.whole, "model": model})
    assert (answer.status_code != 403) is allowed, answer.text
    assert any(seen.path == family.path for seen in fake.requests) is allowed


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"llama3","Model":"secret:7b","prompt":"x"}',
        b'{"model":"secret:7b","model":"llama3","prompt":"x"}',
        b'{"prompt":"x"}',
        b'{"model":7,"prompt":"x"}',
        b"not json",
        b"",
    ],
)
async def test_no_body_goes_round_the_list(limited: httpx.AsyncClient, fake: FakeOllama, body: bytes) -> None:
    """Two names count both, and where none can be read, none is allowed."""
    for path in ("/api/generate", "/v1/chat/completions", "/api/show", "/v1/messages/count_tokens"):
        answer = await limited.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 403, (path, answer.text)
    assert not [seen for seen in fake.requests if seen.method == "POST"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/pull", {"model": "secret:7b"}),
        ("DELETE", "/api/delete", {"model": "secret:7b"}),
        ("POST", "/api/copy", {"source": "secret:7b", "destination": "llama3"}),
        ("POST", "/api/copy", {"source": "llama3", "destination": "secret:7b"}),
        ("POST", "/api/create", {"model": "phi3:mine", "from": "secret:7b"}),
        ("GET", "/v1/models/secret:7b", None),
    ],
)
async def test_models_are_managed_within_the_list(
    limited: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """Every name that a request mentions has to stand there."""
    answer = await limited.request(method, path, content=json.dumps(body) if body else None)
    assert answer.status_code == 403, answer.text


async def test_a_list_shows_only_what_may_be_used(limited: httpx.AsyncClient) -> None:
    """Ollama's list, OpenAI's and our own, and what a backend has."""
    tags = (await limited.get("/api/tags")).json()["models"]
    openai = (await limited.get("/v1/models")).json()["data"]
    own = (await limited.get("/api/llm/models")).json()
    health = (await limited.get("/api/llm/health")).json()["backends"]
    names = ["llama3:latest", "phi3:mini"]
    assert [model["name"] for model in tags] == names
    assert [model["id"] for model in openai] == names
    assert ([model["name"] for model in own["models"]], own["count"]) == (names, 2)
    assert health[0]["models"] == names
