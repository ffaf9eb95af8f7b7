"""`/v1/messages/count_tokens`, which Claude Code calls and few backends have."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import ServeFactory
from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama import FakeOllama, Mode
from tests.fakes.openai_server import MODEL, FakeOpenAI, in_json
from tests.service import Service
from tests.web.test_logs import requests_in

PATH = "/v1/messages/count_tokens"
BODY = {"model": "llama3", "messages": [{"role": "user", "content": "The sky is blue. " * 40}]}
NOT_FOUND: list[tuple[int, dict[str, Any]]] = [
    (404, {"detail": "Not Found"}),
    (404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}),
]


async def test_an_ollama_without_the_route_is_answered_for(service: Service) -> None:
    """By an estimate that says what it is; the request was a good one."""
    with capture_logs() as logs:
        answer = await service.client.post(PATH, params={"beta": "true"}, json=BODY)
    assert (answer.status_code, answer.headers["x-token-count"]) == (200, "estimated")
    assert 170 <= answer.json()["input_tokens"] <= 185
    (line,) = requests_in(logs)
    assert (line["status"], line["outcome"]) == (200, "done")
    assert "prompt_tokens" not in line


@pytest.mark.parametrize("refusal", NOT_FOUND)
async def test_other_servers_have_other_words_for_it(refusal: tuple[int, dict[str, Any]], serve: ServeFactory) -> None:
    """vLLM's and llama.cpp's 404 are JSON; neither is of a server that speaks Anthropic's words."""
    async with FakeOpenAI(refusal=refusal) as fake, serve(openai_backends=fake.url) as service:
        answer = await service.client.post(PATH, json=BODY)
    assert (answer.status_code, answer.headers.get("x-token-count")) == (200, "estimated"), answer.text


async def test_a_server_that_has_the_route_is_believed(serve: ServeFactory) -> None:
    """Its count as well as its refusal of a model."""
    refused = {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}}
    for refusal in ((404, refused), (200, {"input_tokens": 7})):
        async with FakeOpenAI(refusal=refusal) as fake, serve(openai_backends=fake.url) as service:
            answer = await service.client.post(PATH, json=BODY)
        assert (answer.status_code, answer.json()) == refusal
        assert "x-token-count" not in answer.headers


TEMPLATE, TOKENIZE = "/apply-template", "/tokenize"


@dataclass(kw_only=True, eq=False)
class Tokenizing(FakeOpenAI):
    """A server with a tokenizer beside OpenAI's routes: vLLM's, or llama.cpp's, which wants a text in its place."""

    llama_cpp: bool = False
    hangs: bool = False
    lacks: tuple[str, ...] = (PATH,)

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        told: dict[str, Any] = json.loads(request.body or b"{}")
        if request.path in self.lacks:
            await connection.send(in_json({"detail": "Not Found"}, 404))
        elif request.path == TOKENIZE and self.hangs:
            await asyncio.Event().wait()
        elif request.path == TEMPLATE and self.llama_cpp:
            await connection.send(in_json({"prompt": " ".join(turn["content"] for turn in told["messages"])}))
        elif request.path == TOKENIZE and self.llama_cpp:
            await connection.send(in_json({"tokens": list(range(len(told["content"].split())))}))
        elif request.path == TOKENIZE and self.refusal is None:
            count = sum(len(turn["content"].split()) for turn in told["messages"]) + len(told.get("tools", ()))
            await connection.send(in_json({"count": count, "max_model_len": 9, "tokens": []}))
        else:
            await super().answer(connection, request)


@pytest.mark.parametrize("llama_cpp", [False, True], ids=["vllm", "llama.cpp"])
async def test_a_tokenizer_is_asked(serve: ServeFactory, *, llama_cpp: bool) -> None:
    """At the server's root, and the answer says so; the missing route is not asked for again."""
    models = [{**MODEL, "owned_by": "llamacpp" if llama_cpp else "vllm"}]
    body = {**BODY, "model": MODEL["id"], "system": "Be brief."}
    async with (
        Tokenizing(llama_cpp=llama_cpp, models=models) as server,
        serve(openai_backends=f"{server.url}/v1") as service,
    ):
        for asked in ([PATH], []):
            server.requests.clear()
            answer = await service.client.post(PATH, json=body)
            assert (answer.status_code, answer.json()) == (200, {"input_tokens": 162})
            assert answer.headers["x-translated"] == f"{PATH} -> {TOKENIZE}"
            assert "x-token-count" not in answer.headers
            posted = [request.path for request in server.requests if request.method == "POST"]
            assert posted == [*asked, *([TEMPLATE] if llama_cpp else []), TOKENIZE]


async def test_a_tokenizer_that_is_missing_is_asked_once(serve: ServeFactory) -> None:
    """From then on the length of the text is what there is."""
    async with Tokenizing(lacks=(PATH, TOKENIZE)) as server, serve(openai_backends=server.url) as service:
        for asked in ([PATH, TOKENIZE], []):
            server.requests.clear()
            answer = await service.client.post(PATH, json={**BODY, "model": MODEL["id"]})
            assert (answer.status_code, answer.headers["x-token-count"]) == (200, "estimated")
            assert "x-translated" not in answer.headers
            assert [request.path for request in server.requests if request.method == "POST"] == asked


@pytest.mark.parametrize("refused", ["by the tokenizer", "here"])
async def test_a_tokenizer_that_cannot_tell_is_answered_for(refused: str, serve: ServeFactory) -> None:
    """A model without a template, or an image at an address: nobody is refused a guess."""
    source = {"type": "url", "url": "http://x/y.png"}
    said = [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "See"}]}]
    body = {**BODY, "messages": said} if refused == "here" else BODY
    async with Tokenizing() as server, serve(openai_backends=server.url) as service:
        server.refusal = (400, {"error": {"message": "no chat template"}})
        answer = await service.client.post(PATH, json={**body, "model": MODEL["id"]})
        assert (answer.status_code, answer.headers["x-token-count"]) == (200, "estimated")


async def test_a_tokenizer_that_hangs_has_its_clock(serve: ServeFactory) -> None:
    """And a client that leaves meanwhile ends its work."""
    async with Tokenizing(hangs=True) as server, serve(openai_backends=server.url, first_byte_timeout=0.3) as service:
        answer = await service.client.post(PATH, json={**BODY, "model": MODEL["id"]})
        assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout_error")
        assert (await server.wait_for_disconnect()).path == TOKENIZE


async def test_other_failures_are_not_covered_up(fake: FakeOllama, serve: ServeFactory) -> None:
    """A backend that is down is no reason to guess."""
    fake.mode = Mode.ERROR_500
    async with serve(fake.url) as service:
        await fake.stop()
        answer = await service.client.post(PATH, json=BODY)
    assert answer.status_code == 502
    assert answer.json()["type"] == "error"
