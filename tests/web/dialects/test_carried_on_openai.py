"""Routes that a server of OpenAI's API lacks, carried over those that it has: said so, and never silently ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from tests.conftest import ServeFactory
from tests.e2e.raw_client import RawClient
from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai_server import MODEL, in_json
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.conversations.stored_replies import in_ledger
from tests.web.dialects.chats_only import CHAT, ChatsOnly, _server, events_of, posted
from tests.web.dialects.drop_in_families import MESSAGES

__all__ = ["_server"]

ROUTE: Final = "/v1/messages"
ASKED: Final[dict[str, Any]] = {"model": MODEL["id"], "max_tokens": 100, "messages": MESSAGES}
TOOL: Final = {"name": "weather", "description": "Tell.", "input_schema": {"type": "object", "properties": {}}}
CALL: Final = {"id": "a1b2c3d4e", "index": 0, "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
SAID: Final = f"{ROUTE} -> {CHAT}"


@pytest.fixture(name="service")
async def _service(server: ChatsOnly, serve: ServeFactory) -> AsyncIterator[Service]:
    async with serve(openai_backends=server.url, idle_timeout=0.5) as running:
        yield running


async def test_a_whole_answer_is_the_servers_chat(service: Service, server: ChatsOnly) -> None:
    """With its thoughts, and counts in Anthropic's words; the header says what it was made of."""
    server.message = {"content": "Hello there", "reasoning_content": "hm"}
    answer = await service.client.post(ROUTE, json={**ASKED, "system": "Be brief."})
    assert (answer.status_code, answer.headers["x-translated"]) == (200, SAID)
    told = answer.json()
    assert told["content"] == [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello there"}]
    assert (told["stop_reason"], told["usage"]) == ("end_turn", {"input_tokens": 7, "output_tokens": 2})
    sent = server.requests[-1].json()
    assert (sent["max_tokens"], sent["messages"]) == (100, [{"role": "system", "content": "Be brief."}, *MESSAGES])


async def test_a_route_that_is_missing_is_looked_for_once(service: Service, server: ChatsOnly) -> None:
    """And one that the server has is never translated."""
    for expected in ([ROUTE, CHAT], [CHAT]):
        server.requests.clear()
        assert (await service.client.post(ROUTE, json=ASKED)).status_code == 200
        assert posted(server) == expected
    answer = await service.client.post(CHAT, json=ASKED)
    assert (answer.status_code, "x-translated" in answer.headers) == (200, False)


async def test_a_stream_has_all_its_events_in_order(service: Service, server: ChatsOnly) -> None:
    """From its start to its stop, with the counts of cache and thoughts, and one row in the ledger."""
    server.deltas = [{"reasoning": "hm"}, {"content": "Hello"}, {"content": ' "there"\n'}]
    cached, thought = {"cached_tokens": 3}, {"reasoning_tokens": 1}
    server.usage = {"prompt_tokens": 7, "completion_tokens": 2}
    server.usage |= {"prompt_tokens_details": cached, "completion_tokens_details": thought}
    answer = await service.client.post(ROUTE, json={**ASKED, "stream": True})
    assert (answer.headers["content-type"], answer.headers["x-translated"]) == ("text/event-stream", SAID)
    told = events_of(answer.text)
    assert [each["type"].removeprefix("content_block_") for each in told] == [
        *("message_start", "start", "delta", "stop", "start", "delta", "delta", "stop"),
        *("message_delta", "message_stop"),
    ]
    assert [each["index"] for each in told if "index" in each] == [0, 0, 0, 1, 1, 1, 1]
    said = "".join(each["delta"].get("text", "") for each in told if each["type"] == "content_block_delta")
    assert said == 'Hello "there"\n'
    usage = {"input_tokens": 4, "cache_read_input_tokens": 3, "output_tokens": 2}
    assert told[-2]["usage"] == {**usage, "output_tokens_details": {"thinking_tokens": 1}}
    row = await in_ledger(service, answer)
    assert (row["prompt_tokens"], row["completion_tokens"], row["outcome"]) == (7, 2, "done")


async def test_each_token_is_sent_before_the_next_one_comes(service: Service, server: ChatsOnly) -> None:
    """Nothing is gathered."""
    server.deltas = [{"content": word} for word in ("one", "two", "three", "four")]
    await service.client.post(ROUTE, json=ASKED)
    server.gate.hold()
    client = await RawClient.connect(service.url)
    await client.request("POST", ROUTE, {**ASKED, "stream": True}, X_API_Key=ORDINARY_KEY)
    async with client:
        server.gate.release(1)
        for delta in server.deltas:
            server.gate.release(1)
            if delta is server.deltas[0]:
                assert await client.head() == 200
            assert delta["content"].encode() in await asyncio.wait_for(client.chunk(), 20)
        server.gate.release()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_call_of_a_tool_goes_round(service: Service, server: ChatsOnly, *, stream: bool) -> None:
    """The server's own id comes to the client, and back with the result; which tool is to be called is said."""
    server.finish_reason = "tool_calls"
    server.deltas, server.message = [{"tool_calls": [CALL]}], {"content": None, "tool_calls": [CALL]}
    choice = {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}
    asked = {**ASKED, "tools": [TOOL], "tool_choice": choice, "stream": stream}
    answer = await service.client.post(ROUTE, json=asked)
    sent = server.requests[-1].json()
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert (sent["parallel_tool_calls"], sent["tools"][0]["function"]["name"]) == (False, "weather")
    if stream:
        told = events_of(answer.text)
        (used,) = [each["content_block"] for each in told if each["type"] == "content_block_start"]
        (delta,) = [each["delta"] for each in told if each["type"] == "content_block_delta"]
        used["input"] = json.loads(delta["partial_json"])
        assert told[-2]["delta"] == {"stop_reason": "tool_use"}
    else:
        (used,) = answer.json()["content"]
        assert answer.json()["stop_reason"] == "tool_use"
    assert used == {"type": "tool_use", "id": CALL["id"], "name": "weather", "input": {"city": "Bern"}}
    result = {"type": "tool_result", "tool_use_id": used["id"], "content": "Sun."}
    turns = [*MESSAGES, {"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
    await service.client.post(ROUTE, json={**ASKED, "messages": turns})
    *_, called, heard = server.requests[-1].json()["messages"]
    assert (called["tool_calls"][0]["id"], heard["tool_call_id"]) == (CALL["id"], CALL["id"])
    assert (heard["role"], heard["content"]) == ("tool", "Sun.")


async def test_images_and_schemas_arrive(service: Service, server: ChatsOnly) -> None:
    """As parts of a message, and as OpenAI's format."""
    source = {"type": "base64", "media_type": "image/jpeg", "data": "/9j/aa=="}
    turn = {"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image", "source": source}]}
    schema = {"type": "object", "properties": {"blue": {"type": "boolean"}}}
    form = {"format": {"type": "json_schema", "schema": schema}}
    await service.client.post(ROUTE, json={**ASKED, "messages": [turn], "output_config": form})
    sent = server.requests[-1].json()
    assert sent["messages"][0]["content"][1]["image_url"]["url"] == "data:image/jpeg;base64,/9j/aa=="
    assert sent["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ({"finish_reason": "length"}, {"stop_reason": "max_tokens"}),
        ({"finish_reason": "content_filter"}, {"stop_reason": "refusal"}),
        ({"message": {"content": "one STOP two"}}, {"stop_reason": "stop_sequence", "stop_sequence": "STOP"}),
        ({}, {"stop_reason": "end_turn"}),
    ],
)
async def test_why_an_answer_ended_is_told(
    service: Service, server: ChatsOnly, ended: dict[str, Any], told: dict[str, Any]
) -> None:
    """In Anthropic's words."""
    for name, value in ended.items():
        setattr(server, name, value)
    answer = await service.client.post(ROUTE, json={**ASKED, "stop_sequences": ["STOP"]})
    assert {name: answer.json().get(name) for name in told} == told


@pytest.mark.parametrize(
    ("refusal", "status", "kind"),
    [
        ((400, {"error": {"message": "too long"}}), 400, "invalid_request_error"),
        ((404, {"error": {"message": "model 'x' not found"}}), 404, "not_found_error"),
        ((429, {"error": {"message": "slow down"}}), 429, "rate_limit_error"),
        ((500, {"error": {"message": "it fell over"}}), 502, "api_error"),
        ((503, {"error": {"message": "loading"}}), 503, "overloaded_error"),
    ],
)
async def test_the_servers_refusal_is_told_in_the_clients_words(
    service: Service, server: ChatsOnly, refusal: tuple[int, dict[str, Any]], status: int, kind: str
) -> None:
    """Its status and its sentence, streamed or not, and that it was translated."""
    await service.client.post(ROUTE, json=ASKED)
    server.refusal = refusal
    for stream in (False, True):
        answer = await service.client.post(ROUTE, json={**ASKED, "stream": stream})
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
        assert (answer.json()["type"], answer.headers["x-translated"]) == ("error", SAID)
        assert refusal[1]["error"]["message"] in answer.json()["error"]["message"]


async def test_a_body_that_cannot_be_carried_is_refused(service: Service, server: ChatsOnly) -> None:
    """In Anthropic's form, and without asking the server's chat."""
    answer = await service.client.post(ROUTE, json={**ASKED, "max_tokens": 0})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert answer.headers["x-translated"] == SAID
    assert posted(server) == [ROUTE]


@pytest.mark.parametrize("refused", ["chat_template_kwargs", "Unsupported parameter: 'reasoning_effort'"])
async def test_a_model_that_does_not_think_answers(service: Service, server: ChatsOnly, refused: str) -> None:
    """Claude Code asks every model to think."""
    asked = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "high"}}
    field_name = "reasoning_effort" if "reasoning_effort" in refused else "chat_template_kwargs"
    if field_name == "reasoning_effort":
        del asked["thinking"]
    answered = server.answer

    async def answer(connection: Connection, request: Request) -> None:
        if request.path == CHAT and field_name in json.loads(request.body):
            await connection.send(in_json({"error": {"message": refused}}, 400))
        else:
            await answered(connection, request)

    server.answer = answer  # type: ignore[method-assign]
    assert (await service.client.post(ROUTE, json={**ASKED, **asked})).status_code == 200
    assert [field_name in request.json() for request in server.requests if request.path == CHAT] == [True, False]


@pytest.mark.parametrize("status", [400, 500])
async def test_instructions_amid_a_conversation(service: Service, server: ChatsOnly, status: int) -> None:
    """Claude Code sends some behind the first turn; a template that refuses them is given a user's, from then on."""
    turns = [
        *({"role": "user", "content": text} for text in ("Hi", "Name a colour.")),
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "assistant", "content": "Red."},
        {"role": "user", "content": "Another?"},
    ]
    answered = server.answer

    async def answer(connection: Connection, request: Request) -> None:
        if request.path == CHAT and '"system"' in json.dumps(json.loads(request.body)["messages"][1:]):
            words = "Jinja Exception: System message must be at the beginning."
            await connection.send(in_json({"error": {"code": status, "message": words}}, status))
        else:
            await answered(connection, request)

    server.answer = answer  # type: ignore[method-assign]
    for _ in range(2):
        told = await service.client.post(ROUTE, json={**ASKED, "system": "You paint.", "messages": turns})
        assert (told.status_code, told.json()["content"][0]["text"]) == (200, "Hello there")
    asked = [request.json()["messages"] for request in server.requests if request.path == CHAT]
    assert [[turn["role"] for turn in each].count("system") for each in asked] == [2, 1, 1]
    assert asked[-1] == [
        {"role": "system", "content": "You paint."},
        {"role": "user", "content": "Hi\nName a colour.\nBe brief."},
        {"role": "assistant", "content": "Red."},
        {"role": "user", "content": "Another?"},
    ]


async def test_a_stream_that_breaks_off_ends_with_an_error(service: Service, server: ChatsOnly) -> None:
    """In the ledger too."""
    server.cut = True
    answer = await service.client.post(ROUTE, json={**ASKED, "stream": True})
    assert events_of(answer.text)[-1]["type"] == "error"
    assert (await in_ledger(service, answer))["outcome"] == "error"


async def test_a_server_that_hangs_ends_the_stream(service: Service, server: ChatsOnly) -> None:
    """By the clock between two frames."""
    server.gate.hold()
    server.gate.release(2)
    answer = await service.client.post(ROUTE, json={**ASKED, "stream": True})
    assert events_of(answer.text)[-1]["error"]["type"] == "timeout_error"


async def test_a_client_that_leaves_ends_the_servers_work(service: Service, server: ChatsOnly) -> None:
    """The connection to the server is closed."""
    await service.client.post(ROUTE, json=ASKED)
    server.gate.hold()
    server.gate.release(2)
    client = await RawClient.connect(service.url)
    async with client:
        await client.request("POST", ROUTE, {**ASKED, "stream": True}, X_API_Key=ORDINARY_KEY)
        assert await client.head() == 200
    assert (await server.wait_for_disconnect()).path == CHAT


async def test_a_drain_ends_the_stream_with_an_error(service: Service, server: ChatsOnly) -> None:
    """In Anthropic's form, and the server's work with it."""
    await service.client.post(ROUTE, json=ASKED)
    server.gate.hold()
    server.gate.release(2)
    client = await RawClient.connect(service.url)
    async with client:
        await client.request("POST", ROUTE, {**ASKED, "stream": True}, X_API_Key=ORDINARY_KEY)
        assert await client.head() == 200
        stream = await client.chunk()
        await service.admission.drain(0.05)
        while chunk := await asyncio.wait_for(client.chunk(), 20):
            stream += chunk
    assert events_of(stream.decode())[-1]["type"] == "error"
    assert (await server.wait_for_disconnect()).path == CHAT


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_completions_are_carried_over_chats(service: Service, server: ChatsOnly, *, stream: bool) -> None:
    """The prompt is a turn of a user then; what only completions do is not there."""
    body = {"model": MODEL["id"], "prompt": "Say hello", "max_tokens": 9, "stream": stream}
    answer = await service.client.post("/v1/completions", json=body)
    assert answer.headers["x-translated"] == f"/v1/completions -> {CHAT}"
    assert server.requests[-1].json()["messages"] == [{"role": "user", "content": "Say hello"}]
    if stream:
        assert answer.text.endswith("data: [DONE]\n\n")
        assert '"usage"' not in answer.text
    else:
        assert answer.json()["choices"][0]["text"] == "Hello there"
        assert answer.json()["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    insert = await service.client.post("/v1/completions", json={**body, "suffix": "!"})
    assert insert.status_code == 501


async def test_what_has_no_other_way_is_missing(service: Service) -> None:
    """Vectors come from no chat; nothing was translated."""
    answer = await service.client.post("/v1/embeddings", json={"model": MODEL["id"], "input": "hi"})
    assert (answer.status_code, "x-translated" in answer.headers) == (501, False)


async def test_translated_answers_to_ollamas_clients_say_so(service: Service) -> None:
    """Whole, streamed, shown and refused; what is refused here without asking anybody says nothing."""
    chat = {"model": MODEL["id"], "messages": MESSAGES}
    for path, body, over in (
        ("/api/chat", chat, CHAT),
        ("/api/chat", {**chat, "stream": False}, CHAT),
        ("/api/llm/chat", chat, CHAT),
        ("/api/generate", {"model": MODEL["id"], "prompt": "hi"}, CHAT),
        ("/api/show", {"model": MODEL["id"]}, "/v1/models"),
        ("/api/show", {"model": "nope"}, "/v1/models"),
        ("/api/embed", {"model": MODEL["id"], "input": "hi"}, "/v1/embeddings"),
        ("/api/chat", {**chat, "messages": "no list"}, CHAT),
    ):
        answer = await service.client.post(path, json=body)
        client = path.replace("/llm", "")
        assert answer.headers.get("x-translated") == f"{client} -> {over}", path
    answer = await service.client.post("/api/pull", json={"model": "x"}, headers={"X-API-Key": ADMIN_KEY})
    assert "x-translated" not in answer.headers


async def test_who_answers_in_its_own_words_says_nothing_of_another(
    serve: ServeFactory, server: ChatsOnly, fake: FakeOllama
) -> None:
    """A request that is passed on from one that would have translated it to one with the route has no such header."""
    server.refusal = (503, {"error": {"message": "busy"}})
    both = {**MODEL, "id": "llama3"}
    server.models = [both]
    async with serve(fake.url, openai_backends=server.url) as service:
        for _ in range(3):
            answer = await service.client.post(ROUTE, json={**ASKED, "model": "llama3"})
            assert (answer.status_code, "x-translated" in answer.headers) == (200, False)


async def test_pages_may_read_it(service: Service) -> None:
    """Browsers hide what is not exposed."""
    answer = await service.client.post(ROUTE, json=ASKED, headers={"Origin": "http://localhost:3000"})
    assert "X-Translated" in answer.headers["access-control-expose-headers"]
