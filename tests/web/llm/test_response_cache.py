"""The response cache over HTTP: who gets a kept answer, what it costs, and what is never kept."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx
import pytest

from mlops_backend.services.other.usage import Ledger
from tests.conftest import ServeFactory
from tests.e2e.raw_client import RawClient
from tests.e2e.test_resources import eventually
from tests.fakes.ollama import FakeOllama, Mode
from tests.fakes.ollama_routes import INFERENCE, route_of
from tests.fakes.redis_server import RedisServer
from tests.ledger_rows import until_written
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.conversations.stored_replies import in_ledger
from tests.web.dialects.drop_in_families import FAMILIES, Family
from tests.web.keys.test_admin_keys import make, manage
from tests.web.keys.test_key_limits import left

USE: Final = {"X-Cache": "use"}
COLD: Final[dict[str, Any]] = {"model": "llama3", "prompt": "Hi", "options": {"temperature": 0}}
NAMELESS: Final = {"prompt": "Hi", "options": {"temperature": 0}}
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
OWN: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "generate": ("/api/llm/generate", COLD),
    "stream": ("/api/llm/stream", COLD),
    "chat": ("/api/llm/chat", {**COLD, "messages": [{"role": "user", "content": "Hi"}]}),
    "chat, streamed": ("/api/llm/chat", {**COLD, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}),
    "embed": ("/api/llm/embed", {"model": "llama3", "input": ["Hi"]}),
    "Ollama's embed": ("/api/embed", {"model": "llama3", "input": ["Hi"]}),
    "Ollama's older embed": ("/api/embeddings", {"model": "llama3", "prompt": "Hi"}),
    "OpenAI's embeddings": ("/v1/embeddings", {"model": "llama3", "input": "Hi"}),
}


def cold(family: Family, *, stream: bool) -> dict[str, Any]:
    """A body of a family that has one answer."""
    fixed = {"options": {"temperature": 0}} if family.path.startswith("/api/") else {"temperature": 0}
    return {**(family.streamed if stream else family.whole), **fixed}


def generations(fake: FakeOllama) -> int:
    """How many generations were asked of the backend."""
    return sum(route_of(request.path)[0] in INFERENCE for request in fake.requests)


async def ask(service: Service, path: str = "/api/generate", body: Any = COLD, **headers: str) -> httpx.Response:
    """Ask for what is kept, if anything is."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(path, json=body, headers={**USE, **named})


async def said(service: Service, path: str = "/api/generate", body: Any = COLD, **headers: str) -> str | None:
    """What the cache had to do with an answer."""
    answer = await ask(service, path, body, **headers)
    return str(answer.headers["X-Cache"]) if "X-Cache" in answer.headers else None


async def assert_kept(service: Service, fake: FakeOllama, path: str, body: Any) -> None:
    """The second answer has the same bytes, and the backend was asked once."""
    first, second = await ask(service, path, body), await ask(service, path, body)
    assert [answer.status_code for answer in (first, second)] == [200, 200]
    assert [answer.headers["X-Cache"] for answer in (first, second)] == ["miss", "hit"]
    assert first.content == second.content != b""
    assert generations(fake) == 1
    for name in ("Content-Type", "Cache-Control", "Transfer-Encoding", "Content-Length"):
        assert first.headers.get(name) == second.headers.get(name)
    assert second.headers["Age"] == "0"
    assert "Age" not in first.headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@every_family
async def test_the_second_answer_of_a_family_is_kept(
    service: Service, fake: FakeOllama, family: Family, stream: bool
) -> None:
    """On every family's route, whole or streamed, with its framing and its end."""
    await assert_kept(service, fake, family.path, cold(family, stream=stream))


@pytest.mark.parametrize(("path", "body"), OWN.values(), ids=OWN)
async def test_the_second_answer_of_our_own_api_is_kept(
    service: Service, fake: FakeOllama, path: str, body: Any
) -> None:
    """On our own routes too, and embeddings everywhere."""
    await assert_kept(service, fake, path, body)


async def test_lines_and_events_are_kept_apart(service: Service) -> None:
    """What `Accept` asks for is a part of the call on our own routes."""
    lines = await ask(service, "/api/llm/stream")
    events = await ask(service, "/api/llm/stream", Accept="text/event-stream")
    again = await ask(service, "/api/llm/stream", Accept="text/event-stream")
    assert [each.headers["X-Cache"] for each in (lines, events, again)] == ["miss", "miss", "hit"]
    assert again.headers["Content-Type"] == "text/event-stream"
    assert again.content == events.content != lines.content


async def test_a_stream_with_an_address_is_the_call_that_began_it(service: Service, fake: FakeOllama) -> None:
    """Its reader is told whether it was kept, since who began it is answered before that is known."""
    read = []
    for _ in range(2):
        begun = (await ask(service, "/api/llm/streams")).json()
        read.append(await service.stranger.get(begun["url"]))
    assert [answer.headers["X-Cache"] for answer in read] == ["miss", "hit"]
    assert (read[1].content, generations(fake)) == (read[0].content, 1)


async def test_who_does_not_ask_gets_no_kept_answer(service: Service, fake: FakeOllama) -> None:
    """Without the header, and with others, nothing is looked for, kept or said."""
    assert await said(service) == "miss"
    for header in ({}, {"X-Cache": "no"}, {"X-Cache": ""}):
        answer = await service.client.post("/api/generate", json=COLD, headers=header)
        assert "X-Cache" not in answer.headers
    assert generations(fake) == 4


async def test_calls_that_have_not_one_answer_are_told_so(service: Service, fake: FakeOllama) -> None:
    """Warm, compressed or declared as something else, without a model or with signs of life: the backend is asked."""
    warm = {**COLD, "options": {"temperature": 0.7}}
    for _ in range(2):
        assert await said(service, body=warm) == "bypass"
        assert await said(service, "/api/llm/generate", NAMELESS) == "bypass"
        assert await said(service, X_Progress="1") == "bypass"
        assert await said(service, Content_Type="text/plain") == "bypass"
        assert await said(service, "/v1/completions", {**COLD, "temperature": 0}, Content_Encoding="x") == "bypass"
    assert generations(fake) == 10


async def test_a_body_that_is_refused_is_refused_as_ever(service: Service) -> None:
    """What is no JSON, breaks the schema or names no model that is there has its own error, without a word more."""
    bodies = b"{", b'{"prompt": 7, "options": {"seed": 1}}', b'{"model": "no", "prompt": "x", "options": {"seed": 1}}'
    for content in bodies:
        plain, wanting = [
            await service.client.post("/api/llm/generate", content=content, headers=headers)
            for headers in ({"Content-Type": "application/json"}, {"Content-Type": "application/json", **USE})
        ]
        assert plain.status_code == wanting.status_code >= 400
        assert plain.json()["code"] == wanting.json()["code"]
        assert "X-Cache" not in wanting.headers


async def test_cache_control_says_what_is_wanted(service: Service, fake: FakeOllama) -> None:
    """`no-cache` asks anew and keeps that, `no-store` does neither, `max-age` bounds the age."""
    first = await ask(service)
    assert await said(service, Cache_Control="no-store") == "bypass"
    fake.words = (" Anew",)
    assert await said(service, Cache_Control="max-age=0, no-cache") == "miss"
    assert await said(service, Cache_Control="max-age=0") == "miss"
    kept = await ask(service, Cache_Control="max-age=60")
    assert kept.headers["X-Cache"] == "hit"
    assert b"Anew" in kept.content != first.content
    assert generations(fake) == 4


async def test_settings_decide_who_has_to_ask(serve: ServeFactory, fake: FakeOllama) -> None:
    """`deterministic`: nobody has to; `off`: nobody can."""
    async with serve(fake.url, response_cache="deterministic") as service:
        answers = [await service.client.post("/api/generate", json=COLD) for _ in range(2)]
        warm = await service.client.post("/api/generate", json={**COLD, "options": {}})
    assert [answer.headers["X-Cache"] for answer in (*answers, warm)] == ["miss", "hit", "bypass"]
    async with serve(fake.url, response_cache="off") as service:
        assert [await said(service) for _ in range(2)] == [None, None]


async def test_a_key_may_want_it(service: Service) -> None:
    """A key with `cache` need not ask; the key says so of itself."""
    made = await make(service, cache=True)
    own = {"X-API-Key": made["key"]}
    answers = [await service.stranger.post("/api/generate", json=COLD, headers=own) for _ in range(2)]
    assert [answer.headers["X-Cache"] for answer in answers] == ["miss", "hit"]
    assert (await service.stranger.get("/api/key", headers=own)).json()["cache"] is True
    changed = await manage(service, "PATCH", f"/{made['id']}", {"cache": False})
    assert changed.json()["cache"] is False
    assert "X-Cache" not in (await service.stranger.post("/api/generate", json=COLD, headers=own)).headers


@pytest.mark.parametrize(("shared", "found"), [(False, "miss"), (True, "hit")], ids=["of one key", "shared"])
async def test_whose_an_answer_is(serve: ServeFactory, fake: FakeOllama, shared: bool, found: str) -> None:
    """Another key never gets it, unless the operator shares them all."""
    async with serve(fake.url, cache_shared=shared) as service:
        assert await said(service) == "miss"
        assert await said(service, X_API_Key=ADMIN_KEY) == found
        assert await said(service) == "hit"


async def test_a_hit_is_allowed_anew(service: Service) -> None:
    """Once a key may not name a model any more, it gets no kept answer of it; nor once its scope or itself is gone."""
    made = await make(service, cache=True)
    own = {"X-API-Key": made["key"]}

    async def status(**change: Any) -> int:
        await manage(service, "PATCH", f"/{made['id']}", change)
        return (await service.stranger.post("/api/generate", json=COLD, headers=own)).status_code

    assert await status(models=[]) == 200
    assert await status(models=["llama3"]) == 200
    assert await status(models=["other*"]) == 403
    assert await status(models=[], scopes=["models:read"]) == 403
    assert await status(scopes=["inference"]) == 200
    assert await status(enabled=False) == 401


async def test_a_hit_is_a_request_and_no_tokens(serve: ServeFactory, fake: FakeOllama) -> None:
    """It counts among the requests; it is given to a key whose budget is used up."""
    async with serve(fake.url, rate_limit_requests="3/hour", tokens_per_day="14", token_reserve=10) as service:
        first, second = await ask(service), await ask(service)
        assert left(first.headers, "requests") == 2
        assert left(second.headers, "requests") == 1
        spent = await ask(service, body={**COLD, "prompt": "one two three four five six seven"})
        assert spent.status_code == 429
        third, refused = await ask(service), await ask(service)
    assert [answer.headers["X-Cache"] for answer in (second, third)] == ["hit", "hit"]
    assert refused.status_code == 429
    assert "'requests'" in refused.text


async def test_an_end_user_is_named_and_counted(service: Service) -> None:
    """Whoever the body names stands in the ledger, though a name is no part of the call; its own limits hold."""
    made = await make(service, cache=True, end_user_limits={"requests": "1/hour"})
    chat = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}

    async def by(name: str) -> httpx.Response:
        own = {"X-API-Key": made["key"]}
        return await service.stranger.post("/v1/chat/completions", json={**chat, "user": name}, headers=own)

    answers = [await by("alice"), await by("bob"), await by("bob")]
    assert [answer.headers.get("X-Cache") for answer in answers] == ["miss", "hit", None]
    assert answers[2].status_code == 429
    shown = await service.stranger.get(
        f"/api/admin/usage/generations/{answers[1].headers['X-Request-ID']}", headers={"X-API-Key": ADMIN_KEY}
    )
    assert shown.json()["end_user"] == "bob"


async def test_the_ledger_and_the_numbers_know_a_hit(serve: ServeFactory, fake: FakeOllama) -> None:
    """A row with `cached`, the model and the alias, and no tokens, price or backend; latencies leave it out."""
    async with serve(fake.url, model_aliases="name=llama3", prices="*=1/1") as service:
        body = {**COLD, "model": "name"}
        rows = [await in_ledger(service, await ask(service, body=body)) for _ in range(2)]
        await until_written(service.services.get(Ledger), 2)
        latency = (await service.client.get("/api/usage/latency")).json()["total"]
        sums = (await service.client.get("/api/usage")).json()["total"]
        text = (await service.client.get("/metrics", headers={"X-API-Key": ADMIN_KEY})).text
    miss, hit = rows
    assert (miss["cached"], hit["cached"]) == (False, True)
    assert (hit["model"], hit["requested_model"]) == (miss["model"], miss["requested_model"]) == ("llama3", "name")
    assert (hit["total_tokens"], float(hit["price"]), hit["backend"], hit["outcome"]) == (0, 0, "", "done")
    assert (hit["streamed"], hit["bytes_out"]) == (True, miss["bytes_out"])
    assert miss["total_tokens"] > 0
    assert {measure["generations"] for measure in latency.values()} == {1}
    assert (sums["generations"], sums["total_tokens"]) == (2, miss["total_tokens"])
    for line in ("hits_total 1.0", "misses_total 1.0", "entries 1.0"):
        assert f"mlops_response_cache_{line}\n" in text
    assert 'mlops_generations_total{model="llama3",outcome="done"} 2.0' in text


async def test_another_meaning_of_a_name_is_another_call(serve: ServeFactory, fake: FakeOllama) -> None:
    """What a name stands for, and what is pinned of that, are a part of the call: in Redis entries live longer."""
    fake.models.append("other:latest")
    with RedisServer() as redis:
        for number, choices in enumerate(
            ({"model_aliases": "name=llama3"}, {"model_aliases": "name=other"}, {"pin_num_ctx": "*=512"})
        ):
            async with serve(fake.url, redis_url=redis.url, **choices) as service:
                body = {**COLD, "model": "name" if "model_aliases" in choices else "llama3"}
                assert [await said(service, body=body) for _ in range(2)] == ["miss", "hit"]
            assert generations(fake) == number + 1


async def test_two_processes_with_one_redis_have_the_same(serve: ServeFactory, fake: FakeOllama) -> None:
    """What one has kept the other one gives."""
    with RedisServer() as redis:
        async with serve(fake.url, redis_url=redis.url) as one, serve(fake.url, redis_url=redis.url) as two:
            first, second = await ask(one), await ask(two)
    assert [answer.headers["X-Cache"] for answer in (first, second)] == ["miss", "hit"]
    assert first.content == second.content


async def test_without_its_redis_every_call_is_a_miss(serve: ServeFactory, fake: FakeOllama) -> None:
    """Nothing fails where Redis is away, from the beginning or from some time on."""
    with RedisServer() as redis:
        async with serve(fake.url, redis_url=redis.url) as service:
            assert [await said(service) for _ in range(2)] == ["miss", "hit"]
            redis.stop()
            assert [await said(service) for _ in range(3)] == ["miss"] * 3
        async with serve(fake.url, redis_url=redis.url) as service:
            assert [await said(service) for _ in range(2)] == ["miss"] * 2


@pytest.fixture(params=["/api/generate", "/api/llm/stream"])
def path(request: pytest.FixtureRequest) -> str:
    """A route that streams."""
    return str(request.param)


BROKEN: Final = (Mode.CUT_MID_STREAM, Mode.NO_DONE, Mode.ERROR_MID_STREAM, Mode.HANG_MID_STREAM)


@pytest.mark.parametrize("mode", BROKEN, ids=lambda mode: mode.name)
async def test_a_stream_that_fails_is_not_kept(serve: ServeFactory, fake: FakeOllama, mode: Mode, path: str) -> None:
    """One that is cut, ends without its end, tells an error or falls silent: the next call asks anew."""
    async with serve(fake.url, idle_timeout=0.2) as service:
        fake.mode = mode
        assert b'"error"' in (await ask(service, path)).content
        fake.mode = Mode.NORMAL
        assert [await said(service, path) for _ in range(2)] == ["miss", "hit"]


@pytest.mark.parametrize("mode", [Mode.ERROR_500, Mode.BUSY_503, Mode.CLOSE_BEFORE_HEADERS, Mode.GARBAGE_JSON])
async def test_a_whole_answer_that_fails_is_not_kept(service: Service, fake: FakeOllama, mode: Mode) -> None:
    """Errors stay what they are, and are asked for anew."""
    fake.mode = mode
    failed = await ask(service, "/api/llm/generate")
    assert failed.status_code >= 500
    assert "X-Cache" not in failed.headers
    fake.mode = Mode.NORMAL
    assert [await said(service, "/api/llm/generate") for _ in range(2)] == ["miss", "hit"]


@every_family
async def test_what_its_client_left_is_not_kept(service: Service, fake: FakeOllama, family: Family) -> None:
    """A client that leaves amid a miss ends its generation, and leaves nothing behind; nor is memory still taken."""
    fake.hold()
    body = cold(family, stream=True)
    async with await RawClient.connect(service.url) as client, asyncio.timeout(30):
        await client.request("POST", family.path, body, X_API_Key=ORDINARY_KEY, X_Cache="use")
        fake.release(3)
        assert await client.head() == 200
        await client.chunk()
        await client.reset()
    await eventually(lambda: service.admission.running == 0)
    fake.release()
    answers = [await ask(service, family.path, body) for _ in range(2)]
    assert [answer.headers["X-Cache"] for answer in answers] == ["miss", "hit"]


async def test_a_generation_that_is_ended_is_not_kept(service: Service, fake: FakeOllama) -> None:
    """Whoever ends one has its stream end with an error, and that is nobody's answer."""
    fake.hold()
    asking = asyncio.create_task(ask(service, X_Request_ID="ended"))
    await fake.wait_until(lambda: fake.active > 0)
    fake.release(2)
    await asyncio.sleep(0.05)
    assert (await service.client.delete("/api/llm/generations/ended")).status_code == 200
    await asking
    fake.release()
    assert [await said(service) for _ in range(2)] == ["miss", "hit"]


async def test_what_is_too_large_is_sent_and_not_kept(serve: ServeFactory, fake: FakeOllama) -> None:
    """An answer larger than one may be comes whole each time, in pieces or not."""
    fake.words = ("x" * 800, "y" * 800)
    async with serve(fake.url, cache_entry_bytes=1024) as service:
        for body in (COLD, {**COLD, "stream": False}):
            answers = [await ask(service, body=body) for _ in range(2)]
            assert [answer.headers["X-Cache"] for answer in answers] == ["miss", "miss"]
            assert all(b"y" * 800 in answer.content for answer in answers)
            assert b'"done":true' in answers[1].content


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_what_limits_have_shortened_is_not_kept(serve: ServeFactory, fake: FakeOllama, stream: bool) -> None:
    """An answer that is short since little was left of a budget is not the call's answer."""
    fake.words = tuple(f"word{number} " for number in range(100))
    body = {**COLD, "stream": stream, "options": {"temperature": 0, "num_predict": 100}}
    async with serve(fake.url, tokens_per_day="60") as service:
        short = await ask(service, body=body)
        text = (await service.client.get("/metrics", headers={"X-API-Key": ADMIN_KEY})).text
    assert short.headers["X-Cache"] == "miss"
    assert b"word99" not in short.content
    assert "mlops_response_cache_entries 0.0\n" in text


async def test_a_hit_is_given_while_the_service_drains(service: Service) -> None:
    """It needs no backend and is over at once; what would have to be generated is 503."""
    first = await ask(service)
    await service.admission.drain(0)
    kept = await ask(service)
    assert (kept.headers["X-Cache"], kept.content) == ("hit", first.content)
    assert (await ask(service, body={**COLD, "prompt": "Another"})).status_code == 503


async def test_a_hit_needs_no_backend(service: Service, fake: FakeOllama) -> None:
    """Whatever has become of it."""
    await ask(service)
    await fake.stop()
    assert await said(service) == "hit"


async def test_equal_calls_at_a_time_both_ask(service: Service, fake: FakeOllama) -> None:
    """None waits for the other; afterwards there is one answer."""
    fake.hold()
    asking = [asyncio.create_task(ask(service)) for _ in range(2)]
    await fake.wait_until(lambda: fake.active == 2)
    fake.release()
    assert [answer.headers["X-Cache"] for answer in await asyncio.gather(*asking)] == ["miss", "miss"]
    assert await said(service) == "hit"


async def test_a_response_that_is_stored_is_one_of_its_own(serve: ServeFactory, fake: FakeOllama) -> None:
    """Nobody gets the id of another one, which may be another key's, or deleted."""
    body = {"model": "llama3", "input": "Hi", "temperature": 0}
    async with serve(fake.url, cache_shared=True) as service:
        answers = [await ask(service, "/v1/responses", body, X_API_Key=key) for key in (ORDINARY_KEY, ADMIN_KEY)]
        for answer, key in zip(answers, (ORDINARY_KEY, ADMIN_KEY), strict=True):
            assert (answer.headers["X-Cache"], answer.json()["store"]) == ("bypass", True)
            path, headers = f"/v1/responses/{answer.json()['id']}", {"X-API-Key": key}
            assert (await service.client.get(path, headers=headers)).status_code == 200
            assert (await service.client.delete(path, headers=headers)).status_code == 200
        assert (await ask(service, "/v1/responses", body)).json()["id"] not in {each.json()["id"] for each in answers}
