"""OpenAI's responses carried over Ollama's own chat: where something is pinned, and where it has no such route."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import Service
from tests.web.conversations.stored_replies import in_ledger
from tests.web.dialects.drop_in_families import FAMILIES, PROMPT_WORDS, word_by_word

ROUTE: Final = "/v1/responses"
FAMILY: Final = FAMILIES["responses"]
TOOL: Final = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
CALLED: Final = {"function": {"name": "weather", "arguments": {"city": "Bern"}}}


@pytest.fixture(name="service", params=["pinned", "lacking"])
async def _service(request: pytest.FixtureRequest, fake: FakeOllama, serve: ServeFactory) -> AsyncIterator[Service]:
    """The service before an Ollama that has the route and a model that is pinned, or neither."""
    lacks = request.param == "lacking"
    fake.lacks = {ROUTE} if lacks else set()
    async with serve(fake.url, **({} if lacks else {"pin_num_ctx": "*=8192"})) as running:
        yield running


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The objects of a stream."""
    return [json.loads(frame.partition("\ndata: ")[2]) for frame in answer.text.split("\n\n") if frame]


@pytest.mark.parametrize("mode", [Mode.NORMAL, Mode.SPLIT_LINES, Mode.ODD_UNICODE], ids=lambda mode: mode.name)
async def test_a_stream_says_what_its_own_route_says(service: Service, fake: FakeOllama, mode: Mode) -> None:
    """The same texts in the same items, with all that was asked and counted."""
    fake.mode, fake.thinking = mode, " hm well"
    lacks, fake.lacks = fake.lacks, set()
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        theirs = events(await client.post(fake.url + ROUTE, json=FAMILY.streamed))[-1]["response"]
    fake.lacks = lacks
    answer = await service.client.post(ROUTE, json=FAMILY.streamed)
    assert answer.headers["content-type"] == "text/event-stream"
    assert fake.requests[-1].path == "/api/chat"
    ours = events(answer)[-1]["response"]
    passing = ("id", "created_at", "completed_at", "usage", "output", "store", "instructions")
    assert {name: ours[name] for name in ours if name not in passing} == {
        name: theirs[name] for name in ours if name not in passing
    }
    assert [item.get("summary") or item["content"] for item in ours["output"]] == [
        item.get("summary") or item["content"] for item in theirs["output"]
    ]
    assert ours["usage"]["total_tokens"] == theirs["usage"]["total_tokens"]


async def test_each_event_arrives_before_the_next_leaves(service: Service, fake: FakeOllama) -> None:
    """Nothing is gathered."""
    assert b"event: response.completed\n" in await word_by_word(service, fake, FAMILY, FAMILY.streamed)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_tool_that_takes_a_text(service: Service, fake: FakeOllama, *, stream: bool) -> None:
    """Is a function for an Ollama, which is told of nothing that it does not know."""
    fake.tool_calls = ({"function": {"name": "patch", "arguments": {"input": "a\n"}}},)
    tool = {"type": "custom", "name": "patch", "description": "Patch."}
    answer = await service.client.post(ROUTE, json={**FAMILY.whole, "tools": [tool], "stream": stream})
    response = events(answer)[-1]["response"] if stream else answer.json()
    [call] = [item for item in response["output"] if item["type"] == "custom_tool_call"]
    assert (call["name"], call["input"]) == ("patch", "a\n")
    sent = fake.requests[-1].json()
    assert sent["tools"][0]["function"]["parameters"]["required"] == ["input"]
    assert not {"free_form", "tool_choice", "parallel_tool_calls"} & sent.keys()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_ledger_has_what_it_took(service: Service, *, stream: bool) -> None:
    """The backend's counts."""
    answer = await service.client.post(ROUTE, json={**FAMILY.whole, "stream": stream})
    row = await in_ledger(service, answer)
    assert (row["outcome"], row["model"], row["estimated"]) == ("done", "llama3", False)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (PROMPT_WORDS, len(DEFAULT_WORDS))


@pytest.mark.parametrize(
    ("mode", "status"),
    [
        (Mode.ERROR_500, 500),
        (Mode.BUSY_503, 503),
        (Mode.CLOSE_BEFORE_HEADERS, 502),
        (Mode.ERROR_FIRST_LINE, 502),
    ],
)
async def test_a_failure_before_the_first_byte_has_a_status(
    service: Service, fake: FakeOllama, mode: Mode, status: int
) -> None:
    """And OpenAI's form of an error."""
    fake.mode = mode
    answer = await service.client.post(ROUTE, json=FAMILY.streamed)
    assert answer.status_code == status
    FAMILY.assert_error(answer.json())


@pytest.mark.parametrize("mode", [Mode.CUT_MID_STREAM, Mode.ERROR_MID_STREAM, Mode.NO_DONE], ids=lambda mode: mode.name)
async def test_no_stream_ends_silently(service: Service, fake: FakeOllama, mode: Mode) -> None:
    """What the backend tells of its failure fails the response; what breaks off or just stops ends with an error."""
    fake.mode = mode
    answer = await service.client.post(ROUTE, json=FAMILY.streamed)
    last = events(answer)[-1]
    if mode is Mode.ERROR_MID_STREAM:
        assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    else:
        FAMILY.assert_error(last)
    assert (await in_ledger(service, answer))["outcome"] == "error"


async def test_refusals_are_openais(service: Service) -> None:
    """Those of here and those of the backend."""
    unread = await service.client.post(ROUTE, json={**FAMILY.whole, "input": [{"type": "item_reference", "id": "x"}]})
    assert (unread.status_code, unread.json()["error"]["type"]) == (400, "invalid_request_error")
    unknown = await service.client.post(ROUTE, json={**FAMILY.whole, "model": "nope"})
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")


async def test_tools_go_round(service: Service, fake: FakeOllama) -> None:
    """What a client is given it gives back, and it arrives in Ollama's words."""
    fake.thinking, fake.tool_calls = "Rain?", (CALLED,)
    first = {"role": "user", "content": "Weather?"}
    answer = await service.client.post(ROUTE, json={**FAMILY.whole, "input": [first], "tools": [TOOL]})
    output = answer.json()["output"]
    call = next(item for item in output if item["type"] == "function_call")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "Sun."}
    again = await service.client.post(ROUTE, json={**FAMILY.whole, "input": [first, *output, result]})
    assert again.status_code == 200
    asked, called, told = fake.requests[-1].json()["messages"]
    assert (asked, called["thinking"]) == (first, "Rain?")
    assert called["tool_calls"] == [{"id": call["call_id"], **CALLED}]
    assert told == {"role": "tool", "content": "Sun.", "tool_name": "weather", "tool_call_id": call["call_id"]}


async def test_a_route_that_is_there_is_asked(fake: FakeOllama, serve: ServeFactory) -> None:
    """Where nothing is pinned; one that is missing is looked for once."""
    async with serve(fake.url) as service:
        asked = []
        for lacks in (set[str](), {ROUTE}, {ROUTE}):
            fake.lacks = lacks
            before = len(fake.requests)
            assert (await service.client.post(ROUTE, json=FAMILY.whole)).status_code == 200
            asked.append([request.path for request in fake.requests[before:] if request.method == "POST"])
        assert asked == [[ROUTE], [ROUTE, "/api/chat"], ["/api/chat"]]
