"""The inference routes against a healthy backend."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import Service

TEXT = "".join(DEFAULT_WORDS)


def lines_of(text: str) -> list[dict[str, Any]]:
    """NDJSON, parsed."""
    return [json.loads(line) for line in text.split("\n") if line]


def events_of(text: str) -> list[dict[str, Any]]:
    """The data of server-sent events, parsed."""
    return [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n") if event]


async def test_generate_answers_one_object_with_usage(service: Service) -> None:
    """`/generate` answers one JSON object in Ollama's shape, whatever `stream` says."""
    answer = await service.client.post("/api/llm/generate", json={"prompt": "Hi there", "stream": True})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["response"] == TEXT
    assert body["done"] is True
    assert body["eval_count"] == len(DEFAULT_WORDS)
    assert body["prompt_eval_count"] == 2


async def test_stream_is_the_backends_bytes(service: Service, fake: FakeOllama) -> None:
    """`/stream` answers the backend's NDJSON byte for byte, with headers that keep proxies from buffering."""
    body = {"model": "llama3", "prompt": "Hi", "stream": False}
    answer = await service.client.post("/api/llm/stream", json=body)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    lines = lines_of(answer.text)
    assert "".join(line["response"] for line in lines) == TEXT
    assert [line["done"] for line in lines] == [False] * len(DEFAULT_WORDS) + [True]
    assert fake.requests[-1].json()["stream"] is True


async def test_chat_streams_when_asked(service: Service) -> None:
    """`/chat` answers whole by default and streams when `stream` is true."""
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    whole = await service.client.post("/api/llm/chat", json=body)
    assert whole.json()["message"] == {"role": "assistant", "content": TEXT}
    streamed = await service.client.post("/api/llm/chat", json={**body, "stream": True})
    assert streamed.headers["content-type"] == "application/x-ndjson"
    assert "".join(line["message"]["content"] for line in lines_of(streamed.text)) == TEXT


@pytest.mark.parametrize(("route", "body"), [("stream", {"prompt": "Hi"}), ("chat", {"messages": [], "stream": True})])
async def test_accept_chooses_events(service: Service, route: str, body: dict[str, Any]) -> None:
    """`Accept: text/event-stream` turns each line into one event."""
    body = {**body, "messages": [{"role": "user", "content": "Hi"}]} if route == "chat" else body
    answer = await service.client.post(f"/api/llm/{route}", json=body, headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert events[-1]["done"] is True
    assert len(events) == len(DEFAULT_WORDS) + 1


async def test_embed_answers_one_vector_an_input(service: Service) -> None:
    """`/embed` takes one text or several."""
    for text, count in (("sky", 1), (["sky", "grass"], 2)):
        answer = await service.client.post("/api/llm/embed", json={"input": text})
        assert len(answer.json()["embeddings"]) == count


async def test_every_field_reaches_the_backend(service: Service, fake: FakeOllama) -> None:
    """All of Ollama's fields, and unknown ones, go to the backend as the client wrote them."""
    body = {
        "model": "llama3",
        "prompt": "Hi",
        "suffix": "end",
        "system": "be brief",
        "template": "{{ .Prompt }}",
        "raw": False,
        "images": ["aGVsbG8="],
        "format": {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}},
        "options": {"temperature": 0, "num_ctx": 2048, "a_new_option": [1, 2.5, None]},
        "keep_alive": "5m",
        "think": "high",
        "logprobs": True,
        "top_logprobs": 3,
        "truncate": True,
        "shift": None,
        "a_field_of_next_month": {"x": 12345678901234567890, "ü": "\u2028"},
    }
    answer = await service.client.post("/api/llm/generate", json=body)
    assert answer.status_code == 200
    assert fake.requests[-1].json() == {**body, "stream": False}


async def test_only_our_own_headers_reach_the_backend(service: Service, fake: FakeOllama) -> None:
    """Credentials, cookies, `Origin` and forwarding headers stay here; a JSON body has its length."""
    headers = {
        "Cookie": "a=b",
        "Origin": "http://localhost",
        "X-Forwarded-For": "10.0.0.1",
        "Forwarded": "for=10.0.0.1",
        "Referer": "http://localhost/page",
    }
    answer = await service.client.post("/api/llm/generate", json={"prompt": "Hi"}, headers=headers)
    assert answer.status_code == 200
    names = {name for name, _ in fake.requests[-1].headers}
    assert names == {"host", "user-agent", "accept-encoding", "accept", "connection", "content-type", "content-length"}


async def test_models_are_merged_and_counted(serve: ServeFactory) -> None:
    """`/models` lists every backend's models once, with their count."""
    async with (
        FakeOllama(models=["a:latest", "b:latest"]) as one,
        FakeOllama(models=["b:latest", "c:latest"]) as two,
        serve(one.url, two.url) as service,
    ):
        answer = (await service.client.get("/api/llm/models")).json()
        assert [model["name"] for model in answer["models"]] == ["a:latest", "b:latest", "c:latest"]
        assert answer["count"] == 3
        assert "partial" not in answer


async def test_a_dead_backend_makes_models_partial_and_health_degraded(serve: ServeFactory, fake: FakeOllama) -> None:
    """With one of two backends gone, `/models` and `/health` say so, and generations go to the other."""
    async with FakeOllama() as dead:
        gone = dead.url
    async with serve(gone.replace("//", "//user:secret@"), fake.url) as service:
        models = (await service.client.get("/api/llm/models")).json()
        assert models["partial"] is True
        assert models["unreachable"] == [gone.replace("//", "//***@")]
        health = await service.client.get("/api/llm/health")
        assert health.status_code == 200
        assert health.json()["status"] == "degraded"
        assert [backend["reachable"] for backend in health.json()["backends"]] == [False, True]
        assert "secret" not in health.text
        answer = await service.client.post("/api/llm/generate", json={"model": "llama3", "prompt": "Hi"})
        assert answer.status_code == 200
        assert (await service.stranger.get("/health/ready")).status_code == 200


async def test_health_describes_each_backend(service: Service, fake: FakeOllama) -> None:
    """`/api/llm/health` gives url, kind, version, latency and models."""
    (backend,) = (await service.client.get("/api/llm/health")).json()["backends"]
    assert backend.pop("latency_ms") > 0
    assert backend == {
        "url": fake.url,
        "kind": "ollama",
        "reachable": True,
        "version": fake.version,
        "models": ["llama3:latest"],
    }


async def test_a_list_that_is_refused_is_told_in_the_backends_words(service: Service, fake: FakeOllama) -> None:
    """Its status says that it is no list, whatever stands in it: health tells what the backend said."""
    fake.probe_mode = Mode.ERROR_500
    (backend,) = (await service.client.get("/api/llm/health")).json()["backends"]
    assert (backend["reachable"], backend["models"]) == (False, [])
    assert "model runner has unexpectedly stopped" in backend["error"]


async def test_no_backend_is_unhealthy(serve: ServeFactory) -> None:
    """Without any usable backend health and readiness are 503, and so is the list of models; liveness stays 200."""
    async with FakeOllama() as dead:
        gone = dead.url
    async with serve(gone) as service:
        health = await service.client.get("/api/llm/health")
        assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
        assert (await service.stranger.get("/health/ready")).status_code == 503
        assert (await service.client.get("/api/llm/models")).status_code == 503
        assert (await service.stranger.get("/health")).status_code == 200
        assert (await service.stranger.get("/health/live")).status_code == 200


async def test_a_model_is_chosen_when_none_is_named(serve: ServeFactory, fake: FakeOllama) -> None:
    """`model` may be left out: `DEFAULT_MODEL`, or the only model, is taken; with several the field is asked for."""
    async with serve(fake.url) as service:
        await service.client.post("/api/llm/generate", json={"prompt": "Hi"})
        assert fake.requests[-1].json()["model"] == "llama3:latest"
    fake.models = ["one:latest", "two:latest"]
    async with serve(fake.url) as service:
        answer = await service.client.post("/api/llm/generate", json={"prompt": "Hi"})
        assert answer.status_code == 422
        assert answer.json()["details"][0]["loc"] == ["model"]
    async with serve(fake.url, default_model="two") as service:
        await service.client.post("/api/llm/generate", json={"prompt": "Hi"})
        assert fake.requests[-1].json()["model"] == "two"


async def test_a_generation_goes_to_a_backend_that_has_the_model(serve: ServeFactory) -> None:
    """Among several backends the one that lists the model is asked, under any of the model's names."""
    async with (
        FakeOllama(models=["a:latest"]) as one,
        FakeOllama(models=["b:latest"]) as two,
        serve(one.url, two.url) as service,
    ):
        for name in ("b", "B:latest", "library/b"):
            answer = await service.client.post("/api/llm/generate", json={"model": name, "prompt": "Hi"})
            assert answer.status_code == 200
        assert sum(request.path == "/api/generate" for request in one.requests) == 0
        answer = await service.client.post("/api/llm/generate", json={"model": "nobody-has-it", "prompt": "Hi"})
        assert answer.status_code == 404


async def test_a_busy_backend_is_passed_over(serve: ServeFactory) -> None:
    """A backend that is busy, or has just gone, is passed over while no byte has reached the client."""
    async with FakeOllama(mode=Mode.BUSY_503) as busy, FakeOllama() as free, serve(busy.url, free.url) as service:
        for _ in range(4):
            for route in ("generate", "stream"):
                answer = await service.client.post(f"/api/llm/{route}", json={"model": "llama3", "prompt": "Hi"})
                assert answer.status_code == 200
                assert '"done":true' in answer.text.replace(" ", "")


async def test_an_empty_prompt_loads_the_model(service: Service) -> None:
    """Ollama answers an empty prompt with plain JSON; as a stream it is one whole line."""
    answer = await service.client.post("/api/llm/stream", json={"prompt": ""})
    assert answer.status_code == 200
    (line,) = lines_of(answer.text)
    assert line["done_reason"] == "load"


async def test_lines_survive_any_packets(service: Service, fake: FakeOllama) -> None:
    """Lines cut over packets, megabytes long, or with unusual line separators in their text arrive whole."""
    for mode in (Mode.SPLIT_LINES, Mode.HUGE_LINES, Mode.ODD_UNICODE):
        fake.mode = mode
        plain = await service.client.post("/api/llm/stream", json={"prompt": "Hi"})
        lines = lines_of(plain.text)
        assert lines[-1]["done"] is True
        events = await service.client.post(
            "/api/llm/stream", json={"prompt": "Hi"}, headers={"Accept": "text/event-stream"}
        )
        texts = [event["response"] for event in events_of(events.text)]
        assert texts == [line["response"] for line in lines]


async def test_other_info_tells_versions(service: Service) -> None:
    """`/api/other/info` gives uptime, versions and feature switches."""
    info = (await service.client.get("/api/other/info")).json()
    assert info["features"] == {"auth": True, "docs": True, "console": True}
    assert info["libraries"]["quart"].startswith("0.22")
    assert info["uptime_seconds"] >= 0
