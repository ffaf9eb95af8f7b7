"""`/v1/messages/count_tokens`, which Claude Code calls and few backends have."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.fakes.openai_server import FakeOpenAI
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


async def test_other_failures_are_not_covered_up(fake: FakeOllama, serve: ServeFactory) -> None:
    """A backend that is down is no reason to guess."""
    fake.mode = Mode.ERROR_500
    async with serve(fake.url) as service:
        await fake.stop()
        answer = await service.client.post(PATH, json=BODY)
    assert answer.status_code == 502
    assert answer.json()["type"] == "error"
