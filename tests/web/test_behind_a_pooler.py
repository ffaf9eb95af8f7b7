"""The whole service with a real PgBouncer, in its mode `transaction`, before its database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import ServeFactory
from tests.databases import Postgres
from tests.fakes.ollama import FakeOllama
from tests.fakes.pgbouncer import PgBouncer
from tests.service import ADMIN_KEY, Service

CLIENTS = 6
ROUNDS = 2
ADMIN = {"X-API-Key": ADMIN_KEY}
CONVERSATIONS = "/api/database/conversations"
MESSAGE = {"content": "Hi", "stream": False}


@dataclass
class Told:
    """What was answered: each request's status, and the ids of what was made."""

    statuses: list[int] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    conversations: set[str] = field(default_factory=set)

    async def ask(self, service: Service, method: str, path: str, headers: dict[str, str], **body: Any) -> Any:
        """The answer's object."""
        answer = await service.stranger.request(method, path, headers=headers, json=body or None)
        self.statuses.append(answer.status_code)
        assert answer.status_code < 300, (method, path, answer.status_code, answer.text)
        return answer.json()


async def be_a_client(service: Service, told: Told, rounds: int = ROUNDS) -> None:
    """Make a key, use it at once, and keep conversations with it."""
    for _ in range(rounds):
        made = await told.ask(service, "POST", "/api/admin/keys", ADMIN, name="one")
        mine = {"X-API-Key": made["key"]}
        told.keys.add(made["id"])
        assert (await told.ask(service, "GET", "/api/key", mine))["id"] == made["id"]
        begun = await told.ask(service, "POST", CONVERSATIONS, mine, title="A talk", model="llama3")
        told.conversations.add(begun["id"])
        place = f"{CONVERSATIONS}/{begun['id']}"
        await told.ask(service, "POST", f"{place}/messages", mine, **MESSAGE)
        kept = await told.ask(service, "GET", place, mine)
        assert [message["role"] for message in kept["messages"]] == ["user", "assistant"]
        await told.ask(service, "GET", CONVERSATIONS, mine)
        await told.ask(service, "GET", "/api/usage", mine)
        await told.ask(service, "PATCH", f"/api/admin/keys/{made['id']}", ADMIN, name="two")


@pytest.fixture
def pooler(postgres: Postgres) -> Iterator[PgBouncer]:
    """With few connections to a database without tables."""
    with PgBouncer(postgres.empty()) as running:
        yield running


async def test_everything_is_kept_behind_a_pooler(serve: ServeFactory, fake: FakeOllama, pooler: PgBouncer) -> None:
    """Many clients at once: no request fails, each key works at its first use, and every row is there."""
    told = Told()
    async with serve(fake.url, database_url=pooler.url) as service:
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(be_a_client(service, told))
        listed = (await service.stranger.get("/api/admin/keys", params={"limit": 100}, headers=ADMIN)).json()
    assert {key["id"] for key in listed["keys"]} == told.keys
    assert {key["name"] for key in listed["keys"]} == {"two"}
    assert len(told.keys) == len(told.conversations) == CLIENTS * ROUNDS
    assert len(told.statuses) == CLIENTS * ROUNDS * 8
