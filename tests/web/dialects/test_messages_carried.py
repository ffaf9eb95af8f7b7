"""Anthropic's messages carried over Ollama's own chat: where something is pinned, and where it has no such route."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.fakes.ollama_shapes import error_reply
from tests.service import ADMIN_KEY, Service
from tests.web.conversations.stored_replies import in_ledger
from tests.web.dialects.drop_in_families import FAMILIES, PROMPT_WORDS, masked, word_by_word

ROUTE: Final = "/v1/messages"
FAMILY: Final = FAMILIES["messages"]
TOOL: Final = {"name": "weather", "description": "Tell.", "input_schema": {"type": "object", "properties": {}}}
CALLED: Final = {"function": {"name": "weather", "arguments": {"city": "Bern"}}}
PINNED: Final[dict[str, Any]] = {"pin_num_ctx": "*=8192"}


@pytest.fixture(name="service", params=["pinned", "lacking"])
async def _service(request: pytest.FixtureRequest, fake: FakeOllama, serve: ServeFactory) -> AsyncIterator[Service]:
    """The service before an Ollama that has the route and a model that is pinned, or neither."""
    lacks = request.param == "lacking"
    fake.lacks = {ROUTE} if lacks else set()
    async with serve(fake.url, **({} if lacks else PINNED)) as running:
        yield running


async def told_by(fake: FakeOllama, body: dict[str, Any]) -> httpx.Response:
    """What the fake answers by the route, which it has for a moment."""
    lacks, fake.lacks = fake.lacks, set()
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        answer = await client.post(fake.url + ROUTE, json=body)
    fake.lacks = lacks
    return answer


@pytest.mark.parametrize("mode", [Mode.NORMAL, Mode.SPLIT_LINES, Mode.ODD_UNICODE], ids=lambda mode: mode.name)
async def test_a_stream_is_what_its_own_route_sends(service: Service, fake: FakeOllama, mode: Mode) -> None:
    """Byte for byte, but for identifiers, however the lines are cut."""
    fake.mode, fake.thinking = mode, " hm well"
    expected = await told_by(fake, FAMILY.streamed)
    answer = await service.client.post(ROUTE, json=FAMILY.streamed)
    assert answer.headers["content-type"] == "text/event-stream"
    assert masked(answer.content) == masked(expected.content)
    assert fake.requests[-1].path == "/api/chat"


BODIES: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "cut": {"max_tokens": 2},
    "no maximum": {"max_tokens": 0},
    "no messages": {"messages": []},
    "no model": {"model": ""},
    "unknown model": {"model": "nope"},
    "tools": {"tools": [TOOL]},
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_whole_answer_is_what_its_own_route_sends(service: Service, fake: FakeOllama, name: str) -> None:
    """Status and object; refusals too."""
    fake.thinking, fake.tool_calls = "hm well", (CALLED,)
    body = {**FAMILY.whole, **BODIES[name]}
    theirs = await told_by(fake, body)
    ours = await service.client.post(ROUTE, json=body)
    assert ours.status_code == theirs.status_code
    assert ours.headers["content-type"].startswith("application/json")
    assert without_ids(ours.json()) == without_ids(theirs.json())


def without_ids(value: Any) -> Any:
    """A value without what differs each time."""
    match value:
        case dict():
            return {name: without_ids(inner) for name, inner in value.items() if name not in ("id", "request_id")}
        case list():
            return [without_ids(inner) for inner in value]
    return value


async def test_calls_of_tools_stream(service: Service, fake: FakeOllama) -> None:
    """Each in a block of its own, with the arguments' text."""
    fake.tool_calls = (CALLED, CALLED)
    answer = await service.client.post(ROUTE, json={**FAMILY.streamed, "tools": [TOOL]})
    events = [json.loads(frame.partition("\ndata: ")[2]) for frame in answer.text.split("\n\n") if frame]
    begun = {event["index"]: event["content_block"] for event in events if event["type"] == "content_block_start"}
    assert [block["type"] for block in begun.values()] == ["text", "tool_use", "tool_use"]
    assert begun[1]["id"] != begun[2]["id"]
    deltas = [(event["index"], event["delta"]) for event in events if event["type"] == "content_block_delta"]
    said = [(index, delta["partial_json"]) for index, delta in deltas if delta["type"] == "input_json_delta"]
    assert said == [(1, '{"city":"Bern"}'), (2, '{"city":"Bern"}')]
    closed = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert closed == [0, 1, 2]
    assert next(event for event in events if event["type"] == "message_delta")["delta"] == {"stop_reason": "tool_use"}
    assert events[-1] == {"type": "message_stop"}


async def test_each_event_arrives_before_the_next_leaves(service: Service, fake: FakeOllama) -> None:
    """Nothing is gathered."""
    assert b"event: message_stop\n" in await word_by_word(service, fake, FAMILY, FAMILY.streamed)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_ledger_has_what_it_took(service: Service, *, stream: bool) -> None:
    """The backend's counts, not the estimate that a stream begins with."""
    answer = await service.client.post(ROUTE, json={**FAMILY.whole, "system": "x" * 400, "stream": stream})
    row = await in_ledger(service, answer)
    assert (row["outcome"], row["model"], row["estimated"]) == ("done", "llama3", False)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (PROMPT_WORDS + 1, len(DEFAULT_WORDS))


@pytest.mark.parametrize(
    ("mode", "status", "kind"),
    [
        (Mode.ERROR_500, 500, "api_error"),
        (Mode.BUSY_503, 503, "overloaded_error"),
        (Mode.CLOSE_BEFORE_HEADERS, 502, "api_error"),
        (Mode.ERROR_FIRST_LINE, 502, "api_error"),
    ],
)
async def test_a_failure_before_the_first_byte_has_a_status(
    service: Service, fake: FakeOllama, mode: Mode, status: int, kind: str
) -> None:
    """And Anthropic's form of an error."""
    fake.mode = mode
    answer = await service.client.post(ROUTE, json=FAMILY.streamed)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("mode", [Mode.CUT_MID_STREAM, Mode.ERROR_MID_STREAM, Mode.NO_DONE], ids=lambda mode: mode.name)
async def test_no_stream_ends_silently(service: Service, fake: FakeOllama, mode: Mode) -> None:
    """What breaks off, dies or just stops ends with an error, in the ledger too."""
    fake.mode = mode
    answer = await service.client.post(ROUTE, json=FAMILY.streamed)
    last = answer.text.removesuffix("\n\n").rpartition("\n\n")[2]
    assert last.startswith("event: error\ndata: ")
    FAMILY.assert_error(json.loads(last.partition("\ndata: ")[2]))
    assert (await in_ledger(service, answer))["outcome"] == "error"


class Unthinking(FakeOllama):
    """An Ollama whose model does not think; its own route overlooks that it should."""

    async def answer(self, connection: Connection, request: Request) -> None:
        """Refuse to."""
        if request.method == "POST" and json.loads(request.body or b"{}").get("think"):
            await connection.send(error_reply(400, '"llama3" does not support thinking'))
        else:
            await super().answer(connection, request)


async def test_a_model_that_does_not_think_answers(serve: ServeFactory) -> None:
    """As by its own route: Claude Code asks every model to think."""
    async with Unthinking() as fake, serve(fake.url, **PINNED) as service:
        body = {**FAMILY.whole, "thinking": {"type": "enabled", "budget_tokens": 1024}}
        assert (await service.client.post(ROUTE, json=body)).status_code == 200
        asked = [request.json() for request in fake.requests if request.path == "/api/chat"]
    assert [told.get("think") for told in asked] == [True, None]


async def test_a_route_that_is_there_is_asked(fake: FakeOllama, serve: ServeFactory) -> None:
    """Where nothing is pinned; one that is missing is looked for once, until the Ollama is another version."""

    async def asked(service: Service) -> list[str]:
        before = len(fake.requests)
        assert (await service.client.post(ROUTE, json=FAMILY.whole)).status_code == 200
        return [request.path for request in fake.requests[before:] if request.method == "POST"]

    async with serve(fake.url) as service:
        admin = {"X-API-Key": ADMIN_KEY}
        probe = f"/api/admin/backends/{fake.url}/probe"
        assert await asked(service) == [ROUTE]
        unknown = await service.client.post(ROUTE, json={**FAMILY.whole, "model": "nope"})
        assert (unknown.status_code, unknown.json()["error"]["message"]) == (404, "model 'nope' not found")
        assert fake.requests[-1].path == ROUTE
        fake.lacks = {ROUTE}
        assert await asked(service) == [ROUTE, "/api/chat"]
        fake.lacks = set()
        assert await asked(service) == ["/api/chat"]
        fake.version = "0.14.0"
        assert (await service.stranger.post(probe, headers=admin)).status_code == 200
        assert await asked(service) == [ROUTE]


async def test_a_search_of_the_web_is_refused(service: Service) -> None:
    """Only Ollama's own route does it."""
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    answer = await service.client.post(ROUTE, json={**FAMILY.whole, "tools": tools})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "does not search the web" in answer.json()["error"]["message"]


async def test_images_and_results_arrive(service: Service, fake: FakeOllama) -> None:
    """In Ollama's words, the result with its function's name."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "Sun."}, image]}
    said = [
        {"role": "user", "content": [{"type": "text", "text": "See"}, image]},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, use]},
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
    ]
    assert (await service.client.post(ROUTE, json={**FAMILY.whole, "messages": said})).status_code == 200
    assert fake.requests[-1].json()["messages"] == [
        {"role": "user", "content": "See", "images": ["AAAA"]},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"id": "toolu_1", "function": {"name": "weather", "arguments": {"city": "Bern"}}}],
        },
        {"role": "tool", "content": "Sun.", "images": ["AAAA"], "tool_name": "weather", "tool_call_id": "toolu_1"},
        {"role": "user", "content": "And?"},
    ]
