"""The operator's own names for models, on every route that uses one: what is asked, listed, allowed and noted."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.fakes.ollama_routes import INFERENCE, route_of
from tests.service import ADMIN_KEY, Service
from tests.web.dialects.drop_in_families import FAMILIES, Family

ALIASES: Final = "gpt-4o=llama3,smart=big|llama3,claude-*=llama3"
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@pytest.fixture
async def service(serve: ServeFactory, fake: FakeOllama) -> AsyncIterator[Service]:
    """The service before one Ollama."""
    async with serve(fake.url, model_aliases=ALIASES) as running:
        yield running


def models_asked(*servers: FakeOllama) -> list[str]:
    """The models of all generations that came to some servers."""
    return [
        json.loads(request.body)["model"]
        for server in servers
        for request in server.requests
        if route_of(request.path)[0] in INFERENCE
    ]


@every_family
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_backend_is_asked_for_what_a_name_stands_for(
    service: Service, fake: FakeOllama, family: Family, *, streamed: bool
) -> None:
    """And nothing else of the body is another; the log line has both names."""
    body = family.streamed if streamed else family.whole
    with capture_logs() as logs:
        answer = await service.client.post(family.path, json={**body, "model": "gpt-4o"})
    assert answer.status_code == 200, answer.text
    asked = next(request for request in fake.requests if request.path == family.path)
    assert json.loads(asked.body) == {**body, "model": "llama3"}
    (line,) = [line for line in logs if line["event"] == "request"]
    assert (line["model"], line["requested_model"]) == ("llama3", "gpt-4o")


@pytest.mark.parametrize("model", ["llama3", "claude-3-5-haiku"])
async def test_only_a_name_of_the_operators_is_another_one_in_the_log(service: Service, model: str) -> None:
    """What a client calls by its own name has one."""
    with capture_logs() as logs:
        await service.client.post("/api/llm/generate", json={"model": model, "prompt": "Hi"})
    (line,) = [line for line in logs if line["event"] == "request"]
    assert line.get("requested_model", "") == ("" if model == "llama3" else model)


@every_family
async def test_the_next_model_is_asked_for_when_the_first_is_not_there(
    service: Service, fake: FakeOllama, family: Family
) -> None:
    """It is one generation, whose name in the log is that of the model which answered."""
    with capture_logs() as logs:
        answer = await service.client.post(family.path, json={**family.whole, "model": "smart"})
    assert answer.status_code == 200, answer.text
    assert models_asked(fake) == ["big", "llama3"]
    (line,) = [line for line in logs if line["event"] == "request"]
    assert (line["model"], line["requested_model"], line["outcome"]) == ("llama3", "smart", "done")


@pytest.mark.parametrize("mode", [Mode.BUSY_503, None])
async def test_the_next_model_is_asked_for_when_all_that_have_the_first_are_busy_or_gone(
    serve: ServeFactory, fake: FakeOllama, mode: Mode | None
) -> None:
    """It is answered by another backend then."""
    other = FakeOllama(models=["big:latest"])
    async with other, serve(other.url, fake.url, model_aliases=ALIASES) as service:
        await service.client.get("/api/llm/models")
        if mode is None:
            await other.stop()
        else:
            other.mode = mode
        answer = await service.client.post("/v1/completions", json={"model": "smart", "prompt": "Hi"})
    assert answer.status_code == 200, answer.text
    assert models_asked(fake) == ["llama3"]


async def test_the_next_model_is_asked_for_when_the_queue_of_the_first_is_full(
    serve: ServeFactory, fake: FakeOllama
) -> None:
    """Who would be refused has another backend; who waits already goes on waiting."""
    async with FakeOllama(models=["big:latest"]) as other:
        settings: dict[str, Any] = {"model_aliases": ALIASES, "max_concurrency": 1, "max_queue": 1}
        async with serve(other.url, fake.url, **settings) as service:
            await service.client.get("/api/llm/models")
            other.hold()
            asks = [service.client.post("/api/generate", json={"model": "smart", "prompt": "Hi"}) for _ in range(3)]
            tasks = [asyncio.create_task(ask) for ask in asks]
            await fake.wait_until(lambda: models_asked(fake) == ["llama3"])
            other.release()
            assert [(await task).status_code for task in tasks] == [200, 200, 200]
        assert models_asked(other) == ["big", "big"]


async def test_what_the_client_did_wrong_is_asked_once(serve: ServeFactory, fake: FakeOllama) -> None:
    """It would be wrong for every model."""
    fake.models = ["big:latest", "llama3:latest"]
    async with serve(fake.url, model_aliases=ALIASES) as service:
        answer = await service.client.post("/api/generate", json={"model": "smart", "prompt": 7})
    assert answer.status_code == 400
    assert models_asked(fake) == ["big"]


async def test_where_no_model_is_there_the_last_answer_counts(serve: ServeFactory, fake: FakeOllama) -> None:
    """As if it had been asked for by its own name."""
    async with serve(fake.url, model_aliases="smart=big|bigger") as service:
        answers = [
            await service.client.post("/api/generate", json={"model": model, "prompt": "Hi"})
            for model in ("smart", "bigger")
        ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content


async def test_a_part_of_the_conversations_goes_to_the_canary(serve: ServeFactory, fake: FakeOllama) -> None:
    """About as much as its share, and each conversation always to the same model."""
    fake.models = ["old:latest", "new:latest"]
    async with serve(fake.url, model_aliases="mine=old*3|new*1") as service:
        for number in range(80):
            for _ in range(2):
                messages = [{"role": "user", "content": f"question {number}"}]
                await service.client.post("/api/chat", json={"model": "mine", "messages": messages, "stream": False})
    asked = models_asked(fake)
    assert asked[::2] == asked[1::2]
    assert 8 <= Counter(asked[::2])["new"] <= 34  # 20 of 80 are expected


async def test_names_are_listed_shown_and_found(service: Service) -> None:
    """As the models that they stand for, beside them."""
    tags = (await service.client.get("/api/tags")).json()["models"]
    listed = (await service.client.get("/v1/models")).json()["data"]
    own = (await service.client.get("/api/llm/models")).json()
    expected = ["llama3:latest", "gpt-4o", "smart"]
    assert [model["name"] for model in tags] == [model["model"] for model in tags] == expected
    assert [model["id"] for model in listed] == [model["name"] for model in own["models"]] == expected
    assert (await service.client.get("/v1/models/gpt-4o")).json()["id"] == "gpt-4o"
    shown = [await service.client.post("/api/show", json={"model": name}) for name in ("gpt-4o", "llama3")]
    assert shown[0].json() == shown[1].json()
    assert (await service.client.post("/v1/messages/count_tokens", json={"model": "gpt-4o", "messages": []})).is_success


async def test_the_only_model_is_still_the_only_one(service: Service, fake: FakeOllama) -> None:
    """A second name makes no second model of it."""
    assert (await service.client.post("/api/llm/generate", json={"prompt": "Hi"})).status_code == 200
    assert models_asked(fake) == ["llama3:latest"]


async def test_a_default_model_may_be_such_a_name(serve: ServeFactory, fake: FakeOllama) -> None:
    """It is looked up as one that was said."""
    async with serve(fake.url, model_aliases=ALIASES, default_model="gpt-4o") as service:
        assert (await service.client.post("/api/llm/generate", json={"prompt": "Hi"})).status_code == 200
    assert models_asked(fake) == ["llama3"]


async def test_a_key_may_use_the_names_on_its_list(service: Service, fake: FakeOllama) -> None:
    """What the operator means by a name needs no place on it; a model of its own needs one, and so does a name."""
    administrator = {"X-API-Key": ADMIN_KEY}
    made = {}
    for name, models in (("named", ["gpt-4o"]), ("plain", ["llama3"])):
        answer = await service.stranger.post(
            "/api/admin/keys", json={"name": name, "models": models}, headers=administrator
        )
        made[name] = {"X-API-Key": answer.json()["key"]}
    statuses = {
        (name, model): (
            await service.stranger.post("/api/generate", json={"model": model, "prompt": "Hi"}, headers=headers)
        ).status_code
        for name, headers in made.items()
        for model in ("gpt-4o", "llama3")
    }
    assert statuses == {
        ("named", "gpt-4o"): 200,
        ("named", "llama3"): 403,
        ("plain", "gpt-4o"): 403,
        ("plain", "llama3"): 200,
    }
    assert models_asked(fake) == ["llama3", "llama3"]
    listed = (await service.stranger.get("/api/tags", headers=made["named"])).json()["models"]
    assert [model["name"] for model in listed] == ["gpt-4o"]
    assert (await service.stranger.post("/api/llm/generate", json={"prompt": "Hi"}, headers=made["named"])).is_success


@pytest.mark.parametrize("route", ["/api/delete", "/api/copy", "/api/pull"])
async def test_what_changes_a_model_takes_it_by_its_own_name(service: Service, fake: FakeOllama, route: str) -> None:
    """Nobody deletes a model by a name that may mean another one tomorrow."""
    body = {"source": "gpt-4o", "destination": "x"} if route == "/api/copy" else {"model": "gpt-4o"}
    method = "DELETE" if route == "/api/delete" else "POST"
    await service.client.request(method, route, json=body, headers={"X-API-Key": ADMIN_KEY})
    (asked,) = [request for request in fake.requests if request.path == route]
    assert json.loads(asked.body) == body


async def test_a_form_names_a_model_too(service: Service, fake: FakeOllama) -> None:
    """Only the field is another; the file may have the same words in it."""
    sound = b"RIFF gpt-4o"
    answer = await service.client.post(
        "/v1/audio/transcriptions", files={"file": ("gpt-4o.wav", sound)}, data={"model": "gpt-4o"}
    )
    asked = next(request for request in fake.requests if request.path == "/v1/audio/transcriptions")
    assert asked.body.count(b"gpt-4o") == 2
    assert b'name="model"\r\n\r\nllama3\r\n' in asked.body, answer.text


PINNED: Final[dict[str, Any]] = {"pin_num_ctx": "llama3=8192", "pin_keep_alive": "llama3=24h"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"prompt": "Hi", "keep_alive": 0, "options": {"num_ctx": 2048, "seed": 1}}),
        ("/api/chat", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/api/embed", {"input": "Hi", "keep_alive": "0s"}),
        ("/api/embeddings", {"prompt": "Hi", "options": {"num_ctx": 1}}),
        ("/api/llm/generate", {"prompt": "Hi", "options": {"num_ctx": 1}, "keep_alive": 0}),
        ("/api/llm/chat", {"messages": [{"role": "user", "content": "Hi"}], "keep_alive": 0}),
        ("/api/llm/embed", {"input": "Hi", "keep_alive": 0}),
    ],
)
async def test_no_client_changes_what_is_pinned(
    serve: ServeFactory, fake: FakeOllama, path: str, body: dict[str, Any]
) -> None:
    """Neither the context that all share, nor how long the model stays loaded; by an alias no more than by its name."""
    async with serve(fake.url, model_aliases=ALIASES, **PINNED) as service:
        for model in ("llama3", "gpt-4o"):
            assert (await service.client.post(path, json={**body, "model": model})).status_code == 200
    asked = [json.loads(request.body) for request in fake.requests if route_of(request.path)[0] in INFERENCE]
    assert [told["model"] for told in asked] == ["llama3", "llama3"]
    assert [told["keep_alive"] for told in asked] == ["24h", "24h"]
    kept = {name: value for name, value in body.get("options", {}).items() if name != "num_ctx"}
    assert [told["options"] for told in asked] == [{**kept, "num_ctx": 8192}] * 2


async def test_a_model_cannot_be_unloaded_where_that_is_pinned(serve: ServeFactory, fake: FakeOllama) -> None:
    """What asks for it loads the model, if anything."""
    async with serve(fake.url, **PINNED) as service:
        await service.client.post("/api/generate", json={"model": "llama3", "keep_alive": 0})
    (asked,) = [request for request in fake.requests if request.path == "/api/generate"]
    assert json.loads(asked.body) == {"model": "llama3", "options": {"num_ctx": 8192}, "keep_alive": "24h"}
