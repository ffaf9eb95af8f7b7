"""Instructions amid a conversation, before a server whose own route refuses them: asked on the way that takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from mlops_backend.services.llm.backends import refusals
from mlops_backend.services.other.usage.ledger import Ledger
from tests.conftest import ServeFactory
from tests.e2e.raw_client import RawClient
from tests.fakes.collector import FakeCollector
from tests.fakes.openai_kinds import CHAT, TOKENIZE, StrictOpenAI
from tests.fakes.openai_server import MODEL
from tests.ledger_rows import until_written
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.conversations.stored_replies import in_ledger
from tests.web.dialects.chats_only import events_of, posted
from tests.web.test_logs import requests_in

MESSAGES: Final = "/v1/messages"
RESPONSES: Final = "/v1/responses"
COUNT: Final = "/v1/messages/count_tokens"
TURNS: Final = [
    {"role": "user", "content": "Name a colour."},
    {"role": "system", "content": "Be brief."},
    {"role": "assistant", "content": "Red."},
    {"role": "user", "content": "Another?"},
]
PLAIN: Final = [TURNS[0], *TURNS[2:]]
ASKED: Final[dict[str, Any]] = {"model": MODEL["id"], "max_tokens": 100, "system": "You paint.", "messages": TURNS}
BODIES: Final[dict[str, dict[str, Any]]] = {
    MESSAGES: ASKED,
    RESPONSES: {"model": MODEL["id"], "instructions": "You paint.", "input": TURNS},
}
TURNS_AT: Final = {MESSAGES: "messages", RESPONSES: "input"}
MENDED: Final = [
    {"role": "system", "content": "You paint."},
    {"role": "user", "content": "Name a colour.\nBe brief."},
    *TURNS[2:],
]
TWO_ROLES: Final = (
    "1 validation error: {'loc': ('messages', 1, 'role'), 'msg': \"Input should be 'user' or 'assistant'\"}"
)


@pytest.fixture(name="server")
async def _server() -> AsyncIterator[StrictOpenAI]:
    async with StrictOpenAI() as server:
        yield server


@pytest.fixture(name="service")
async def _service(server: StrictOpenAI, serve: ServeFactory) -> AsyncIterator[Service]:
    async with serve(openai_backends=server.url) as running:
        yield running


async def left(service: Service, path: str = MESSAGES) -> RawClient:
    """A client that has asked for a stream, and does not read."""
    client = await RawClient.connect(service.url)
    await client.request("POST", path, {**BODIES[path], "stream": True}, X_API_Key=ORDINARY_KEY)
    return client


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "Jinja Exception: System message must be at the beginning."),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (422, "System message must be at the beginning."),
    ],
    ids=["llama.cpp", "400", "422"],
)
async def test_they_go_over_the_chat(
    service: Service, server: StrictOpenAI, status: int, words: str, path: str, *, stream: bool
) -> None:
    """The first time behind the refusal, from then on at once; the answer says over what it came."""
    server.status, server.words = status, words
    for expected in ([path, CHAT, CHAT], [CHAT], [CHAT]):
        server.requests.clear()
        answer = await service.client.post(path, json={**BODIES[path], "stream": stream})
        assert (answer.status_code, answer.headers["x-translated"]) == (200, f"{path} -> {CHAT}")
        assert "Hello" in answer.text
        if stream:
            assert events_of(answer.text)[-1]["type"] in ("message_stop", "response.completed")
        assert posted(server) == expected
        assert server.requests[-1].json()["messages"] == MENDED
    assert server.open_connections == 1


async def test_others_stay_on_its_own_route(service: Service, server: StrictOpenAI) -> None:
    """Before and behind such a refusal: it is of these instructions alone, and of this model and route."""
    for body in (BODIES[MESSAGES], BODIES[RESPONSES]):
        for path, turns_at in TURNS_AT.items():
            told = {**BODIES[path], turns_at: PLAIN}
            answer = await service.client.post(path, json=told)
            assert (answer.json(), "x-translated" in answer.headers) == (server.native, False)
        path = MESSAGES if "messages" in body else RESPONSES
        assert (await service.client.post(path, json=body)).headers["x-translated"]
    server.requests.clear()
    another = {**ASKED, "model": "another"}
    assert (await service.client.post(MESSAGES, json=another)).status_code == 200
    assert posted(server)[0] == MESSAGES


async def test_instructions_of_the_beginning_are_no_later_ones(service: Service, server: StrictOpenAI) -> None:
    """A first turn is where any template takes them."""
    await service.client.post(MESSAGES, json=ASKED)
    first = {"model": MODEL["id"], "max_tokens": 9, "messages": [TURNS[1], TURNS[0]]}
    answer = await service.client.post(MESSAGES, json=first)
    assert (answer.json(), posted(server)[-1]) == (server.native, MESSAGES)


async def test_a_route_that_knows_two_roles(service: Service, server: StrictOpenAI) -> None:
    """vLLM before 0.23 refuses the role itself; its chat takes them where they stand, unless the template does not."""
    server.status, server.words, server.strict = 400, TWO_ROLES, (MESSAGES,)
    for expected in ([MESSAGES, CHAT], [CHAT]):
        server.requests.clear()
        assert (await service.client.post(MESSAGES, json=ASKED)).status_code == 200
        assert posted(server) == expected
        assert server.requests[-1].json()["messages"] == [{"role": "system", "content": "You paint."}, *TURNS]


async def test_after_ten_minutes_its_own_route_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, service: Service, server: StrictOpenAI
) -> None:
    """It may have another template by then."""
    now = monotonic()
    monkeypatch.setattr(refusals, "monotonic", lambda: now)
    await service.client.post(MESSAGES, json=ASKED)
    server.strict = ()
    for later, expected in ((refusals.MEMORY - 1, CHAT), (refusals.MEMORY + 1, MESSAGES)):
        monkeypatch.setattr(refusals, "monotonic", lambda at=now + later: at)
        assert (await service.client.post(MESSAGES, json=ASKED)).status_code == 200
        assert posted(server)[-1] == expected


@pytest.mark.parametrize(
    ("words", "turns"),
    [("System message must be at the beginning.", PLAIN), ("it fell over", TURNS)],
    ids=["nothing to mend", "another refusal"],
)
async def test_what_is_no_such_refusal_is_passed_on(
    service: Service, server: StrictOpenAI, words: str, turns: list[Any]
) -> None:
    """With its status and its words, as they came."""
    refusal = {"error": {"message": words}}
    server.strict, server.native, server.native_status = (), refusal, 500
    for _ in range(2):
        answer = await service.client.post(MESSAGES, json={**ASKED, "messages": turns})
        assert (answer.status_code, answer.json(), "x-translated" in answer.headers) == (500, refusal, False)
    assert posted(server) == [MESSAGES] * 2


async def test_a_server_without_a_chat_gives_its_refusal(service: Service, server: StrictOpenAI) -> None:
    """There is no other way: the client is told why, in the server's words."""
    server.lacks = (CHAT,)
    for _ in range(2):
        answer = await service.client.post(MESSAGES, json=ASKED)
        assert (answer.status_code, "x-translated" in answer.headers) == (500, False)
        assert answer.json()["error"]["message"] == server.words
    assert posted(server) == [MESSAGES, CHAT] * 2


async def test_one_that_refuses_there_too_is_told_so(service: Service, server: StrictOpenAI) -> None:
    """In the client's form; nothing is remembered, and nobody is asked for ever."""
    server.refusal = 400, {"error": {"message": "No."}}
    for _ in range(2):
        server.requests.clear()
        answer = await service.client.post(MESSAGES, json=ASKED)
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "No.")
        assert posted(server)[0] == MESSAGES
        assert len(posted(server)) <= 4


async def test_it_is_one_generation(serve: ServeFactory, server: StrictOpenAI) -> None:
    """In the ledger, in the log, and in the trace, whose context both requests have."""
    async with FakeCollector() as collector:
        async with serve(openai_backends=server.url, otel_exporter_otlp_endpoint=collector.url) as service:
            with capture_logs() as logs:
                answer = await service.client.post(MESSAGES, json={**ASKED, "stream": True})
                row = await in_ledger(service, answer)
                await until_written(service.services.get(Ledger), 1)
                total = (await service.client.get("/api/usage")).json()["total"]
        assert (row["outcome"], row["prompt_tokens"], row["completion_tokens"]) == ("done", 7, 2)
        assert total["generations"] == 1
        (line,) = [line for line in requests_in(logs) if line["route"] == MESSAGES]
        assert (line["status"], line["outcome"], line["upstream_url"]) == (200, "done", server.url + CHAT)
        await collector.wait_until(lambda: len(collector.spans) > 0)
        (span,) = collector.spans
        assert not span.failed
        parents = [str(request.header("traceparent")) for request in server.requests if request.method == "POST"]
        assert [parent.split("-")[1:3] for parent in parents] == [[span.trace_id, span.id]] * 3


async def test_its_breaker_hears_no_failure(serve: ServeFactory, server: StrictOpenAI) -> None:
    """However often it refuses: both of two servers answer, none is passed over."""
    async with StrictOpenAI() as other, serve(openai_backends=f"{server.url},{other.url}") as service:
        for number in range(8):  # prompts that begin in another way each are spread
            turns = [{"role": "user", "content": f"{number} is a number"}, *TURNS[1:]]
            answer = await service.client.post(MESSAGES, json={**ASKED, "messages": turns})
            assert answer.status_code == 200
        told = await service.client.get("/api/admin/backends", headers={"X-API-Key": ADMIN_KEY})
        assert {each["breaker"]["state"] for each in told.json()["backends"]} == {"closed"}
        assert {posted(each)[0] for each in (server, other) if posted(each)} == {MESSAGES}


async def test_another_server_is_asked_where_its_chat_is_busy(serve: ServeFactory, server: StrictOpenAI) -> None:
    """What comes from there is in its own words, and says nothing of a translation; it is one generation still."""
    server.refusal, server.strict = (503, {"error": {"message": "busy"}}), (MESSAGES,)
    async with StrictOpenAI(strict=()) as other, serve(openai_backends=f"{server.url},{other.url}") as service:
        for number in range(100):
            turns = [{"role": "user", "content": f"{number} is a number"}, *TURNS[1:]]
            answer = await service.client.post(MESSAGES, json={**ASKED, "messages": turns})
            assert (answer.json(), "x-translated" in answer.headers) == (other.native, False)
            if posted(server):
                break
        assert posted(server) == [MESSAGES, CHAT]
        assert (await in_ledger(service, answer))["backend"] == other.url


@pytest.mark.parametrize("amid", ["the refusal", "the answer"])
async def test_a_client_that_leaves_ends_it(service: Service, server: StrictOpenAI, amid: str) -> None:
    """Amid the refusal's body nobody asks the chat any more; behind it the chat's connection is closed."""
    server.gate.hold()
    server.hangs = amid == "the refusal"
    path = MESSAGES if server.hangs else CHAT
    async with await left(service):
        await server.wait_for_request(path)
    assert (await server.wait_for_disconnect()).path == path
    assert posted(server) == ([MESSAGES] if server.hangs else [MESSAGES, CHAT])


@pytest.mark.parametrize("amid", ["the refusal", "the answer"])
async def test_a_server_that_hangs_is_given_up(serve: ServeFactory, server: StrictOpenAI, amid: str) -> None:
    """By the clock of the first byte, which both have together."""
    server.gate.hold()
    server.hangs = amid == "the refusal"
    async with serve(openai_backends=server.url, first_byte_timeout=0.3) as service:
        answer = await service.client.post(MESSAGES, json=ASKED)
        assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout_error")
        assert (await server.wait_for_disconnect()).path == posted(server)[-1]


async def test_a_drain_ends_it(service: Service, server: StrictOpenAI) -> None:
    """Between the refusal and the answer too."""
    server.gate.hold()
    async with await left(service) as client:
        await server.wait_for_request(CHAT)
        await service.admission.drain(0.05)
        assert await asyncio.wait_for(client.head(), 20) == 503
    assert (await server.wait_for_disconnect()).path == CHAT


async def test_tokens_are_counted_although_its_own_route_refuses(service: Service, server: StrictOpenAI) -> None:
    """By an estimate where its tokenizer refuses too; by that once it is known in which words they are taken."""
    answer = await service.client.post(COUNT, json=ASKED)
    assert (answer.status_code, answer.headers["x-token-count"]) == (200, "estimated")
    assert posted(server) == [COUNT, TOKENIZE]
    await service.client.post(MESSAGES, json=ASKED)
    for expected in ([COUNT, TOKENIZE], [TOKENIZE]):
        server.requests.clear()
        answer = await service.client.post(COUNT, json=ASKED)
        assert (answer.json(), answer.headers["x-translated"]) == ({"input_tokens": 17}, f"{COUNT} -> {TOKENIZE}")
        assert posted(server) == expected
        assert server.requests[-1].json()["messages"] == MENDED
    plain = await service.client.post(COUNT, json={**ASKED, "messages": PLAIN})
    assert (plain.json()["input_tokens"], posted(server)[-1]) == (5, COUNT)
