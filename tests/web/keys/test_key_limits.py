"""Limits of keys, as clients meet them on every family of routes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import ServeFactory
from tests.e2e.raw_client import RawClient
from tests.e2e.test_resources import eventually
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ADMIN_KEY, ORDINARY_KEY
from tests.web.dialects.drop_in_families import FAMILIES, Family, begin

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
BODY: dict[str, Any] = {"model": "llama3", "prompt": "one two three", "stream": False}


def left(headers: Any, name: str) -> int:
    """What `RateLimit` says of one limit."""
    fields = dict(field.strip().split(";", 1) for field in headers["RateLimit"].split(","))
    return int(dict(pair.split("=") for pair in fields[f'"{name}"'].split(";"))["r"])


@every_family
async def test_a_key_over_its_limit_is_told_in_its_own_words(
    serve: ServeFactory, fake: FakeOllama, family: Family
) -> None:
    """429 with `Retry-After` and the `RateLimit` fields, in the shape of the family; the backend is not asked."""
    async with serve(fake.url, rate_limit_requests="2/hour") as service:
        answers = [await service.client.post(family.path, json=family.whole) for _ in range(3)]
        admin = await service.client.post(family.path, json=family.whole, headers={"X-API-Key": ADMIN_KEY})
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [left(answer.headers, "requests") for answer in answers] == [1, 0, 0]
    assert answers[0].headers["RateLimit-Policy"] == '"requests";q=2;w=3600'
    refused = answers[2]
    assert 1795 <= int(refused.headers["Retry-After"]) <= 1800
    text = "The limit 'requests' of this key is reached: 2/hour."
    error = refused.json()["error"]
    assert text in (error if isinstance(error, str) else error["message"])
    assert "rate_limited" in refused.text or "rate_limit_error" in refused.text
    assert admin.status_code == 200
    assert "RateLimit" not in admin.headers
    assert sum(seen.path == family.path for seen in fake.requests) == 3


async def test_tokens_are_settled_with_what_was_used(serve: ServeFactory, fake: FakeOllama) -> None:
    """A generation reserves its prompt and its maximum, and gets back what it did not use."""
    async with serve(fake.url, tokens_per_day="1000", token_reserve=500) as service:
        first = await service.client.post("/api/generate", json={**BODY, "options": {"num_predict": 300}})
        second = await service.client.post("/api/generate", json=BODY)
        used = first.json()["prompt_eval_count"] + first.json()["eval_count"]
        reserved = 1000 - left(first.headers, "tokens_per_day")
        assert 300 < reserved < 320
        assert left(second.headers, "tokens_per_day") == 1000 - used - (reserved - 300) - 500
        third = await service.client.post("/api/generate", json={**BODY, "options": {"num_predict": 1}})
    assert third.status_code == 200


@pytest.mark.parametrize("fault", [Mode.ERROR_500, Mode.CLOSE_BEFORE_HEADERS])
async def test_what_a_backend_could_not_serve_costs_nothing(serve: ServeFactory, fake: FakeOllama, fault: Mode) -> None:
    """Neither a request nor tokens: only a drained or refused one shows that room was free."""
    async with serve(fake.url, rate_limit_requests="10/hour", tokens_per_day="1000") as service:
        fake.mode = fault
        for _ in range(3):
            assert (await service.client.post("/api/llm/generate", json=BODY)).status_code == 502
        fake.mode = Mode.NORMAL
        answer = await service.client.post("/api/llm/generate", json={**BODY, "options": {"num_predict": 1}})
    assert left(answer.headers, "tokens_per_day") > 980
    assert left(answer.headers, "requests") == (9 if fault is Mode.CLOSE_BEFORE_HEADERS else 6)


@every_family
async def test_a_client_that_leaves_gives_its_room_back(serve: ServeFactory, fake: FakeOllama, family: Family) -> None:
    """Its place among the concurrent ones at once, and of its tokens all but those that were made."""
    async with serve(fake.url, concurrent_generations=1, tokens_per_day="9000") as service:
        fake.mode = Mode.HANG_MID_STREAM
        client = await begin(service, family, family.streamed)
        await fake.wait_for_request(family.path)
        assert await client.head() == 200
        refused = await service.client.post(family.path, json=family.whole)
        assert refused.status_code == 429
        assert "'concurrent'" in refused.text
        await client.reset()
        await eventually(lambda: service.admission.running == 0)
        fake.mode = Mode.NORMAL
        answer = await service.client.post(family.path, json=family.whole)
    assert answer.status_code == 200
    assert left(answer.headers, "concurrent") == 0


async def test_every_stream_of_many_is_within_the_limit(serve: ServeFactory, fake: FakeOllama) -> None:
    """Of fifty that come at once exactly as many run as may, and later all places are free again."""
    async with serve(fake.url, concurrent_generations=7) as service:
        fake.hold()
        calls = [asyncio.create_task(service.client.post("/api/chat", json=chat())) for _ in range(50)]
        await eventually(lambda: sum(call.done() for call in calls) == 43)
        fake.release()
        statuses = [(await call).status_code for call in calls]
        assert (statuses.count(200), statuses.count(429)) == (7, 43)
        assert (await service.client.post("/api/chat", json=chat())).status_code == 200


def chat() -> dict[str, Any]:
    """A conversation of one turn."""
    return {"model": "llama3", "messages": [{"role": "user", "content": "hi"}]}


async def test_a_stream_by_url_counts_for_the_key_that_made_it(serve: ServeFactory, fake: FakeOllama) -> None:
    """The address needs no key, but it is that key's generation; it counts when it is made, and not again."""
    async with serve(fake.url, rate_limit_requests="1/hour") as service:
        made = [await service.client.post("/api/llm/streams", json=BODY) for _ in range(2)]
        fetched = await service.stranger.get(made[0].json()["url"])
    assert [ticket.status_code for ticket in made] == [201, 429]
    assert fetched.status_code == 200


async def test_without_keys_the_limits_are_shared(serve: ServeFactory, fake: FakeOllama) -> None:
    """`AUTH_ENABLED=false`: whoever has no key is one and the same anonymous caller."""
    async with serve(fake.url, auth_enabled=False, rate_limit_requests="1/hour") as service:
        statuses = [(await service.stranger.post("/api/generate", json=BODY)).status_code for _ in range(2)]
    assert statuses == [200, 429]


async def test_guessing_keys_is_slowed_down(serve: ServeFactory, fake: FakeOllama) -> None:
    """After too many unknown keys their address gets 429, and so does a right key that could be a lucky guess."""
    long = "a-key-of-more-than-thirty-two-characters"
    async with serve(fake.url, auth_failure_limit="3/hour", api_keys=f"short:guessable,long:{long}") as service:
        wrong = [await service.stranger.get("/api/tags", headers={"X-API-Key": f"no{n}"}) for n in range(4)]
        none = await service.stranger.get("/api/tags")
        short = await service.stranger.get("/api/tags", headers={"X-API-Key": "guessable"})
        right = await service.stranger.get("/api/tags", headers={"Authorization": f"Bearer {long}"})
        health = await service.stranger.get("/health/live", headers={"X-API-Key": "no"})
    assert [answer.status_code for answer in wrong] == [401, 401, 401, 429]
    assert wrong[3].json()["code"] == "too_many_failed_keys"
    assert int(wrong[3].headers["Retry-After"]) > 1100
    assert (none.status_code, short.status_code) == (401, 429)
    assert (right.status_code, health.status_code) == (200, 200)


async def test_prompt_tokens_of_a_client_that_left_are_charged(serve: ServeFactory, fake: FakeOllama) -> None:
    """What the backend had begun to read was used, as near as can be known."""
    async with serve(fake.url, tokens_per_day="1000", token_reserve=100) as service:
        fake.mode = Mode.HANG_BEFORE_HEADERS
        client = await RawClient.connect(service.url)
        body = {**BODY, "prompt": "four" * 100}
        await client.request("POST", "/api/generate", body, **{"X-API-Key": ORDINARY_KEY})
        await fake.wait_for_request("/api/generate")
        await client.leave()
        await eventually(lambda: service.admission.running == 0)
        fake.mode = Mode.NORMAL
        answer = await service.client.post("/api/generate", json={**BODY, "prompt": "", "options": {"num_predict": 1}})
    assert 890 <= left(answer.headers, "tokens_per_day") <= 900
