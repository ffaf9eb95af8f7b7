"""Capability URLs: streams for a browser's `EventSource`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from mlops_backend.services.llm import streams
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import ADMIN_KEY, Service
from tests.web.llm.test_llm_routes import events_of, lines_of

PROMPT = {"model": "llama3", "prompt": "Hi"}


async def prepare(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    """What POST answers."""
    answer = await service.client.post("/api/llm/streams", json=body)
    assert answer.status_code == 201
    assert answer.headers["location"] == answer.json()["url"]
    ticket: dict[str, Any] = answer.json()
    return ticket


async def test_a_stream_is_fetched_once_without_a_key(service: Service, fake: FakeOllama) -> None:
    """GET starts the generation and streams events; later GETs answer 204, which tells `EventSource` to stop."""
    ticket = await prepare(service, PROMPT)
    assert set(ticket) == {"id", "url", "expires_at"}
    assert len(ticket["id"]) >= 43
    lifetime = datetime.fromisoformat(ticket["expires_at"]) - datetime.now(UTC)
    assert timedelta() < lifetime <= timedelta(seconds=streams.LIFE)
    assert not [request for request in fake.requests if request.path == "/api/generate"]
    with capture_logs() as logs:
        answer = await service.stranger.get(ticket["url"])
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert len(events_of(answer.text)) == len(DEFAULT_WORDS) + 1
    assert logs[-1]["principal"] == "tester"
    assert ticket["id"] not in str(logs)
    for _ in range(2):
        again = await service.stranger.get(ticket["url"])
        assert (again.status_code, again.content) == (204, b"")
    assert sum(request.path == "/api/generate" for request in fake.requests) == 1


async def test_a_conversation_and_ndjson_work_too(service: Service, fake: FakeOllama) -> None:
    """A body with `messages` is a chat; `Accept: application/x-ndjson` gives lines."""
    body = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]}
    ticket = await prepare(service, body)
    answer = await service.stranger.get(ticket["url"], headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert "message" in lines_of(answer.text)[0]
    assert fake.requests[-1].path == "/api/chat"


async def test_a_body_is_checked_when_it_is_posted(service: Service) -> None:
    """A wrong body is refused by POST, by the schema of the route it is meant for."""
    for body in ({"prompt": 5}, {"messages": "Hi"}):
        assert (await service.client.post("/api/llm/streams", json=body)).status_code == 422
    assert (await service.stranger.post("/api/llm/streams", json=PROMPT)).status_code == 401


@pytest.mark.parametrize(
    "change", [None, {"enabled": False}, {"scopes": ["usage:read"]}, {"models": ["other"]}], ids=str
)
async def test_a_key_that_lost_its_right_starts_no_stream(
    service: Service, fake: FakeOllama, change: dict[str, Any] | None
) -> None:
    """Revoked, disabled or changed after the stream was prepared: 403, and no backend is asked."""
    admin = {"X-API-Key": ADMIN_KEY}
    key = (await service.client.post("/api/admin/keys", json={"name": "one"}, headers=admin)).json()
    answer = await service.client.post("/api/llm/streams", json=PROMPT, headers={"X-API-Key": key["key"]})
    address = f"/api/admin/keys/{key['id']}"
    changed = service.client.patch(address, json=change, headers=admin) if change else None
    assert (await (changed or service.client.delete(address, headers=admin))).status_code == 200
    refused = await service.stranger.get(answer.json()["url"])
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert not [request for request in fake.requests if request.path == "/api/generate"]


async def test_a_failed_start_has_a_status(service: Service) -> None:
    """An unknown model is a 404 of the GET, and the address is used up."""
    ticket = await prepare(service, {**PROMPT, "model": "nobody"})
    assert (await service.stranger.get(ticket["url"])).status_code == 404
    assert (await service.stranger.get(ticket["url"])).status_code == 204


async def test_too_many_waiting_streams_are_refused(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of waiting streams is bounded; fetching one makes room."""
    monkeypatch.setattr(streams, "MAX_WAITING", 2)
    first = await prepare(service, PROMPT)
    await prepare(service, PROMPT)
    refused = await service.client.post("/api/llm/streams", json=PROMPT)
    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
    assert "retry-after" in refused.headers
    await service.stranger.get(first["url"])
    await prepare(service, PROMPT)
