"""Servers of the OpenAI API that tell no models, or whose routes stand at the root, behind the whole service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops_backend.banner import banner
from mlops_backend.services.llm.backends import look as looks
from mlops_backend.services.llm.backends import pool as routing
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai_kinds import PlacedOpenAI
from tests.fakes.openai_server import MODEL, FakeOpenAI
from tests.service import Service, settings_for

NAMES = ("command-r+", "org/other")
LISTS = ("/api/tags", "/api/ps", "/v1/models", "/api/llm/models")
LISTED = str(MODEL["id"])
EMBED = {"model": LISTED, "input": "hi"}


def chat_with(model: str) -> dict[str, Any]:
    """A body for a chat with `model`."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": False}


async def listed(service: Service, path: str) -> list[str]:
    """The names in a list."""
    answer = await service.client.get(path)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return [model.get("name") or model["id"] for model in told.get("data", told.get("models"))]


async def health_of(service: Service, url: str) -> tuple[str, dict[str, Any]]:
    """The whole service's status, and what health says of one backend."""
    told = (await service.client.get("/api/llm/health")).json()
    return told["status"], next(backend for backend in told["backends"] if backend["url"] == url)


def posts(server: FakeOpenAI) -> list[str]:
    """The paths that computed."""
    return [request.path for request in server.requests if request.method == "POST"]


@pytest.fixture
def _always_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request has the backends looked at anew."""
    for module in (routing, looks):
        monkeypatch.setattr(module, "PROBE_LIFE", 0.0)


@pytest.mark.parametrize("root_page", ["", "<html><body>A page for any path</body></html>"])
async def test_a_server_without_a_list_has_empty_lists(serve: ServeFactory, root_page: str) -> None:
    """It is there, and says in a sentence what it does not tell; any name is sent to it as it is."""
    server = PlacedOpenAI(lists=False, root_page=root_page)
    async with server, serve(openai_backends=server.url) as service:
        for path in LISTS:
            assert await listed(service, path) == []
        assert "partial" not in (await service.client.get("/api/llm/models")).json()
        status, told = await health_of(service, server.url)
        assert (status, told["reachable"], told["models"]) == ("healthy", True, [])
        assert "error" not in told
        shown = banner(settings_for(), 8000, await service.services.get(routing.BackendPool).probe())
        assert f"{server.url} (openai API): {told['note']}\n" in shown
        assert "does not tell its models: there is no /v1/models and no /models." in told["note"]
        assert "OPENAI_BACKENDS" in told["note"]
        for path in ("/api/chat", "/v1/chat/completions"):
            assert (await service.client.post(path, json=chat_with("any"))).status_code == 200
        assert json.loads(server.requests[-1].body)["model"] == "any"
        for path in ("/api/show", "/v1/models/any"):
            asked = (
                service.client.post(path, json={"model": "any"}) if path == "/api/show" else service.client.get(path)
            )
            assert (await asked).status_code == 404


@pytest.mark.usefixtures("_always_probed")
@pytest.mark.parametrize("lists", [False, True])
async def test_beside_others_it_takes_what_nobody_lists(serve: ServeFactory, fake: FakeOllama, lists: bool) -> None:
    """Lists are those of the others, not partial ones; that it fails to compute makes it no less there."""
    server = PlacedOpenAI(lists=lists)
    async with server, serve(fake.url, openai_backends=server.url) as service:
        assert await listed(service, "/api/tags") == [*fake.models, *([LISTED] if lists else [])]
        own = (await service.client.get("/api/llm/models")).json()
        assert "partial" not in own
        assert (await service.client.post("/api/chat", json=chat_with("unlisted"))).status_code == 200
        assert posts(server) == ["/v1/chat/completions"]
        server.refusal = (500, {"detail": "it fell over"})
        assert (await service.client.post("/api/chat", json=chat_with("unlisted"))).status_code == 502
        assert (await health_of(service, server.url))[0] == "healthy"


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("beside", [True, False])
async def test_models_that_the_operator_names_are_there(
    serve: ServeFactory, fake: FakeOllama, lists: bool, beside: bool
) -> None:
    """Listed, shown, described and asked for, beside what the server lists itself; what they can do is a setting."""
    server = PlacedOpenAI(lists=lists)
    ollamas = [fake.url] if beside else []
    words = " ".join(f"model={name}" for name in (*NAMES, MODEL["id"]))
    expected = {*NAMES, MODEL["id"], *(fake.models if beside else ())}
    capable = "org/*=completion+vision"
    async with (
        server,
        serve(*ollamas, openai_backends=f"{server.url} {words}", model_capabilities=capable) as service,
    ):
        for path in LISTS:
            names = await listed(service, path)
            assert (set(names), len(names)) == (expected, len(expected)), path
        shown = (await service.client.post("/api/show", json={"model": "ORG/other:latest"})).json()
        assert shown["capabilities"] == ["completion", "vision"]
        described = (await service.client.get("/v1/models/org/other")).json()
        assert (described["id"], described["object"]) == ("org/other", "model")
        told = (await service.client.get(f"/v1/models/{MODEL['id']}")).json()
        assert told.get("max_model_len") == (MODEL["max_model_len"] if lists else None)
        for path in ("/api/chat", "/v1/chat/completions"):
            assert (await service.client.post(path, json=chat_with("org/other"))).status_code == 200
        assert posts(server) == ["/v1/chat/completions"] * 2
        status, health = await health_of(service, server.url)
        sentence = "" if lists else "The server does not tell its models: there is no /v1/models and no /models."
        assert (status, health.get("note", "")) == ("healthy", sentence)
        assert sorted(health["models"]) == sorted((*NAMES, LISTED))


async def test_routes_at_the_root_are_found(serve: ServeFactory) -> None:
    """By where the list stands, which is asked for once; translated and native requests go there."""
    server = PlacedOpenAI(place="")
    async with server, serve(openai_backends=server.url) as service:
        assert await listed(service, "/api/tags") == [LISTED]
        answer = await service.client.post("/api/embed", json=EMBED)
        assert answer.json()["embeddings"] == [[0.6, 0.8]]
        for path in ("/v1/embeddings", "/v1/chat/completions"):
            assert (await service.client.post(path, json={**chat_with(LISTED), **EMBED})).status_code == 200
        assert [request.path for request in server.requests if request.path == "/v1/models"] == ["/v1/models"]
        assert posts(server) == ["/embeddings", "/embeddings", "/chat/completions"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed"])
@pytest.mark.parametrize("place", ["", "/v1"])
async def test_a_server_that_is_started_otherwise_is_found_again(serve: ServeFactory, place: str, path: str) -> None:
    """The request that meets it first is sent where its routes stand now; a first request needs no list before."""
    server = PlacedOpenAI(place=place)
    async with server, serve(openai_backends=server.url) as service:
        for moved in (False, True, False):
            server.place = place if not moved else "" if place else "/v1"
            assert (await service.client.post(path, json=EMBED)).status_code == 200
            assert posts(server)[-1] == f"{server.place}/embeddings"


@pytest.mark.usefixtures("_always_probed")
async def test_a_server_that_is_away_decides_nothing(serve: ServeFactory) -> None:
    """What it has is asked for when it is there; a route that it lacks is missing, wherever it was looked for."""
    server = PlacedOpenAI(place="")
    async with server, serve(openai_backends=server.url, connect_timeout=1) as service:
        await server.stop()
        assert (await service.client.post("/v1/embeddings", json=EMBED)).status_code == 502
        assert (await service.client.get("/api/tags")).status_code == 503
        await server.start()
        assert await listed(service, "/api/tags") == [LISTED]
        await server.stop()
        assert (await service.client.get("/api/tags")).status_code == 503
        await server.start()
        server.requests.clear()
        assert (await service.client.post("/v1/embeddings", json=EMBED)).status_code == 200
        assert posts(server) == ["/embeddings"]
        missing = await service.client.post("/v1/responses", json={"model": MODEL["id"], "input": "hi"})
        assert missing.headers["x-translated"] == "/v1/responses -> /v1/chat/completions"


@pytest.mark.usefixtures("_always_probed")
async def test_another_server_in_its_place_is_asked_as_any_other(serve: ServeFactory) -> None:
    """One without a list in the place of one with its routes at the root: what was found is forgotten."""
    server = PlacedOpenAI(place="")
    async with server, serve(openai_backends=server.url) as service:
        assert await listed(service, "/api/tags") == [LISTED]
        server.place, server.lists = "/v1", False
        assert (await service.client.post("/v1/embeddings", json=EMBED)).status_code == 200
        assert posts(server) == ["/embeddings", "/v1/embeddings"]
        assert await listed(service, "/api/ps") == []
        assert "note" in (await health_of(service, server.url))[1]
        server.lists = True
        assert await listed(service, "/api/ps") == [LISTED]
        assert "note" not in (await health_of(service, server.url))[1]


async def test_a_version_in_the_address_stays(serve: ServeFactory) -> None:
    """Nothing is asked for elsewhere."""
    server = PlacedOpenAI(place="")
    async with server, serve(openai_backends=f"{server.url}/v1") as service:
        assert await listed(service, "/api/tags") == []
        note = (await health_of(service, f"{server.url}/v1"))[1]["note"]
        assert "there is no /v1/models." in note
        assert (await service.client.post("/v1/embeddings", json=EMBED)).status_code == 501
        assert {request.path for request in server.requests} == {"/v1/models", "/v1/embeddings"}


async def test_a_refusal_is_no_missing_list(serve: ServeFactory) -> None:
    """Only what is missing is looked for elsewhere."""
    server = PlacedOpenAI(key="wanted")
    async with server, serve(openai_backends=server.url) as service:
        assert (await service.client.get("/api/tags")).status_code == 503
        assert {request.path for request in server.requests} == {"/v1/models"}
