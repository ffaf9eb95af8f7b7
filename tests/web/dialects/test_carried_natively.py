"""OpenAI's routes carried over Ollama's own: the answer is the one that Ollama's `/v1` would have given."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.fakes.ollama_shapes import error_reply
from tests.service import Service
from tests.web.conversations.stored_replies import in_ledger
from tests.web.dialects.drop_in_families import (
    MESSAGES,
    OPENAI,
    PROMPT_WORDS,
    Family,
    directly,
    masked,
    word_by_word,
)

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALLED = {"function": {"name": "weather", "arguments": {"city": "Bern", "wide": "<a & b>"}}}
OVER = {"/v1/chat/completions": "/api/chat", "/v1/completions": "/api/generate", "/v1/embeddings": "/api/embed"}
every_family = pytest.mark.parametrize("family", OPENAI.values(), ids=OPENAI)


PINNED: Final[dict[str, Any]] = {"pin_num_ctx": "*=8192", "pin_keep_alive": "*=24h"}


@pytest.fixture(name="service")
async def _service(fake: FakeOllama, serve: ServeFactory) -> AsyncIterator[Service]:
    async with serve(fake.url, **PINNED) as running:
        yield running


async def told_by(fake: FakeOllama, path: str, body: dict[str, Any]) -> httpx.Response:
    """What the fake itself answers."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        return await client.post(fake.url + path, json=body)


@pytest.mark.parametrize(
    "mode", [Mode.NORMAL, Mode.SPLIT_LINES, Mode.ODD_UNICODE, Mode.HUGE_LINES], ids=lambda mode: mode.name
)
@every_family
async def test_a_stream_is_what_its_own_v1_sends(
    service: Service, fake: FakeOllama, family: Family, mode: Mode
) -> None:
    """Byte for byte, but for identifiers and times, however the lines are cut; the model gets what is set for it."""
    fake.mode, fake.thinking = mode, " hm well"
    expected = masked(b"".join(await directly(fake, family, family.unasked)))
    answer = await service.client.post(family.path, json=family.unasked)
    assert answer.headers["content-type"] == "text/event-stream"
    assert masked(answer.content) == expected
    sent = fake.requests[-1]
    assert sent.path == OVER[family.path]
    assert (sent.json()["options"]["num_ctx"], sent.json()["keep_alive"]) == (8192, "24h")


@every_family
async def test_an_older_ollama_that_lacks_a_route_answers_by_another(
    fake: FakeOllama, serve: ServeFactory, family: Family
) -> None:
    """Without a pin; the answer says so, and one by the route itself does not."""
    async with serve(fake.url) as service:
        native = await service.client.post(family.path, json=family.whole)
        fake.lacks = {family.path}
        answer = await service.client.post(family.path, json=family.whole)
    assert (native.headers.get("x-translated"), native.status_code) == (None, 200)
    assert answer.headers["x-translated"] == f"{family.path} -> {OVER[family.path]}"
    assert masked(answer.content).rstrip() == masked(native.content).rstrip()


@every_family
async def test_each_event_arrives_before_the_next_leaves(service: Service, fake: FakeOllama, family: Family) -> None:
    """Nothing is gathered: a line of the backend is an event of the client's, at once."""
    assert (await word_by_word(service, fake, family, family.unasked)).endswith(b"data: [DONE]\n\n")


async def test_calls_of_tools_stream(service: Service, fake: FakeOllama) -> None:
    """A call has an id, its index and the text of its arguments, and is why the answer ends."""
    fake.tool_calls = (CALLED, CALLED)
    body = {"model": "llama3", "messages": MESSAGES, "tools": [TOOL], "stream": True}
    stream = (await service.client.post("/v1/chat/completions", json=body)).text
    events = [json.loads(event.removeprefix("data: ")) for event in stream.split("\n\n")[:-2]]
    first, second = next(calls for event in events if (calls := event["choices"][0]["delta"].get("tool_calls")))
    assert (first["index"], second["index"], first["type"]) == (0, 1, "function")
    assert first["id"].startswith("call_")
    assert first["id"] != second["id"]
    assert json.loads(first["function"]["arguments"]) == CALLED["function"]["arguments"]
    assert events[-1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    assert fake.requests[-1].json()["tools"] == [TOOL]


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": MESSAGES}),
    "chat cut": ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 2}),
    "completion": ("/v1/completions", {"prompt": "say hello please"}),
    "completion of nothing": ("/v1/completions", {"prompt": ""}),
    "embedding": ("/v1/embeddings", {"input": "a"}),
    "embeddings": ("/v1/embeddings", {"input": ["a", "b"], "dimensions": 4}),
    "packed embeddings": ("/v1/embeddings", {"input": ["a", "b"], "encoding_format": "base64"}),
    "no messages": ("/v1/chat/completions", {"messages": []}),
    "no input": ("/v1/embeddings", {"input": []}),
    "no encoding": ("/v1/embeddings", {"input": "a", "encoding_format": "x"}),
    "wrong input": ("/v1/embeddings", {"input": 7}),
    "unknown model": ("/v1/chat/completions", {"messages": MESSAGES, "model": "nope"}),
    "unknown model to embed": ("/v1/embeddings", {"input": "a", "model": "nope"}),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_whole_answer_is_what_its_own_v1_sends(service: Service, fake: FakeOllama, name: str) -> None:
    """Status, type and object; refusals too."""
    fake.thinking = "hm well"
    path, fields = BODIES[name]
    body = {"model": "llama3", **fields}
    theirs = await told_by(fake, path, body)
    ours = await service.client.post(path, json=body)
    assert ours.status_code == theirs.status_code
    assert ours.headers["content-type"].startswith("application/json")
    assert json.loads(masked(ours.content)) == json.loads(masked(theirs.content))
    assert fake.requests[-1].path == OVER[path] or ours.status_code == 400


@pytest.mark.parametrize("body", [b"", b"[", b"[1]", b'"model"', b"\xff"], ids=repr)
async def test_what_is_no_json_is_refused_by_its_own_v1(service: Service, fake: FakeOllama, body: bytes) -> None:
    """In the backend's own words."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        theirs = await client.post(f"{fake.url}/v1/chat/completions", content=body)
    ours = await service.client.post("/v1/chat/completions", content=body)
    assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content) != (200, b"")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("mode", "status"), [(Mode.ERROR_500, 500), (Mode.BUSY_503, 503), (Mode.CLOSE_BEFORE_HEADERS, 502)]
)
@every_family
async def test_a_failure_before_the_first_byte_has_a_status(
    service: Service, fake: FakeOllama, family: Family, mode: Mode, status: int, *, stream: bool
) -> None:
    """And OpenAI's form of an error."""
    fake.mode = mode
    answer = await service.client.post(family.path, json={**family.whole, "stream": stream})
    assert answer.status_code == status
    family.assert_error(answer.json())


@every_family
async def test_an_error_in_the_first_line_has_a_status(service: Service, fake: FakeOllama, family: Family) -> None:
    """What Ollama's `/v1` loses is told in its words."""
    fake.mode = Mode.ERROR_FIRST_LINE
    answer = await service.client.post(family.path, json=family.unasked)
    assert answer.status_code == 502
    assert "unexpected EOF" in answer.json()["error"]["message"]


@every_family
async def test_a_stream_of_nothing_has_a_status(service: Service, fake: FakeOllama, family: Family) -> None:
    """It is the backend that failed."""
    fake.mode, fake.words = Mode.NO_DONE, ()
    answer = await service.client.post(family.path, json=family.unasked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "stream_incomplete")


@pytest.mark.parametrize(
    "mode",
    [Mode.CUT_MID_STREAM, Mode.HANG_MID_STREAM, Mode.ERROR_MID_STREAM, Mode.NO_DONE, Mode.GARBAGE_JSON],
    ids=lambda mode: mode.name,
)
@every_family
async def test_no_stream_ends_silently(serve: ServeFactory, fake: FakeOllama, family: Family, mode: Mode) -> None:
    """What breaks off, hangs, dies or just stops ends with an error, and nothing stays behind."""
    fake.mode = mode
    async with serve(fake.url, **PINNED, idle_timeout=0.15 if mode is Mode.HANG_MID_STREAM else 10) as service:
        answer = await service.client.post(family.path, json=family.unasked)
        await fake.wait_until(lambda: fake.active == 0, 1)
        assert service.admission.running == service.upstream.active == 0
    if mode is Mode.GARBAGE_JSON:
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "backend_nonsense")
        return
    last = answer.text.removesuffix("\n\n").rpartition("\n\n")[2].removeprefix("event: error\n")
    family.assert_error(json.loads(last.removeprefix("data: ")))
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@every_family
async def test_the_ledger_has_what_it_took(service: Service, fake: FakeOllama, family: Family, *, stream: bool) -> None:
    """As of any other answer; by the client's model and the backend's counts."""
    answer = await service.client.post(family.path, json={**family.whole, "stream": stream})
    assert ("usage" in answer.text) is not stream
    row = await in_ledger(service, answer)
    assert (row["outcome"], row["model"], row["estimated"]) == ("done", "llama3", False)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (PROMPT_WORDS, len(DEFAULT_WORDS))


async def test_the_ledger_has_what_embeddings_took(service: Service) -> None:
    """Their prompt."""
    answer = await service.client.post("/v1/embeddings", json={"model": "llama3", "input": "a b c"})
    row = await in_ledger(service, answer)
    assert (row["outcome"], row["prompt_tokens"], row["completion_tokens"]) == ("done", 3, 0)


@every_family
async def test_a_failure_amid_a_stream_is_one_in_the_ledger(service: Service, fake: FakeOllama, family: Family) -> None:
    """In the backend's words."""
    fake.mode = Mode.ERROR_MID_STREAM
    row = await in_ledger(service, await service.client.post(family.path, json=family.unasked))
    assert row["outcome"] == "error"
    assert row["error"].startswith("backend_error_line: an error was encountered")


@pytest.mark.parametrize("mode", [Mode.BUSY_503, Mode.NOT_FOUND_MODEL], ids=lambda mode: mode.name)
@pytest.mark.parametrize("path", OVER)
async def test_another_backend_is_asked_where_one_cannot(
    serve: ServeFactory, fake: FakeOllama, path: str, mode: Mode
) -> None:
    """One that is busy, or says that it lacks the model."""
    fake.mode = mode
    async with FakeOllama() as other, serve(fake.url, other.url, **PINNED) as service:
        body = {"model": "llama3", "messages": MESSAGES, "prompt": "Hi", "input": "Hi"}
        for _ in range(2):
            assert (await service.client.post(path, json=body)).status_code == 200
        assert OVER[path] in [request.path for request in other.requests]


async def test_a_key_gets_no_more_than_its_limits_have_room_for(serve: ServeFactory, fake: FakeOllama) -> None:
    """The bound that this service sets holds on the other route too."""
    async with serve(fake.url, **PINNED, tokens_per_day=1000) as service:
        body = {"model": "llama3", "messages": MESSAGES, "max_completion_tokens": 100_000}
        assert (await service.client.post("/v1/chat/completions", json=body)).status_code == 200
    assert 0 < fake.requests[-1].json()["options"]["num_predict"] < 1000


@dataclass(kw_only=True, eq=False)
class Old(FakeOllama):
    """An Ollama whose thinking is a switch; on its `/v1` it overlooks how long it is to think."""

    async def answer(self, connection: Connection, request: Request) -> None:
        """Refuse a word."""
        if request.method == "POST" and isinstance(json.loads(request.body or b"{}").get("think"), str):
            words = "json: cannot unmarshal string into Go struct field ChatRequest.think of type bool"
            await connection.send(error_reply(400, words))
        else:
            await super().answer(connection, request)


async def test_an_old_ollama_thinks_as_long_as_it_likes(serve: ServeFactory) -> None:
    """What it overlooks on its own `/v1` is left out for it."""
    async with Old() as fake, serve(fake.url, **PINNED) as service:
        body = {"model": "llama3", "messages": MESSAGES, "reasoning_effort": "high"}
        assert (await service.client.post("/v1/chat/completions", json=body)).status_code == 200
        first, second = [request.json() for request in fake.requests if request.path == "/api/chat"]
    assert first.pop("think") == "high"
    assert first == second


async def test_a_route_that_an_ollama_lacks_is_its_404(serve: ServeFactory, fake: FakeOllama) -> None:
    """And no model that is not there."""
    fake.lacks = {"/api/embed"}
    async with serve(fake.url, **PINNED) as service:
        answer = await service.client.post("/v1/embeddings", json={"model": "llama3", "input": "Hi"})
    assert (answer.status_code, answer.text) == (404, "404 page not found")


async def test_a_large_body_goes_over_the_other_route_too(service: Service, fake: FakeOllama) -> None:
    """Images of megabytes among it."""
    image = "A" * 2_000_000
    parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": f"data:image/png;base64,{image}"}]
    body = {"model": "llama3", "messages": [{"role": "user", "content": parts}], "reasoning_effort": "high"}
    assert (await service.client.post("/v1/chat/completions", json=body)).status_code == 200
    assert fake.requests[-1].json()["messages"][1]["images"] == [image]


async def test_without_a_pin_bytes_pass_as_they_came(serve: ServeFactory, fake: FakeOllama) -> None:
    """Of other models nothing changes."""
    async with serve(fake.url, pin_num_ctx="phi3=8192") as service:
        body = b'{"model":"llama3",  "messages":[{"role":"user","content":"Hi"}]}'
        assert (await service.client.post("/v1/chat/completions", content=body)).status_code == 200
    assert (fake.requests[-1].path, fake.requests[-1].body) == ("/v1/chat/completions", body)
