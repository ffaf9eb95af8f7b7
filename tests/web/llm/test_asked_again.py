"""A generation is asked for again at another backend while no byte of an answer has come, and never afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import httpx
import pytest
from structlog.testing import capture_logs

from mlops_backend.services.llm.backends import look
from mlops_backend.services.llm.generation.retry_budget import RetryBudget
from tests.conftest import ServeFactory
from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.ollama import FakeOllama, Mode
from tests.fakes.ollama_routes import INFERENCE, route_of
from tests.service import ADMIN_KEY, Service
from tests.web.dialects.drop_in_families import FAMILIES, Family

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
PROMPT: Final[dict[str, Any]] = {"model": "llama3", "prompt": "Hi"}


@dataclass(kw_only=True, eq=False)
class BehindAProxy(FakeOllama):
    """An Ollama that the proxy before it does not reach, where it is to generate."""

    status: int = 0

    async def answer(self, connection: Connection, request: Request) -> None:
        """Say so."""
        if self.status and route_of(request.path)[0] in INFERENCE:
            await connection.send(Reply(self.status, "text/html", b"<html>Bad Gateway</html>"), with_body=True)
        else:
            await super().answer(connection, request)


@pytest.fixture
async def bad() -> AsyncIterator[BehindAProxy]:
    """The one that fails, first in the operator's order."""
    async with BehindAProxy() as server:
        yield server


@pytest.fixture
async def service(serve: ServeFactory, bad: BehindAProxy, fake: FakeOllama) -> AsyncIterator[Service]:
    """The service before both, which are known."""
    async with serve(bad.url, fake.url) as running:
        await running.client.get("/api/llm/models")
        yield running


def asked(server: FakeOllama) -> int:
    """How often it was to generate."""
    return sum(route_of(request.path)[0] in INFERENCE for request in server.requests)


async def until_asked(
    service: Service, bad: FakeOllama, path: str, body: dict[str, Any], most: int = 40
) -> list[httpx.Response]:
    """Requests whose prompts begin in another way each, until the failing backend was asked one of them."""
    answers = []
    for number in range(most):
        said = f"{number} is a number"
        text = {"prompt": said} if "prompt" in body else {"input": said} if "input" in body else {}
        messages = {"messages": [{"role": "user", "content": said}]} if "messages" in body else {}
        answers.append(await service.client.post(path, json={**body, **text, **messages}))
        if asked(bad):
            return answers
    raise AssertionError("the failing backend was never asked")


async def row_of(service: Service, answer: httpx.Response) -> dict[str, Any]:
    """What the ledger has of a generation."""
    place = f"/api/usage/generations/{answer.headers['X-Request-ID']}"
    row: dict[str, Any] = (await service.client.get(place)).json()
    return row


@every_family
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_connection_that_is_closed_before_an_answer(
    service: Service, bad: BehindAProxy, fake: FakeOllama, family: Family, *, streamed: bool
) -> None:
    """The client sees the answer of the other one, and the log line names both."""
    bad.mode = Mode.CLOSE_BEFORE_HEADERS
    with capture_logs() as logs:
        answers = await until_asked(service, bad, family.path, family.streamed if streamed else family.whole)
    assert {answer.status_code for answer in answers} == {200}
    assert asked(fake) == len(answers)
    assert asked(bad) in (1, 2)  # one that was kept may have been closed for being old: it is tried on another one
    lines = [line for line in logs if line["event"] == "request"]
    assert [line.get("passed_over", []) for line in lines] == [[]] * (len(lines) - 1) + [[bad.url]]
    assert {line["backend"] for line in lines} == {fake.url}
    assert {line["route_reason"] for line in lines} <= {"affinity", "idle", "least-loaded"}
    rows = [await row_of(service, answer) for answer in answers]
    assert [row["passed_over"] for row in rows] == [""] * (len(rows) - 1) + [bad.url]
    assert {row["backend"] for row in rows} == {fake.url}


@pytest.mark.parametrize("status", [502, 504])
@pytest.mark.parametrize("path", ["/api/generate", "/api/llm/generate", "/api/llm/stream"])
async def test_a_proxy_that_does_not_reach_its_backend(
    service: Service, bad: BehindAProxy, fake: FakeOllama, path: str, status: int
) -> None:
    """What it says is not the answer while there is another backend; where there is none, it is."""
    bad.status = status
    answers = await until_asked(service, bad, path, PROMPT)
    assert {answer.status_code for answer in answers} == {200}
    assert (asked(bad), asked(fake)) == (1, len(answers))
    await fake.stop()
    answer = await service.client.post(path, json=PROMPT)
    assert answer.status_code >= 500
    assert "Bad Gateway" in answer.text or "cannot be reached" in answer.text or "refuses" in answer.text


async def test_nothing_is_asked_again_once_a_byte_has_come(
    service: Service, bad: BehindAProxy, fake: FakeOllama
) -> None:
    """A stream that is cut ends with an error, and the other backend is not asked."""
    bad.mode = Mode.CUT_MID_STREAM
    answers = await until_asked(service, bad, "/api/generate", PROMPT)
    assert ["error" in answer.text for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert (asked(bad), asked(fake)) == (1, len(answers) - 1)


@pytest.mark.parametrize("mode", [Mode.ERROR_500, Mode.ERROR_FIRST_LINE])
async def test_an_error_of_the_backends_own_is_the_answer(
    service: Service, bad: BehindAProxy, fake: FakeOllama, mode: Mode
) -> None:
    """What the model cannot do it cannot do elsewhere either."""
    bad.mode = mode
    answers = await until_asked(service, bad, "/api/generate", PROMPT | {"stream": False})
    assert "error" in answers[-1].json()
    assert (asked(bad), asked(fake)) == (1, len(answers) - 1)


async def test_a_client_that_leaves_meanwhile_is_not_asked_for_again(
    service: Service, bad: BehindAProxy, fake: FakeOllama
) -> None:
    """Nobody is left who would take it."""
    bad.mode = fake.mode = Mode.HANG_BEFORE_HEADERS
    task = asyncio.create_task(service.client.post("/api/generate", json=PROMPT))
    async with asyncio.timeout(20):
        while asked(bad) + asked(fake) == 0:
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert asked(bad) + asked(fake) == 1


async def test_a_pull_is_not_begun_twice(serve: ServeFactory, bad: BehindAProxy, fake: FakeOllama) -> None:
    """What changes a backend may have been done by the one that closed the connection."""
    bad.mode = Mode.CLOSE_BEFORE_HEADERS
    async with serve(bad.url, fake.url) as service:
        answer = await service.client.post("/api/pull", json={"model": "x"}, headers={"X-API-Key": ADMIN_KEY})
    assert answer.status_code == 502
    assert [request.path for request in fake.requests if request.method == "POST"] == []


def test_a_budget_is_a_part_of_what_is_asked() -> None:
    """A few at first, a fifth of what comes, and never more than a hundred kept."""
    budget = RetryBudget()
    assert [budget.take() for _ in range(12)] == [True] * 10 + [False] * 2
    taken = []
    for _ in range(50):
        budget.asked()
        taken.append(budget.take())
    assert 9 <= sum(taken) <= 10
    assert not any(first and second for first, second in pairwise(taken))
    for _ in range(10_000):
        budget.asked()
    assert sum(budget.take() for _ in range(1000)) == 100


async def test_a_backend_that_always_fails_is_left_alone(service: Service, bad: BehindAProxy, fake: FakeOllama) -> None:
    """After three failures in a row; nobody feels any of them, and it is tried again once it works."""
    bad.mode = Mode.CLOSE_BEFORE_HEADERS
    for number in range(60):
        answer = await service.client.post("/api/generate", json=PROMPT | {"prompt": f"{number} {number}"})
        assert answer.status_code == 200
    assert 3 <= asked(bad) <= 12  # each may be tried on two connections, and a second of rest may be over
    bad.mode = Mode.NORMAL
    before = asked(bad)
    async with asyncio.timeout(30):
        while asked(bad) == before:
            number += 1
            await service.client.post("/api/generate", json=PROMPT | {"prompt": f"{number} {number}"})
            await asyncio.sleep(0.02)


async def test_one_that_came_back_a_moment_ago_answers_when_the_other_one_goes(
    service: Service, bad: BehindAProxy, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the last look found, however soon that was, is no reason for an error."""
    await bad.stop()
    monkeypatch.setattr(look, "PROBE_LIFE", 0)
    await service.client.get("/api/llm/models")
    monkeypatch.setattr(look, "PROBE_LIFE", 60)
    await bad.start()
    await fake.stop()
    answer = await service.client.post("/api/generate", json={**PROMPT, "stream": False})
    assert (answer.status_code, asked(bad)) == (200, 1)
