"""`Idempotency-Key`: who asks again joins the generation that runs, or gets what it gave; nothing is done twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import httpx
import pytest
import zstandard

from mlops_backend.services.other.journals import Journals, MemoryJournals
from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import ADMIN_KEY, Service
from tests.web.llm.streaming import CHAT, PROMPT, make_key, rows

TEXT: Final = "".join(DEFAULT_WORDS)
NAMED: Final = {"Idempotency-Key": "first try"}
ROUTES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "own stream": ("/api/llm/stream", PROMPT),
    "own whole": ("/api/llm/chat", {**CHAT, "stream": False}),
    "own embed": ("/api/llm/embed", {"model": "llama3", "input": "Hi"}),
    "ollama": ("/api/chat", CHAT),
    "openai": ("/v1/chat/completions", {**CHAT, "stream": True}),
    "openai whole": ("/v1/chat/completions", CHAT),
    "anthropic": ("/v1/messages", {**CHAT, "stream": True, "max_tokens": 9}),
}


def inferences(fake: FakeOllama) -> int:
    """How many generations a backend was asked for."""
    return sum(request.method == "POST" and request.path != "/api/show" for request in fake.requests)


@pytest.mark.parametrize("route", ROUTES)
async def test_the_same_request_gets_the_same_bytes(service: Service, fake: FakeOllama, route: str) -> None:
    """One generation and one row, whatever the route; the answer to a repetition says what it is."""
    path, body = ROUTES[route]
    first, *others = [await service.client.post(path, json=body, headers=NAMED) for _ in range(3)]
    assert (first.status_code, "idempotent-replayed" in first.headers) == (200, False)
    for other in others:
        assert (other.status_code, other.content) == (200, first.content)
        assert other.headers["content-type"] == first.headers["content-type"]
        assert other.headers["idempotent-replayed"] == "true"
        assert len(other.headers.get_list("x-request-id")) == 1
    assert inferences(fake) == 1
    plain = await service.client.post(path, json=body)
    assert (plain.status_code, "idempotent-replayed" in plain.headers) == (200, False)
    assert sorted(plain.headers) == sorted(first.headers)
    assert [row["outcome"] for row in await rows(service, 2)] == ["done", "done"]


async def test_a_replay_tells_nothing_of_the_limits_that_were(service: Service) -> None:
    """Neither does a stream to its readers: what was left when it began is not what is left now."""
    _, key = await make_key(service, "limited", limits={"requests": "60/minute"})
    first, again = [await service.stranger.post("/api/chat", json=CHAT, headers={**key, **NAMED}) for _ in range(2)]
    assert "RateLimit" in first.headers
    begun = await service.stranger.post("/api/llm/streams", json=PROMPT, headers=key)
    assert "RateLimit" in begun.headers
    read = await service.stranger.get(begun.json()["url"])
    for answer in (again, read):
        assert (answer.status_code, {"ratelimit", "ratelimit-policy"} & set(answer.headers)) == (200, set())


async def test_metrics_count_each_request_of_a_client_once(service: Service) -> None:
    """And the generation once, whoever else gets its answer."""
    for _ in range(3):
        assert (await service.client.post("/api/chat", json=CHAT, headers=NAMED)).status_code == 200
    await rows(service)
    told = (await service.client.get("/metrics", headers={"X-API-Key": ADMIN_KEY})).text.splitlines()
    assert 'mlops_requests_total{method="POST",route="/api/chat",status="200"} 3.0' in told
    assert 'mlops_generations_total{model="llama3",outcome="done"} 1.0' in told


async def test_who_asks_amid_the_answer_joins_it(service: Service, fake: FakeOllama) -> None:
    """Both get all of it, at the pace at which it is made."""
    fake.hold()
    path, body = ROUTES["openai"]
    tasks = [asyncio.create_task(service.client.post(path, json=body, headers=NAMED)) for _ in range(3)]
    async with asyncio.timeout(20):
        while not fake.active:
            await asyncio.sleep(0.01)
    fake.release(2)
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in tasks)
    fake.release()
    answers = await asyncio.gather(*tasks)
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 2
    assert (inferences(fake), len(await rows(service))) == (1, 1)


async def test_a_cut_connection_costs_nothing_twice(service: Service, fake: FakeOllama) -> None:
    """A client that left amid its answer, and one that left before it came, find it when they ask again."""
    path, body = ROUTES["openai"]
    fake.hold()
    fake.release(2)
    async with service.client.stream("POST", path, json=body, headers=NAMED) as answer:
        await anext(answer.aiter_raw())
    whole = {"model": "llama3", "prompt": "Hi", "stream": False}
    headers = {"Idempotency-Key": "second"}
    with pytest.raises(httpx.ReadTimeout):
        await service.client.post("/api/generate", json=whole, headers=headers, timeout=0.3)
    fake.release()
    again = await service.client.post(path, json=body, headers=NAMED)
    assert again.text.endswith("data: [DONE]\n\n")
    assert (await service.client.post("/api/generate", json=whole, headers=headers)).json()["response"] == TEXT
    assert inferences(fake) == 2
    assert [row["outcome"] for row in await rows(service, 2)] == ["done", "done"]


@pytest.mark.parametrize("route", ["own stream", "openai", "anthropic"])
async def test_what_keeps_it_forgets_it_amid_the_answer(service: Service, fake: FakeOllama, route: str) -> None:
    """The stream ends with an error in the words of its API."""
    path, body = ROUTES[route]
    fake.hold()
    fake.release(1)
    async with service.client.stream("POST", path, json=body, headers=NAMED) as answer:
        chunks = answer.aiter_text()
        await anext(chunks)
        journals = service.services.get(Journals)  # type: ignore[type-abstract]
        assert isinstance(journals, MemoryJournals)
        await journals.forget(next(iter(journals._kept)))
        last = [chunk async for chunk in chunks][-1]
    assert "There is no such stream" in last
    assert ("event: error" in last) == (route != "own stream")


async def test_another_request_needs_another_key(service: Service, fake: FakeOllama) -> None:
    """Another body, or another route: 409 in the words of its API, and nothing is generated."""
    path, body = ROUTES["openai whole"]
    await service.client.post(path, json=body, headers=NAMED)
    refused = await service.client.post(path, json={**body, "temperature": 1}, headers=NAMED)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_key_reused")
    refused = await service.client.post("/api/chat", json=body, headers=NAMED)
    assert refused.status_code == 409
    for wrong in ("", "x" * 256, "tab\there"):
        refused = await service.client.post(path, json=body, headers={"Idempotency-Key": wrong})
        assert (refused.status_code, "Idempotency-Key" in refused.json()["error"]["message"]) == (400, True)
    assert inferences(fake) == 1


async def test_a_form_that_is_sent_again_is_the_same_request(service: Service, fake: FakeOllama) -> None:
    """Libraries choose another border for it each time; another file is another request."""

    async def ask(sound: bytes) -> httpx.Response:
        form: dict[str, Any] = {"data": {"model": "llama3"}, "files": {"file": ("a.wav", sound, "audio/wav")}}
        return await service.client.post("/v1/audio/transcriptions", headers=NAMED, **form)

    first, again, other = [await ask(sound) for sound in (b"hum", b"hum", b"hem")]
    assert (first.status_code, again.content, again.headers["idempotent-replayed"]) == (200, first.content, "true")
    assert (other.status_code, inferences(fake)) == (409, 1)
    typed = {**NAMED, "Idempotency-Key": "no form", "Content-Type": "application/json; boundary=Hi"}
    bodies = [json.dumps({**CHAT, "stream": False, "user": user}).encode() for user in ("HiHi", "Hi")]
    answers = [await service.client.post("/v1/chat/completions", content=body, headers=typed) for body in bodies]
    assert [answer.status_code for answer in answers] == [200, 409]


async def test_events_are_no_answer_to_who_wants_lines(service: Service) -> None:
    """On our own routes `Accept` says which of them a stream is, and so it is a part of the request."""
    lines, events = {"Accept": "application/x-ndjson"}, {"Accept": "text/event-stream"}
    answers = [
        await service.client.post("/api/llm/stream", json=PROMPT, headers={**NAMED, **accept})
        for accept in ({}, lines, events)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 409]


async def test_each_key_has_names_of_its_own(service: Service, fake: FakeOllama) -> None:
    """What another key named so is nobody else's."""
    _, other = await make_key(service, "other")
    path, body = ROUTES["openai whole"]
    answers = [await service.client.post(path, json=body, headers={**NAMED, **owner}) for owner in ({}, other)]
    assert ["idempotent-replayed" in answer.headers for answer in answers] == [False, False]
    assert inferences(fake) == 2


async def test_a_failure_is_not_kept(service: Service, fake: FakeOllama) -> None:
    """Who sends it again begins anew, whether it failed before its first byte, amid its answer, or was refused."""
    path, body = ROUTES["openai"]
    for mode in (Mode.ERROR_500, Mode.CUT_MID_STREAM):
        fake.mode = mode
        await service.client.post(path, json=body, headers=NAMED)
    fake.mode = Mode.NORMAL
    refused = await service.client.post(path, json={**body, "model": "nobody"}, headers={"Idempotency-Key": "other"})
    assert refused.status_code == 404
    answer = await service.client.post(path, json={**body, "model": "llama3"}, headers={"Idempotency-Key": "other"})
    assert answer.status_code == 200
    answer = await service.client.post(path, json=body, headers=NAMED)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "idempotent-replayed" not in answer.headers


async def test_an_answer_that_is_too_long_is_for_who_asked(serve: ServeFactory, fake: FakeOllama) -> None:
    """It is whole, and not kept: who asks again has it made anew, and who joined meanwhile is told so."""
    fake.words = ("x" * 50_000,) * 3
    async with serve(fake.url, stream_bytes=65_536) as service:
        fake.hold()
        path, body = ROUTES["openai whole"]
        first, second = [asyncio.create_task(service.client.post(path, json=body, headers=NAMED)) for _ in range(2)]
        async with asyncio.timeout(20):
            while not fake.active:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        fake.release()
        answers = sorted(await asyncio.gather(first, second), key=lambda answer: answer.status_code)
        assert answers[0].json()["choices"][0]["message"]["content"] == "x" * 150_000
        assert (answers[1].status_code, answers[1].json()["error"]["code"]) == (410, "stream_gone")
        again = await service.client.post(path, json=body, headers=NAMED)
        assert (again.content[-1000:], "idempotent-replayed" in again.headers) == (answers[0].content[-1000:], False)


async def test_a_stream_is_begun_once(service: Service, fake: FakeOllama) -> None:
    """Who begins one again is told of the same."""
    first, second = [await service.client.post("/api/llm/streams", json=PROMPT, headers=NAMED) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert (await service.stranger.get(first.json()["url"])).status_code == 200
    assert inferences(fake) == 1


async def test_a_compressed_body_is_one(service: Service) -> None:
    """What its client's SDK compressed is read as ever."""
    path, body = ROUTES["openai whole"]
    headers = {**NAMED, "Content-Encoding": "zstd", "Content-Type": "application/json"}
    content = zstandard.compress(json.dumps(body).encode())
    for _ in range(2):
        answer = await service.client.post(path, content=content, headers=headers)
        assert "choices" in answer.json(), answer.text
        assert answer.json()["choices"][0]["message"]["content"] == TEXT


async def test_its_time_passes(serve: ServeFactory, fake: FakeOllama) -> None:
    """After `STREAM_TTL` a name means nothing any more."""
    async with serve(fake.url, stream_ttl=1) as service:
        path, body = ROUTES["own whole"]
        await service.client.post(path, json=body, headers=NAMED)
        await asyncio.sleep(1.2)
        answer = await service.client.post(path, json=body, headers=NAMED)
        assert "idempotent-replayed" not in answer.headers
    assert inferences(fake) == 2


async def test_nobody_comes_for_it(serve: ServeFactory, fake: FakeOllama) -> None:
    """After `STREAM_GRACE` the backend is let go of, and who asks then begins anew."""
    fake.hold()
    async with serve(fake.url, stream_grace=0.3) as service:
        path, body = ROUTES["openai"]
        with pytest.raises(httpx.ReadTimeout):
            await service.client.post(path, json=body, headers=NAMED, timeout=0.2)
        async with asyncio.timeout(20):
            while fake.active:
                await asyncio.sleep(0.01)
        fake.release()
        assert (await service.client.post(path, json=body, headers=NAMED)).text.endswith("data: [DONE]\n\n")
        assert [row["outcome"] for row in await rows(service, 2)] == ["done", "client_gone"]


async def test_limits_count_it_once(serve: ServeFactory, fake: FakeOllama) -> None:
    """A repetition is no request of its key's."""
    async with serve(fake.url) as service:
        _, key = await make_key(service, "limited", limits={"requests": "1/hour"})
        path, body = ROUTES["own whole"]
        for _ in range(3):
            answer = await service.client.post(path, json=body, headers={**NAMED, **key})
            assert answer.status_code == 200
        other = {"Idempotency-Key": "another"}
        assert (await service.client.post(path, json=body, headers={**other, **key})).status_code == 429
        assert sorted(row["outcome"] for row in await rows(service, 2)) == ["done", "refused"]
