"""A budget is for use to its last token, and never beyond, on every family of routes."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai_server import MODEL, FakeOpenAI
from tests.web.dialects.drop_in_families import FAMILIES, MESSAGES, Family
from tests.web.keys.spending import BUDGET, WORDS, spend, spent
from tests.web.keys.test_key_limits import BODY, left

OWN = {
    "own generate": Family("/api/llm/generate", {"prompt": "say hello please"}, events=False),
    "own stream": Family("/api/llm/stream", {"prompt": "say hello please"}, events=False),
    "own chat": Family("/api/llm/chat", {"messages": MESSAGES}, events=False),
}
EVERY = {**FAMILIES, **OWN}
every_family = pytest.mark.parametrize("family", EVERY.values(), ids=EVERY)


@every_family
async def test_fifty_clients_use_a_budget_up(serve: ServeFactory, fake: FakeOllama, family: Family) -> None:
    """Whole answers or streams, with no maximum (Anthropic's with a large one), until it refuses for good."""
    fake.words = WORDS
    more = {"max_tokens": 32_000} if "max_tokens" in family.body else {}
    bodies = [{**family.whole, **more}, {**family.unasked, **more}]
    async with serve(fake.url, tokens_per_day=str(BUDGET)) as service:
        last = await spend(lambda number: service.client.post(family.path, json=bodies[number % 2]))
    assert {answer.status_code for answer in last} == {429}
    assert all("is reached: 10000/day" in answer.text for answer in last)
    assert 9_900 <= spent(fake) <= BUDGET


@every_family
async def test_the_last_answer_ends_with_length(serve: ServeFactory, fake: FakeOllama, family: Family) -> None:
    """It is as long as there are tokens for it; what fits is passed on as it came, and what does not is refused."""
    fake.words = WORDS[:60]
    body = {**family.whole, "max_tokens": 100} if "max_tokens" in family.body else family.whole
    async with serve(fake.url, tokens_per_day="150", token_reserve=100) as service:
        answers = [await service.client.post(family.path, json=body) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert ending(family, answers[0]) in ("stop", "end_turn", "completed")
    cut_short = {"/v1/messages": "max_tokens", "/v1/responses": "completed"}  # Ollama tells no more of the latter
    assert ending(family, answers[2]) == cut_short.get(family.path, "length")
    assert 140 <= spent(fake) <= 150
    first, *cut = [seen.json() for seen in fake.requests if seen.method == "POST"]
    asked = first if family in OWN.values() else body
    assert first == asked
    assert [without_maximum(sent) for sent in cut] == [without_maximum(first)] * 2


def ending(family: Family, answer: httpx.Response) -> str:
    """Why an answer ended, in the words of its family."""
    told = json.loads(answer.text.splitlines()[-1])
    match family.path:
        case "/v1/messages":
            return str(told["stop_reason"])
        case "/v1/responses":
            return str(told["status"])
        case path if path.startswith("/v1/"):
            return str(told["choices"][0]["finish_reason"])
    return str(told["done_reason"])


def without_maximum(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what this service may change in it."""
    changed = ("max_tokens", "max_output_tokens", "options")
    return {name: value for name, value in body.items() if name not in changed}


@pytest.mark.parametrize("route", ["/api/embed", "/v1/embeddings", "/api/llm/embed"])
async def test_embeddings_take_their_prompt_alone(serve: ServeFactory, fake: FakeOllama, route: str) -> None:
    """They have no answer that could be cut, and nothing is added to them."""
    body = {"model": "llama3", "input": "four" * 90}
    async with serve(fake.url, tokens_per_day="100") as service:
        answer = await service.client.post(route, json=body)
        assert (answer.status_code, left(answer.headers, "tokens_per_day")) == (200, 10)
        await service.client.post("/api/generate", json={**BODY, "prompt": "four " * 30, "options": {"num_predict": 1}})
        refused = await service.client.post(route, json=body)
    assert refused.status_code == 429
    assert "options" not in fake.requests[-2].json()


async def test_a_prompt_that_never_fits_is_told_so(serve: ServeFactory, fake: FakeOllama) -> None:
    """And what asks for a longer answer than there may ever be is not."""
    async with serve(fake.url, tokens_per_day="100") as service:
        long = await service.client.post("/api/generate", json={**BODY, "options": {"num_predict": 100_000}})
        never = await service.client.post("/api/generate", json={**BODY, "prompt": "four" * 100})
    assert (long.status_code, never.status_code) == (200, 429)
    assert never.json()["error"] == (
        "This request can never fit the limit 'tokens_per_day' of this key (100/day): it needs 101 tokens."
    )
    assert never.headers["X-Should-Retry"] == "false"
    assert "Retry-After" not in never.headers


async def test_several_answers_share_what_is_left(serve: ServeFactory) -> None:
    """Each may have its part, and has a token at the least."""
    async with FakeOpenAI() as server, serve(openai_backends=server.url, tokens_per_day="100") as service:
        body = {"model": MODEL["id"], "prompt": ["four", "four"], "n": 3}
        assert (await service.client.post("/v1/completions", json=body)).status_code == 200
        asked = server.requests[-1].json()
        refused = await service.client.post("/v1/completions", json={**body, "n": 50})
    assert asked == {**body, "max_tokens": (100 - 2) // 6}
    assert "it needs 102 tokens" in refused.text


async def test_a_large_body_of_our_own_is_bounded_too(serve: ServeFactory, fake: FakeOllama) -> None:
    """One that is written while it is sent."""
    body = {**BODY, "images": ["QUJD" * 100_000], "options": {"seed": 1}}
    async with serve(fake.url, tokens_per_day="100") as service:
        assert (await service.client.post("/api/llm/generate", json=body)).status_code == 200
    sent = fake.requests[-1].json()
    assert sent["options"] == {"seed": 1, "num_predict": 96}
    assert sent["images"] == body["images"]


OLDER_NAME = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
TOO_LARGE = (
    "'max_tokens' or 'max_completion_tokens' is too large: 50. This model's maximum context length is 40 tokens and "
    "your request has 30 input tokens (50 > 40 - 30)."
)


class Reasoning(FakeOpenAI):
    """A server that knows the newer name of the maximum alone, as OpenAI's own does for some models."""

    async def answer(self, connection: Connection, request: Request) -> None:
        """Refuse the older name."""
        if b'"max_tokens"' in request.body:
            await connection.send(refusal(OLDER_NAME))
        else:
            await super().answer(connection, request)


class LongContext(FakeOpenAI):
    """The same behind a proxy that names the model."""

    async def answer(self, connection: Connection, request: Request) -> None:
        """Refuse the older name."""
        if b'"max_tokens"' in request.body:
            await connection.send(refusal(f"{OLDER_NAME} model=long-context"))
        else:
            await super().answer(connection, request)


class Full(FakeOpenAI):
    """A server whose context has room for ten tokens more, and that takes no larger maximum."""

    async def answer(self, connection: Connection, request: Request) -> None:
        """Refuse a maximum as vLLM does."""
        if json.loads(request.body or b"{}").get("max_tokens", 0) > 10:
            await connection.send(refusal(TOO_LARGE))
        else:
            await super().answer(connection, request)


def refusal(words: str) -> Reply:
    """An error in OpenAI's shape."""
    told = {"error": {"message": words, "type": "invalid_request_error", "param": "max_tokens", "code": None}}
    return Reply(400, "application/json", json.dumps(told).encode())


CHAT: dict[str, Any] = {"model": MODEL["id"], "messages": MESSAGES}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ["/v1/chat/completions", "/api/chat"])
async def test_a_server_that_knows_the_newer_name_alone_is_asked_by_it(
    serve: ServeFactory, route: str, stream: bool
) -> None:
    """The maximum stays, or the budget would not hold."""
    async with Reasoning() as server, serve(openai_backends=server.url, tokens_per_day="100") as service:
        answer = await service.client.post(route, json={**CHAT, "stream": stream})
    assert answer.status_code == 200
    older, newer = (seen.json() for seen in server.requests if seen.method == "POST")
    assert 80 < older.pop("max_tokens") == newer.pop("max_completion_tokens") < 100
    assert older == newer


async def test_a_models_name_says_nothing_of_the_context(serve: ServeFactory) -> None:
    """Or its answer would have no end."""
    async with LongContext() as server, serve(openai_backends=server.url, tokens_per_day="100") as service:
        answer = await service.client.post("/v1/chat/completions", json={**CHAT, "stream": False})
    assert answer.status_code == 200
    posts = [seen.json() for seen in server.requests if seen.method == "POST"]
    assert ["max_completion_tokens" in body for body in posts] == [False, True]


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/api/chat"])
async def test_a_maximum_beyond_the_context_is_left_out(serve: ServeFactory, route: str) -> None:
    """Where the client named none: the answer ends with the context, which is sooner."""
    async with Full() as server, serve(openai_backends=server.url, tokens_per_day="100") as service:
        answer = await service.client.post(route, json={**CHAT, "stream": False})
        named = await service.client.post("/v1/chat/completions", json={**CHAT, "max_tokens": 60})
    assert answer.status_code == 200
    posts = [seen.json() for seen in server.requests if seen.method == "POST"]
    assert [body.get("max_tokens") for body in posts] == [89, None, 60]
    assert (named.status_code, "is too large" in named.text) == (400, True)


async def test_other_refusals_are_the_clients_to_read(serve: ServeFactory) -> None:
    """Whatever else a server has against a request, it says once, and is heard."""
    told = {"error": {"message": "temperature must be less than 2", "type": "invalid_request_error"}}
    async with (
        FakeOpenAI(refusal=(400, told)) as server,
        serve(openai_backends=server.url, tokens_per_day="100") as service,
    ):
        answer = await service.client.post("/v1/chat/completions", json=CHAT)
    assert (answer.status_code, answer.json()) == (400, told)
    assert sum(seen.method == "POST" for seen in server.requests) == 1
