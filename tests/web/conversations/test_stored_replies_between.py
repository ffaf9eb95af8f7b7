"""Replies of stored conversations while others change them, and while the database is away."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.services.other.conversations import replies
from mlops_backend.services.other.database import patient_writes
from tests.conftest import ServeFactory
from tests.databases import Postgres
from tests.fakes.gate import Gate
from tests.fakes.ollama import FakeOllama
from tests.service import Service
from tests.stored_conversations import EchoingOllama, echo_of, heard
from tests.web.conversations.stored_replies import (
    ask,
    away,
    begun,
    consistent,
    kept,
    streaming,
    until_kept,
)


@pytest.fixture
async def on(serve: ServeFactory, fake: FakeOllama, database_url: str) -> AsyncIterator[Service]:
    """The service on either database, before `fake`."""
    async with serve(fake.url, database_url=database_url, log_level="error") as service:
        yield service


async def test_the_last_object_comes_when_the_reply_is_kept(on: Service, fake: FakeOllama) -> None:
    """Whoever reads the conversation at once has the reply, at the version that was told."""
    address = await begun(on)
    for _ in range(10):
        async with on.client.stream("POST", f"{address}/messages", json={"content": "Hi"}) as answer:
            lines = answer.aiter_lines()
            while '"done":true' not in (line := await anext(lines)):
                pass
            read = (await on.client.get(address)).json()
        place = json.loads(line)["conversation"]
        assert (read["messages"][-1]["id"], read["version"]) == (place["reply_id"], place["version"])
        assert place["version"] == int(answer.headers["ETag"].strip('"')) + 1
    assert len(read["messages"]) == read["message_count"] == 20


async def test_a_database_that_is_away_does_not_keep_the_client(
    on: Service, fake: FakeOllama, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last object comes without the reply being kept, and says so; it is kept when the database is back."""
    monkeypatch.setattr(replies, "_CLIENT_WAITS", 0.3)
    monkeypatch.setattr(patient_writes, "_RETRY_AFTER", 0.1)
    address = await begun(on)
    async with streaming(on, fake, f"{address}/messages", {"content": "Hi"}, 3) as client:
        async with away(on, postgres):
            fake.release()
            async with asyncio.timeout(20):
                last = heard(b"\n".join(await client.lines()))
            assert (last.last["done"], last.place["stored"], last.place["version"]) == (True, False, 2)
        reply = await until_kept(on, address, last.place["reply_id"])
    assert (reply["content"], reply["outcome"]) == ("".join(fake.words), "done")
    assert await consistent(on)


async def test_a_stop_waits_for_what_is_to_be_kept(serve: ServeFactory, fake: FakeOllama, tmp_path: Path) -> None:
    """The client has left, another program has the database, the service stops: the reply is kept when it lets go."""
    url = f"sqlite:///{tmp_path / 'locked.db'}"
    with closing(sqlite3.connect(tmp_path / "locked.db")) as other:
        async with serve(fake.url, database_url=url) as service:
            address = await begun(service)
            async with streaming(service, fake, f"{address}/messages", {"content": "Hi"}, 3) as client:
                other.execute("BEGIN EXCLUSIVE")
                await client.leave()
                await fake.wait_for_disconnect()
            fake.release()
            asyncio.get_running_loop().call_later(0.4, other.rollback)
    async with serve(fake.url, database_url=url) as service:
        reply = (await kept(service, address))[-1]
        assert (reply["content"], reply["outcome"]) == ("".join(fake.words[:3]), "client_gone")
        assert await consistent(service)


async def test_what_was_deleted_stays_deleted(on: Service, fake: FakeOllama) -> None:
    """The conversation, or the question, goes while the reply streams: the stream ends well, and nothing comes back."""
    for end in ("delete", "all", "the question"):
        fake.release()
        address = await begun(on)
        first = await ask(on, address, "first")
        async with streaming(on, fake, f"{address}/messages", {"content": "second"}, 3) as client:
            if end == "delete":
                assert (await on.client.delete(address)).status_code == 204
            else:
                after = None if end == "all" else first.place["reply_id"]
                cut = await on.client.post(f"{address}/truncate", json={"after": after})
                assert cut.status_code == 200
            fake.release()
            last = heard(b"\n".join(await client.lines()))
        assert (last.last["done"], last.place["stored"]) == (True, False)
        if end == "delete":
            assert (await on.client.get(address)).status_code == 404
        else:
            assert len(await kept(on, address)) == (0 if end == "all" else 2)
            assert (await on.client.get(address)).json()["version"] == cut.json()["version"]
    assert await consistent(on)


async def test_the_reply_that_was_asked_for_last_is_the_current_one(serve: ServeFactory, database_url: str) -> None:
    """Two replies to one question, whichever ends first: the other one is kept as replaced."""
    async with EchoingOllama() as fake, serve(fake.url, database_url=database_url) as service:
        for in_order in (True, False):
            address = await begun(service)
            question, older, newer = await _twice_replied(service, fake, address, in_order=in_order)
            assert ("replaced_at" in older, "replaced_at" in newer) == (True, False)
            assert older["content"] == newer["content"] == "".join(echo_of("wait"))
            read = (await service.client.get(address)).json()
            assert [message["id"] for message in read["messages"]] == [question["id"], newer["id"]]
            await ask(service, address, "two")
            shown = [message["content"] for message in fake.requests[-1].json()["messages"]]
            assert shown == ["wait", "".join(echo_of("wait")), "two"]
        assert await consistent(service)


async def _twice_replied(
    service: Service, fake: EchoingOllama, address: str, *, in_order: bool
) -> list[dict[str, Any]]:
    """A question, and two replies that streamed at once, in the order in which they were asked for."""
    gates = Gate(), Gate()
    fake.gate = gates[0]
    async with streaming(service, fake, f"{address}/messages", {"content": "wait"}, 1) as first:
        fake.gate = gates[1]
        async with streaming(service, fake, f"{address}/regenerate", {}, 1) as second:
            both = [(gates[0], first), (gates[1], second)]
            ended = {}
            for gate, client in both if in_order else reversed(both):
                gate.release()
                ended[client] = heard(b"\n".join(await client.lines())).place
    assert all(place["stored"] for place in ended.values())
    assert len({place["version"] for place in ended.values()}) == 2
    stored = await kept(service, address)
    assert [message["id"] for message in stored[1:]] == [ended[first]["reply_id"], ended[second]["reply_id"]]
    return stored


async def test_a_reply_is_replaced_whatever_was_put_behind_it(on: Service) -> None:
    """Something that the system says later does not make a second reply of the same question a current one."""
    address = await begun(on)
    await ask(on, address)
    said = {"messages": [{"role": "system", "content": "Be brief."}]}
    assert (await on.client.post(f"{address}/append", json=said)).status_code == 201
    for _ in range(2):
        assert (await on.client.post(f"{address}/regenerate", json={})).status_code == 200
    current = [message["role"] for message in (await on.client.get(address)).json()["messages"]]
    assert sorted(current) == ["assistant", "system", "user"]
    assert await consistent(on)


async def test_a_message_put_behind_a_question_does_not_take_its_reply(on: Service, fake: FakeOllama) -> None:
    """Another writer puts a message of an assistant there while the reply streams: both are current."""
    address = await begun(on)
    async with streaming(on, fake, f"{address}/messages", {"content": "Hi"}, 2) as client:
        said = {"messages": [{"role": "assistant", "content": "a note"}]}
        assert (await on.client.post(f"{address}/append", json=said)).status_code == 201
        fake.release()
        assert heard(b"\n".join(await client.lines())).place["stored"] is True
    current = [message["content"] for message in (await on.client.get(address)).json()["messages"]]
    assert current == ["Hi", "".join(fake.words), "a note"]
    assert await consistent(on)


@pytest.mark.parametrize("end", ["delete", "truncate"])
async def test_a_question_that_is_gone_is_not_asked(
    on: Service, fake: FakeOllama, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deletes it before the model is shown it, or the whole conversation: 409, and no model is asked."""
    going_on = asyncio.Event()

    async def late(*_: object) -> None:
        await going_on.wait()

    monkeypatch.setattr(OllamaService, "context_length", late)
    address = await begun(on, {"role": "user", "content": "first"})
    asking = asyncio.create_task(on.client.post(f"{address}/messages", json={"content": "second"}))
    while len(stored := await kept(on, address)) < 2:
        await asyncio.sleep(0.01)
    if end == "delete":
        assert (await on.client.delete(address)).status_code == 204
    else:
        cut = await on.client.post(f"{address}/truncate", json={"after": stored[0]["id"]})
        assert cut.status_code == 200
    going_on.set()
    answer = await asking
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.text
    assert answer.headers["X-Message-ID"] == stored[1]["id"]
    assert [request for request in fake.requests if request.path == "/api/chat"] == []
    assert await consistent(on)
