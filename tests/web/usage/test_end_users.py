"""The people behind a key: who is written down, and what can be asked of them."""

from __future__ import annotations

import csv
from typing import Any, Final

import httpx
import pytest
from structlog.testing import capture_logs

from mlops_backend.end_users import EndUsers
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.queries import HOUR
from mlops_backend.services.other.usage.retention import Retention
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.ledger_rows import insert_rows, midnight, row, until_written
from tests.service import ADMIN_KEY, Service

ADMIN: Final = {"X-API-Key": ADMIN_KEY}
SECRET: Final = "a-secret-of-these-tests"
CHAT: Final[dict[str, Any]] = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]}
MESSAGE: Final = {**CHAT, "max_tokens": 9}
GENERATE: Final = {"model": "llama3", "prompt": "Hi", "stream": False}
OURS: Final = {"X-End-User": "alice"}
OPEN_WEBUI: Final = {"X-OpenWebUI-User-Id": "7", "X-OpenWebUI-User-Email": "bob@example.org"}
LARGE: Final = [{"role": "user", "content": "Hi " * 100_000}]
SAID: Final[dict[str, tuple[str, dict[str, Any], dict[str, str], str]]] = {
    "nobody": ("/v1/chat/completions", CHAT, {}, ""),
    "OpenAI's user": ("/v1/chat/completions", {**CHAT, "user": "carol"}, {}, "carol"),
    "in a large body": ("/v1/chat/completions", {**CHAT, "user": "carol", "messages": LARGE}, {}, "carol"),
    "of a text": ("/v1/completions", {"model": "llama3", "prompt": "Hi", "user": "carol"}, {}, "carol"),
    "of an embedding": ("/v1/embeddings", {"model": "llama3", "input": "Hi", "user": "carol"}, {}, "carol"),
    "OpenAI's identifier": ("/v1/responses", {"model": "llama3", "input": "Hi", "safety_identifier": "d"}, {}, "d"),
    "both": ("/v1/chat/completions", {**CHAT, "user": "carol", "safety_identifier": "dave"}, {}, "dave"),
    "no text": ("/v1/chat/completions", {**CHAT, "user": {"name": "carol"}}, {}, ""),
    "Anthropic's": ("/v1/messages", {**MESSAGE, "metadata": {"user_id": "erin"}}, {}, "erin"),
    "Anthropic's in a large body": (
        "/v1/messages",
        {**MESSAGE, "metadata": {"user_id": "erin", "more": "x" * 2000}, "messages": LARGE},
        {},
        "erin",
    ),
    "Anthropic has no user": ("/v1/messages", {**MESSAGE, "user": "carol", "metadata": ["erin"]}, {}, ""),
    "Ollama has none": ("/api/generate", {**GENERATE, "user": "carol", "metadata": {"user_id": "erin"}}, {}, ""),
    "our header": ("/v1/chat/completions", {**CHAT, "user": "carol"}, {**OPEN_WEBUI, **OURS}, "alice"),
    "Open WebUI's id": ("/v1/chat/completions", {**CHAT, "user": "carol"}, OPEN_WEBUI, "7"),
    "Open WebUI's address": (
        "/api/generate",
        GENERATE,
        {"X-OpenWebUI-User-Email": "bob@example.org"},
        "bob@example.org",
    ),
    "our own route": ("/api/llm/generate", GENERATE, OURS, "alice"),
    "what a terminal obeys": ("/v1/chat/completions", {**CHAT, "user": "\x1b[2Je\u0301"}, {}, "?[2Je\u0301"),
}


async def row_of(service: Service, answer: httpx.Response) -> dict[str, Any]:
    """What the ledger has of a generation."""
    assert answer.status_code < 500, answer.text
    shown = await service.client.get(f"/api/usage/generations/{answer.headers['X-Request-ID']}")
    told: dict[str, Any] = shown.json()
    return told


@pytest.mark.parametrize("case", SAID)
async def test_an_end_user_is_written_down(service: Service, fake: FakeOllama, case: str) -> None:
    """Our header comes before Open WebUI's, and those before the body; the backend gets the body as it came."""
    path, body, headers, named = SAID[case]
    answer = await service.client.post(path, json=body, headers=headers)
    assert (await row_of(service, answer))["end_user"] == named
    asked = fake.requests[-1]
    assert not [name for name, _ in asked.headers if "end-user" in name or "openwebui" in name]
    assert {name: value for name, value in asked.json().items() if name in body} == body


async def test_who_is_refused_is_named_too(service: Service, fake: FakeOllama) -> None:
    """A generation that no backend could serve has its end user as well."""
    answer = await service.client.post("/v1/chat/completions", json={"user": "carol", **CHAT, "model": "none:cloud"})
    assert answer.status_code == 403
    assert (await row_of(service, answer))["end_user"] == "carol"


async def test_a_stream_is_of_who_began_it(service: Service) -> None:
    """Whoever reads it says nothing, or somebody else."""
    prompt = {"model": "llama3", "prompt": "Hi"}
    begun = await service.client.post("/api/llm/streams", json=prompt, headers=OURS)
    await service.stranger.get(begun.json()["url"], headers={"X-End-User": "mallory"})
    assert (await row_of(service, begun))["end_user"] == "alice"


async def test_one_sees_ones_own_end_users(serve: ServeFactory, fake: FakeOllama) -> None:
    """Told apart and chosen by name, as everything of the ledger is; sums of old days name nobody."""
    async with serve(fake.url) as service:
        rows = [
            row(1, midnight(1) + 5, end_user="alice"),
            row(2, midnight(1) + HOUR, end_user="bob"),
            row(3, midnight(1) + HOUR, end_user="alice"),
            row(4, midnight(1) + HOUR),
            row(5, midnight(1) + HOUR, end_user="alice", key_id="settings:other"),
            row(6, midnight(40) + HOUR, end_user="alice"),
        ]
        database = service.services.get(Database)
        await insert_rows(database, rows)
        assert await Retention(database, 30).sweep(midnight(0) / 1000) == 1
        for group_by in ("end_user", "end_user,model", "model,end_user"):
            told = await sums(service, {"group_by": group_by, "from": 0})
            assert told == {"": 2, "alice": 2, "bob": 1}, group_by
        assert await sums(service, {"group_by": "end_user", "end_user": "alice", "from": 0}) == {"alice": 2}
        assert await sums(service, {"group_by": "end_user", "end_user": "", "from": 0}) == {"": 2}
        days = await sums(service, {"group_by": "end_user", "end_user": "alice", "interval": "day", "from": 0})
        assert days == {"alice": 2}
        everybodys = await service.client.get(
            "/api/admin/usage", params={"group_by": "key,end_user", "end_user": "alice"}, headers=ADMIN
        )
        assert [(each["name"], each["generations"]) for each in everybodys.json()["rows"]] == [
            ("tester", 2),
            ("other", 1),
        ]
        export = (await service.client.get("/api/usage/export", params={"end_user": "bob"})).text
        assert [line["end_user"] for line in csv.DictReader(export.splitlines())] == ["bob"]


async def sums(service: Service, params: dict[str, Any]) -> dict[str, int]:
    """How many generations each end user had."""
    answer = await service.client.get("/api/usage", params=params)
    assert answer.status_code == 200, answer.text
    return {each["end_user"]: each["generations"] for each in answer.json()["rows"]}


async def test_names_are_hashed_where_that_is_asked_for(serve: ServeFactory, fake: FakeOllama) -> None:
    """Neither the ledger nor the log has the name; one still asks by it, or by its hash."""
    hashed = EndUsers(SECRET).named("bob@example.org")
    settings: dict[str, Any] = {"end_user_hashed": True, "end_user_secret": SECRET}
    async with serve(fake.url, **settings) as service:
        with capture_logs() as logs:
            answer = await service.client.post("/api/chat", json=CHAT, headers={"X-End-User": "bob@example.org"})
            by_body = await service.client.post("/v1/chat/completions", json={**CHAT, "user": "bob@example.org"})
            assert {(await row_of(service, each))["end_user"] for each in (answer, by_body)} == {hashed}
            await until_written(service.services.get(Ledger), 2)
            for asked in (hashed, "bob@example.org"):
                told = await service.client.get("/api/usage/export", params={"end_user": asked})
                assert told.text.count(hashed) == 2
                assert "bob" not in told.text
    assert [line.get("end_user") for line in logs if line["event"] == "request"][:1] == [hashed]
    assert "bob" not in str(logs)
