"""CORS headers and request ids, on every answer."""

from __future__ import annotations

import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import Service

ORIGIN = {"Origin": "http://localhost:3000"}
# `corsConfig.AllowHeaders` in server/routes.go of github.com/ollama/ollama, from v0.14.0 to v0.33.0.
OLLAMAS = [
    "authorization",
    "content-type",
    "user-agent",
    "accept",
    "x-requested-with",
    "openai-beta",
    "x-stainless-arch",
    "x-stainless-async",
    "x-stainless-custom-poll-interval",
    "x-stainless-helper-method",
    "x-stainless-lang",
    "x-stainless-os",
    "x-stainless-package-version",
    "x-stainless-poll-helper",
    "x-stainless-retry-count",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-timeout",
]


@pytest.mark.parametrize("path", ["/api/llm/stream", "/api/llm/models", "/health"])
async def test_a_preflight_needs_no_key(service: Service, path: str) -> None:
    """A preflight is answered without a key, for the headers that clients send."""
    wanted = "x-api-key,content-type,authorization,anthropic-version,x-stainless-lang,last-event-id"
    answer = await service.stranger.options(
        path,
        headers={**ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted},
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert allowed == set(wanted.split(","))
    assert "POST" in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize("path", ["/api/chat", "/api/tags", "/v1/chat/completions", "/v1/responses"])
async def test_a_preflight_may_ask_for_what_ollama_allows(service: Service, path: str) -> None:
    """Each header that a page may send to an Ollama it may send here, all of them at once and each alone."""
    for wanted in (OLLAMAS, *([name] for name in OLLAMAS)):
        answer = await service.stranger.options(
            path,
            headers={
                **ORIGIN,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": ",".join(wanted),
            },
        )
        allowed = answer.headers["access-control-allow-headers"].split(",")
        assert {name.strip().lower() for name in allowed} == set(wanted)


async def test_options_that_is_no_preflight_needs_a_key(service: Service) -> None:
    """Only what a browser sends before a request is open."""
    assert (await service.stranger.options("/api/llm/stream", headers=ORIGIN)).status_code == 401


async def test_every_answer_carries_the_headers(serve: ServeFactory, fake: FakeOllama) -> None:
    """Answers and refusals alike tell the browser that its page may read them, and which headers."""
    async with serve(fake.url, max_body_bytes=100) as service:
        post, get = service.client.post, service.client.get
        answers = [
            await get("/api/llm/models", headers=ORIGIN),
            await service.stranger.get("/api/llm/models", headers=ORIGIN),
            await get("/no/such/route", headers=ORIGIN),
            await get("/api/llm/stream", headers=ORIGIN),
            await post("/api/llm/stream", content=b"{", headers=ORIGIN),
            await post("/api/llm/stream", content=b"x" * 101, headers=ORIGIN),
            await post("/api/llm/stream", json={"prompt": 1}, headers=ORIGIN),
            await post("/api/llm/stream", json={"prompt": "Hi"}, headers=ORIGIN),
        ]
        assert [answer.status_code for answer in answers] == [200, 401, 404, 405, 400, 413, 422, 200]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
            assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
            assert "Origin" in answer.headers["vary"]


async def test_other_origins_are_told_nothing(service: Service) -> None:
    """An origin that is not listed gets no permission; the answer itself is not changed."""
    answer = await service.client.get("/health", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("given", ["a", "A.b_c-9", "x" * 128])
async def test_a_usable_request_id_is_taken(service: Service, given: str) -> None:
    """`X-Request-ID` of 1 to 128 safe characters comes back, on errors too."""
    for path in ("/health", "/no/such/route"):
        answer = await service.client.get(path, headers={"X-Request-ID": given})
        assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "ä", '"><script>', None])
async def test_another_request_id_is_made(service: Service, given: str | None) -> None:
    """Anything else is replaced."""
    headers = [] if given is None else [(b"X-Request-ID", given.encode())]
    answer = await service.client.get("/health", headers=headers)
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]
