"""Streams that outlive their connections: begun by POST, read by an address, from anywhere, any number of times."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from mlops_backend.services.other.journals import Journals
from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import ADMIN_KEY, Service
from tests.web.llm.streaming import CHAT, PROMPT, Told, begin, make_key, read, rows, told_in
from tests.web.llm.test_llm_routes import lines_of

ALL = list(range(1, len(DEFAULT_WORDS) + 2))
TEXT = "".join(DEFAULT_WORDS)


async def test_a_stream_is_read_without_a_key_any_number_of_times(service: Service, fake: FakeOllama) -> None:
    """One generation; each reader gets each event once, with its number; the address stands in no log."""
    with capture_logs() as logs:
        begun = await begin(service)
        assert set(begun) == {"id", "url", "request_id"}
        assert len(begun["id"]) >= 43
        answers = [await service.stranger.get(begun["url"]) for _ in range(3)]
    for answer in answers:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        told = told_in(answer.text)
        assert (told.numbers, told.text, told.failures) == (ALL, TEXT, [])
    assert begun["id"] not in str(logs)
    assert [log["principal"] for log in logs if log.get("route") == "/api/llm/streams/<stream_id>"] == ["tester"] * 3
    assert sum(request.path == "/api/generate" for request in fake.requests) == 1
    assert [(row["request_id"], row["outcome"]) for row in await rows(service)] == [(begun["request_id"], "done")]


async def test_a_conversation_and_ndjson_work_too(service: Service, fake: FakeOllama) -> None:
    """A body with `messages` is a chat, streamed whatever it says; `Accept` gives lines."""
    for extra in ({}, {"stream": False}):
        begun = await begin(service, {**CHAT, **extra})
        answer = await service.stranger.get(begun["url"], headers={"Accept": "application/x-ndjson"})
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = lines_of(answer.text)
        assert "".join(line["message"]["content"] for line in lines) == TEXT
        assert lines[-1]["done"] is True
        assert fake.requests[-1].path == "/api/chat"


@pytest.mark.parametrize("way", ["Last-Event-ID", "after"])
async def test_a_reader_goes_on_where_it_was(service: Service, way: str) -> None:
    """From behind any event; where nothing is left it is 204, which tells `EventSource` to stop."""
    begun = await begin(service)
    await read(service, begun["url"])
    for after in ALL:
        told = {"headers": {way: str(after)}} if way == "Last-Event-ID" else {"params": {way: str(after)}}
        answer = await service.stranger.get(begun["url"], **told)  # type: ignore[arg-type]
        if after == ALL[-1]:
            assert (answer.status_code, answer.content) == (204, b"")
        else:
            assert told_in(answer.text).numbers == ALL[after:]
    assert (await service.stranger.get(begun["url"], params={"after": "9" * 14})).status_code == 204
    for wrong in ("-1", "x", "1.5", "9" * 40, "²"):
        answer = await service.stranger.get(begun["url"], params={"after": wrong})
        assert (answer.status_code, "after" in answer.json()["error"]) == (400, True)


async def test_readers_come_and_go_while_it_is_made(service: Service, fake: FakeOllama) -> None:
    """Each piece is there as soon as it is made; whoever leaves changes nothing, and whoever comes back misses none."""
    fake.hold()
    begun = await begin(service)
    faithful = asyncio.create_task(read(service, begun["url"]))
    restless = Told()
    while len(restless.numbers) < len(ALL) - 1:
        fake.release(1)
        part = await read(service, begun["url"], after=len(restless.numbers), most=1)
        restless.numbers += part.numbers
        restless.objects += part.objects
    assert not faithful.done()
    fake.release()
    rest = await read(service, begun["url"], after=len(restless.numbers))
    assert restless.numbers + rest.numbers == ALL
    assert restless.text + rest.text == TEXT
    assert (await faithful).numbers == ALL
    assert fake.max_active == 1
    assert [row["outcome"] for row in await rows(service)] == ["done"]


async def test_one_that_nobody_reads_is_cancelled(serve: ServeFactory, fake: FakeOllama) -> None:
    """After its grace the backend is let go of; what had come stays readable, with how it ended."""
    fake.hold()
    async with serve(fake.url, stream_grace=0.3) as service:
        begun = await begin(service)
        fake.release(2)
        assert (await read(service, begun["url"], most=2)).numbers == [1, 2]
        async with asyncio.timeout(20):
            while fake.active:
                await asyncio.sleep(0.01)
        assert [row["outcome"] for row in await rows(service)] == ["client_gone"]
        told = await read(service, begun["url"])
        assert told.numbers == [1, 2, 3]
        assert told.objects[-1]["code"] == "generation_cancelled"


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_what_keeps_it_forgets_it_amid_reading(service: Service, fake: FakeOllama, accept: str) -> None:
    """A reader is told, in a last event without a number."""
    fake.hold()
    begun = await begin(service)
    reading = asyncio.create_task(service.stranger.get(begun["url"], headers={"Accept": accept}))
    fake.release(1)
    await read(service, begun["url"], most=1)
    await service.services.get(Journals).forget(begun["id"])  # type: ignore[type-abstract]
    last = (await reading).text.strip().split("\n")[-1]
    assert json.loads(last.removeprefix("data: "))["code"] == "not_found"


async def test_who_reads_keeps_it_alive(serve: ServeFactory, fake: FakeOllama) -> None:
    """Also one who gets nothing for longer than the grace."""
    fake.hold()
    async with serve(fake.url, stream_grace=0.3) as service:
        begun = await begin(service)
        reading = asyncio.create_task(read(service, begun["url"]))
        await asyncio.sleep(2.2)
        fake.release()
        assert (await reading).numbers == ALL


async def test_its_owner_cancels_it(serve: ServeFactory, fake: FakeOllama) -> None:
    """Readers are told; another key is told that there is none; the administrator may; what has ended is forgotten."""
    fake.hold()
    async with serve(fake.url) as service:
        _, other = await make_key(service, "other")
        for owner in ({}, {"X-API-Key": ADMIN_KEY}):
            begun = await begin(service)
            fake.release(1)
            reading = asyncio.create_task(read(service, begun["url"]))
            await read(service, begun["url"], most=1)
            refused = await service.client.delete(begun["url"], headers=other)
            assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
            assert (await service.stranger.delete(begun["url"])).status_code == 401
            answer = await service.client.delete(begun["url"], headers=owner)
            assert (answer.status_code, answer.json()) == (200, {"ended": 1})
            told = await reading
            assert told.numbers[0] == 1
            assert told.objects[-1]["code"] == "generation_cancelled"
            async with asyncio.timeout(20):
                while (await service.client.delete(begun["url"], headers=owner)).status_code != 404:
                    await asyncio.sleep(0.01)
            assert (await service.stranger.get(begun["url"])).status_code == 404


async def test_what_no_backend_is_asked_is_refused_at_once(serve: ServeFactory, fake: FakeOllama) -> None:
    """A wrong body, a model that is not the key's, a limit: POST says so, and nothing is kept."""
    async with serve(fake.url) as service:
        for body in ({"prompt": 5}, {"messages": "Hi"}):
            assert (await service.client.post("/api/llm/streams", json=body)).status_code == 422
        assert (await service.stranger.post("/api/llm/streams", json=PROMPT)).status_code == 401
        _, limited = await make_key(service, "limited", models=["llama3"], limits={"requests": "1/hour"})
        refused = await service.client.post("/api/llm/streams", json={**PROMPT, "model": "other"}, headers=limited)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert (await service.client.post("/api/llm/streams", json=PROMPT, headers=limited)).status_code == 201
        refused = await service.client.post("/api/llm/streams", json=PROMPT, headers=limited)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert "retry-after" in refused.headers
        assert (await service.client.get("/api/llm/streams", headers=limited)).json()["count"] == 1
        assert [row["outcome"] for row in await rows(service, 3)].count("refused") == 2


async def test_what_a_backend_refuses_is_told_by_its_address(service: Service) -> None:
    """With its status, to each who asks."""
    begun = await begin(service, {**PROMPT, "model": "nobody"})
    for _ in range(2):
        answer = await service.stranger.get(begun["url"])
        assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("change", [None, {"enabled": False}, {"scopes": ["usage:read"]}], ids=str)
async def test_a_key_that_lost_its_right_has_no_stream(service: Service, change: dict[str, Any] | None) -> None:
    """Revoked, disabled or changed after the stream was begun: it cannot be read any more."""
    admin = {"X-API-Key": ADMIN_KEY}
    key_id, key = await make_key(service, "one")
    begun = await begin(service, PROMPT, **key)
    address = f"/api/admin/keys/{key_id}"
    changed = service.client.patch(address, json=change, headers=admin) if change else None
    assert (await (changed or service.client.delete(address, headers=admin))).status_code == 200
    refused = await service.stranger.get(begun["url"])
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_one_lists_ones_own(service: Service) -> None:
    """And nobody else's, not even the administrator does."""
    first, second = await begin(service), await begin(service, CHAT)
    await read(service, first["url"])
    await read(service, second["url"])
    listed = (await service.client.get("/api/llm/streams")).json()
    assert listed["count"] == 2
    assert [(each["id"], each["route"]) for each in listed["streams"]] == [
        (first["id"], "/api/llm/stream"),
        (second["id"], "/api/llm/chat"),
    ]
    assert [(each["events"], each["outcome"]) for each in listed["streams"]] == [(len(ALL), "done")] * 2
    assert (await service.client.get("/api/llm/streams", headers={"X-API-Key": ADMIN_KEY})).json()["count"] == 0


async def test_one_that_is_too_long_loses_its_beginning(serve: ServeFactory, fake: FakeOllama) -> None:
    """Whoever asks for that is told so; whoever keeps up, or asks for what is there, gets it."""
    fake.words = ("x" * 20_000,) * 6
    async with serve(fake.url, stream_bytes=65_536) as service:
        begun = await begin(service)
        async with asyncio.timeout(20):
            while (await service.client.get("/api/llm/streams")).json()["streams"][0]["outcome"] is None:
                await asyncio.sleep(0.01)
        late = await service.stranger.get(begun["url"])
        assert (late.status_code, late.json()["code"]) == (410, "stream_gone")
        assert (await read(service, begun["url"], after=5)).numbers == [6, 7]


async def test_one_ends_with_the_service(service: Service, fake: FakeOllama) -> None:
    """A drain tells its readers, and begins none."""
    fake.hold()
    begun = await begin(service)
    fake.release(1)
    reading = asyncio.create_task(read(service, begun["url"]))
    await read(service, begun["url"], most=1)
    await service.admission.drain(0.05)
    assert (await reading).objects[-1]["code"] == "draining"
    refused = await service.client.post("/api/llm/streams", json=PROMPT)
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")


async def test_a_stored_reply_goes_on_without_its_client(service: Service, fake: FakeOllama) -> None:
    """`Prefer: respond-async`: its stream is found by the conversation; the reply is kept as ever."""
    made = await service.client.post("/api/database/conversations", json={"title": "Colours"})
    address = f"/api/database/conversations/{made.json()['id']}"
    fake.hold()
    headers = {"Prefer": "respond-async, wait=10"}
    answer = await service.client.post(
        f"{address}/messages", json={"content": "Hi", "model": "llama3"}, headers=headers
    )
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    [listed] = (await service.client.get("/api/llm/streams")).json()["streams"]
    assert (listed["id"], listed["conversation_id"], listed["outcome"]) == (
        answer.json()["id"],
        made.json()["id"],
        None,
    )
    fake.release()
    told = await read(service, listed["url"])
    assert told.text == TEXT
    assert told.objects[-1]["conversation"]["stored"] is True
    messages = (await service.client.get(address)).json()["messages"]
    assert [message["content"] for message in messages] == ["Hi", TEXT]
    refused = await service.client.post(f"{address}x/messages", json={"content": "Hi"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


async def test_others_routes_know_no_such_preference(service: Service) -> None:
    """A client of another API is answered as it expects."""
    answer = await service.client.post("/v1/chat/completions", json=CHAT, headers={"Prefer": "respond-async"})
    assert (answer.status_code, answer.json()["object"]) == (200, "chat.completion")
