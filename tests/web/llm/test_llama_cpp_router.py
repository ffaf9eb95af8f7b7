"""llama.cpp's server in router mode, and what others tell of their models, behind the whole service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops_backend.services.llm.backends import look as looks
from mlops_backend.services.llm.backends import pool as routing
from mlops_backend.services.llm.ollama_service import OllamaService
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai_kinds import PlacedOpenAI, RouterOpenAI
from tests.fakes.openai_server import FakeOpenAI

MESSAGES = [{"role": "user", "content": "hi"}]


def chat_with(model: str, **more: Any) -> dict[str, Any]:
    """A body for a chat with `model`."""
    return {"model": model, "messages": MESSAGES, **more}


async def test_only_what_is_loaded_runs(serve: ServeFactory) -> None:
    """`/api/ps` has what the router has in memory, with its context; `/api/tags` has all."""
    async with RouterOpenAI() as router, serve(openai_backends=router.url) as service:
        names = [model["name"] for model in (await service.client.get("/api/tags")).json()["models"]]
        assert names == ["big", "small"]
        [loaded] = (await service.client.get("/api/ps")).json()["models"]
        assert (loaded["name"], loaded["context_length"], loaded["size"]) == ("big", 512, 229120)
        for value in ("loading", "sleeping", "failed"):
            router.models[0]["status"] = {"value": value}
            assert (await service.client.get("/api/ps")).json()["models"] == []


async def test_a_model_is_shown_as_the_router_tells(serve: ServeFactory) -> None:
    """Capabilities by its inputs, the context that it was trained for, and a template that has a place for tools."""
    async with RouterOpenAI() as router, serve(openai_backends=router.url) as service:
        for name, capable in (("big", ["completion", "tools"]), ("small", ["completion", "tools", "vision"])):
            shown = (await service.client.post("/api/show", json={"model": name})).json()
            assert shown["capabilities"] == capable
            info = shown["model_info"]
            assert info[f"{info['general.architecture']}.context_length"] == 4096
            assert ".Tools" in shown["template"]


@pytest.mark.parametrize("beside", [True, False])
async def test_an_alias_is_a_name(serve: ServeFactory, fake: FakeOllama, beside: bool) -> None:
    """Not listed, but shown, described and asked for where it is, also beside others; its context is its model's."""
    router, ollamas = RouterOpenAI(), [fake.url] if beside else []
    async with router, serve(*ollamas, openai_backends=router.url) as service:
        assert "gpt-x" not in (await service.client.get("/api/tags")).text
        assert (await service.client.post("/api/show", json={"model": "GPT-X:latest"})).status_code == 200
        for name in ("gpt-x", "org%2Fgpt-y"):
            assert (await service.client.get(f"/v1/models/{name}")).json()["id"] == "big"
        whole = (await service.client.post("/api/chat", json=chat_with("gpt-x", stream=False))).json()
        assert whole["model"] == "gpt-x"
        assert json.loads(router.requests[-1].body)["model"] == "big"
        assert (await service.client.post("/v1/chat/completions", json=chat_with("gpt-x"))).status_code == 200
        assert await service.services.get(OllamaService).context_length("GPT-x", None) == 512
        if beside:
            assert not [request for request in fake.requests if request.method == "POST"]


async def test_a_models_own_name_counts_before_anothers_alias(serve: ServeFactory) -> None:
    """As with the router itself."""
    async with RouterOpenAI() as router, serve(openai_backends=router.url) as service:
        router.models[1]["aliases"].append("big")
        shown = (await service.client.post("/api/show", json={"model": "big"})).json()
        assert shown["model_info"]["general.basename"] == "big"


async def test_a_list_that_fails_takes_no_alias_away(
    serve: ServeFactory, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it told last counts until it tells again."""
    for module in (routing, looks):
        monkeypatch.setattr(module, "PROBE_LIFE", 0.0)
    async with RouterOpenAI() as router, serve(fake.url, openai_backends=router.url) as service:
        for fails, status in ((False, "healthy"), (True, "degraded")):
            router.fails_to_list = fails
            assert (await service.client.get("/api/llm/health")).json()["status"] == status
            answer = await service.client.post("/v1/chat/completions", json=chat_with("gpt-x"))
            assert answer.status_code == 200
        assert not [request for request in fake.requests if request.method == "POST"]


async def test_its_unknown_model_is_not_found(serve: ServeFactory) -> None:
    """Ollama's 404 in Ollama's words where its 400 is translated; natively the answer stays as it is."""
    async with RouterOpenAI() as router, serve(openai_backends=router.url) as service:
        for body in (chat_with("nope"), chat_with("nope", stream=False)):
            missing = await service.client.post("/api/chat", json=body)
            assert (missing.status_code, missing.json()["error"]) == (404, "model 'nope' not found")
        native = await service.client.post("/v1/chat/completions", json=chat_with("nope"))
        assert (native.status_code, native.json()["error"]["code"]) == (400, 400)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_its_unknown_model_is_looked_for_elsewhere(serve: ServeFactory, path: str) -> None:
    """As after a 404, a backend that lists nothing is asked next."""
    router, other = RouterOpenAI(), PlacedOpenAI(lists=False)
    async with router, other, serve(openai_backends=f"{router.url},{other.url}") as service:
        assert (await service.client.post(path, json=chat_with("unlisted", stream=False))).status_code == 200
        assert [request.path for request in other.requests if request.method == "POST"] == ["/v1/chat/completions"]


async def test_what_it_was_not_started_for_stays_a_501(serve: ServeFactory) -> None:
    """With its own words, translated and native."""
    async with RouterOpenAI() as router, serve(openai_backends=router.url) as service:
        for path in ("/api/embed", "/v1/embeddings"):
            refused = await service.client.post(path, json={"model": "big", "input": "hi"})
            assert refused.status_code == 501
            assert "does not support embeddings" in refused.text


RAYS = {"id": "org/m", "object": "model", "metadata": {"max_request_context_length": 8192}}
LM_STUDIOS = {"id": "m", "type": "llm", "state": "not-loaded", "max_context_length": 2048}


@pytest.mark.parametrize(("entry", "context", "running"), [(RAYS, 8192, 1), (LM_STUDIOS, 2048, 0)])
async def test_others_tell_it_elsewhere(serve: ServeFactory, entry: dict[str, Any], context: int, running: int) -> None:
    """Ray Serve LLM has the context among its metadata, LM Studio the state of a model in a word."""
    async with FakeOpenAI(models=[entry]) as server, serve(openai_backends=server.url) as service:
        shown = (await service.client.post("/api/show", json={"model": entry["id"]})).json()
        assert shown["model_info"]["unknown.context_length"] == context
        loaded = (await service.client.get("/api/ps")).json()["models"]
        assert [model["context_length"] for model in loaded] == [context] * running


@pytest.mark.parametrize(
    "entry", [{"capabilities": ["embed"]}, {"architecture": {"output_modalities": ["embeddings"]}}]
)
async def test_a_model_without_tools_has_no_place_for_them(serve: ServeFactory, entry: dict[str, Any]) -> None:
    """A client that looks for the word in the template must not find it."""
    async with FakeOpenAI(models=[{"id": "m", **entry}]) as server, serve(openai_backends=server.url) as service:
        shown = (await service.client.post("/api/show", json={"model": "m"})).json()
        assert (shown["capabilities"], shown["template"]) == (["embedding"], "")
