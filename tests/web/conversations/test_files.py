"""Conversations as files: what is exported can be imported, and is what it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from hashlib import sha256
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.errors import DatabaseDown
from mlops_backend.schemas.conversations.exports import LONGEST_KEPT, MOST_MESSAGES
from mlops_backend.services.other.conversations import exports as conversation_export
from mlops_backend.services.other.conversations import reads as conversation_reads
from mlops_backend.services.other.conversations import reply_text
from mlops_backend.services.other.conversations.exports import Exports, Whole
from mlops_backend.services.other.conversations.rows import Message
from mlops_backend.services.other.database.database import Database
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.stored_conversations import contradictions
from tests.web.talk import BASE, GIF, JPEG, PNG, WEBP, begin, encoded, kept, message, post, read, say
from tests.web.test_status_table import assert_error

EXPORT: Final = f"{BASE}/export"
IMPORT: Final = f"{BASE}/import"
ADMIN: Final = {"X-API-Key": ADMIN_KEY}
# The settings' key of the tests, by the id that it has.
KEY_ID: Final = "settings:tester"
HASHES: Final = {sha256(data).hexdigest(): encoded(data) for data in (PNG, JPEG, GIF, WEBP)}
ODD: Final = (
    "\0",
    "\x10",
    "\x10\x0e\x100",
    "\x85a\u2028b\u2029c",
    "שלום \u202eabc",
    "👩‍🚀\ufeff",
    "\r\n\t\x7f\ud7ff\uffff",
    '"\\/',
)
T0: Final = "2026-01-31T12:00:00.000+00:00"
T1: Final = "2026-01-31T12:00:01.007+00:00"
T2: Final = "8999-12-31T23:59:59.999+00:00"


def said(role: str = "user", content: str = "", **more: Any) -> dict[str, Any]:
    """A message as a file has it."""
    return {"role": role, "content": content, "images": [], "created_at": T0, **more}


def talk(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A conversation as a file has it, with the images that its messages name."""
    named = [name for name in HASHES if any(name in each["images"] for each in messages)]
    return {
        "title": "About colours",
        "model": "llama3",
        "created_at": T0,
        "updated_at": T1,
        "messages": list(messages),
        "images": {name: HASHES[name] for name in named},
        **more,
    }


def document(*conversations: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A file."""
    return {"format": "mlops_backend.conversations", "version": 1, "conversations": list(conversations), **more}


FULL: Final = talk(
    said("system", "Be brief."),
    said("user", "What is this?", images=[*HASHES, next(iter(HASHES))]),
    said("assistant", "Gr", model="llama3", outcome="client_gone", replaced_at=T1, tokens_estimated=True),
    said(
        "assistant",
        "Blue.",
        thinking="Hm.",
        tool_calls=[{"function": {"name": "look", "arguments": {"deep": [None, 1.5, True, {"a": "\0"}], "n": 2**70}}}],
        model="llama3:8b-q4",
        outcome="timeout",
        error="idle_timeout",
        prompt_tokens=0,
        completion_tokens=2**40,
        first_byte_ms=12,
        total_ms=2**33,
        omitted_messages=3,
        created_at=T2,
    ),
    said("tool", "blue", tool_name="look"),
    updated_at=T2,
)


async def take(service: Service, body: dict[str, Any] | bytes) -> list[dict[str, Any]]:
    """Import, and what was made."""
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    answer = await service.client.post(IMPORT, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201, answer.text
    made: list[dict[str, Any]] = answer.json()["conversations"]
    return made


async def give(service: Service, conversation_id: str = "") -> dict[str, Any]:
    """Export one conversation, or all."""
    answer = await service.client.get(f"{BASE}/{conversation_id}/export" if conversation_id else EXPORT)
    assert answer.status_code == 200, answer.text
    given_: dict[str, Any] = answer.json()
    return given_


def without_ids(exported: dict[str, Any]) -> dict[str, Any]:
    """What of a file stays when it is imported."""
    told = json.loads(json.dumps(exported))
    for conversation in told["conversations"]:
        assert conversation.pop("id")
        for each in conversation["messages"]:
            assert each.pop("id")
    return dict(told)


@pytest.fixture
async def stored(fake: FakeOllama, serve: ServeFactory, database_url: str) -> AsyncIterator[Service]:
    """The service before each kind of database, whose rows agree with each other in the end."""
    async with serve(fake.url, database_url=database_url) as service:
        yield service
        assert await contradictions(service.services.get(Database)) == []


async def test_what_is_imported_is_what_was_exported(stored: Service) -> None:
    """All that a file can tell of a conversation is the same behind an import, and behind a second one."""
    odd = [talk(said("user", text, thinking=text, tool_name=text), title=f"{n}") for n, text in enumerate(ODD)]
    for number, each in enumerate(odd):
        each["created_at"] = f"2027-01-31T12:00:00.{number:03}+00:00"
    first = document(FULL, talk(title="", model="", created_at="2026-06-01T00:00:00.000+00:00"), *odd)
    made = await take(stored, first)
    assert [each["title"] for each in made] == [each["title"] for each in first["conversations"]]
    assert [each["version"] for each in made] == [1] * len(made)
    exported = await give(stored)
    assert without_ids(exported) == first
    await asyncio.gather(*(stored.client.delete(f"{BASE}/{each['id']}") for each in made))
    again = await take(stored, json.dumps(exported).encode())
    assert {each["id"] for each in made}.isdisjoint(each["id"] for each in again)
    assert without_ids(await give(stored)) == first


async def test_what_was_said_here_can_be_taken_elsewhere(fake: FakeOllama, serve: ServeFactory, tmp_path: Any) -> None:
    """A conversation with a model, a reply made anew and an image is read in another service as it was in the first."""
    async with serve(fake.url) as here, serve(fake.url, database_url=f"sqlite:///{tmp_path}/there.db") as there:
        made = await begin(here, message("system", "Be brief."), model="llama3")
        await say(here, made["id"], images=[encoded(PNG)])
        await post(here, made["id"], "regenerate", {"stream": False})
        exported = await here.client.get(f"{BASE}/{made['id']}/export")
        (taken,) = await take(there, exported.content)
        old, new = await read(here, made["id"], replaced=True), await read(there, taken["id"], replaced=True)
        assert len(old["messages"]) == 4
        for shown in (old, new):
            del shown["id"], shown["version"]
            shown["messages"] = [{**each, "id": None} for each in shown["messages"]]
        assert new == old
        assert (await say(there, taken["id"]))["stored"] is True
        assert [len(body["messages"]) for body in heard_of(fake)][-1] == 4


def heard_of(fake: FakeOllama) -> list[dict[str, Any]]:
    """What the backend was sent."""
    return [asked.json() for asked in fake.requests if asked.path == "/api/chat"]


texts = st.text() | st.sampled_from(ODD) | st.text("\0\x10\x0e\x0f\x110af", min_size=1)
some_calls = st.lists(st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts, min_size=1), max_size=2)
some_messages = st.builds(
    lambda content, thinking, calls, name: said(
        "system",
        content,
        **{k: v for k, v in (("thinking", thinking), ("tool_calls", calls), ("tool_name", name)) if v},
    ),
    texts,
    texts,
    some_calls,
    texts.map(lambda text: text[:256]),
)


def test_any_text_comes_back(database_url: str, serve: ServeFactory) -> None:
    """Whatever is said, it is the same behind an import of an export of an import."""

    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(some_messages, max_size=4))
    def holds(messages: list[dict[str, Any]]) -> None:
        loop.run(comes_back(service, document(talk(*messages))))

    async def comes_back(service: Service, told: dict[str, Any]) -> None:
        for _ in range(2):
            (made,) = await take(service, json.dumps(told, ensure_ascii=False).encode())
            answer = await service.client.get(f"{BASE}/{made['id']}/export")
            assert without_ids(answer.json()) == told
            assert len(answer.text.splitlines()) == 3

    with asyncio.Runner() as loop:
        serving = serve("http://127.0.0.1:9", database_url=database_url)
        service = loop.run(serving.__aenter__())
        try:
            holds()
        finally:
            loop.run(serving.__aexit__(None, None, None))


async def test_the_longest_reply_comes_back(service: Service) -> None:
    """What a model may say, though nobody could send it, can be taken again."""
    assert reply_text.LONGEST <= LONGEST_KEPT
    told = document(talk(said("user"), said("assistant", "é" * LONGEST_KEPT, outcome="done")))
    (made,) = await take(service, told)
    assert without_ids(await give(service, made["id"])) == told


async def test_a_file_has_a_line_for_each_conversation(service: Service) -> None:
    """Taken apart at its lines, each of them with the first and the last is a file."""
    await take(service, document(*(talk(said("user", "\u2028".join(ODD)), title=f"{n}") for n in range(5))))
    answer = await service.client.get(EXPORT)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == 'attachment; filename="conversations.json"'
    assert answer.headers["cache-control"] == "no-store"
    head, *lines, end = answer.text.splitlines()
    assert len(lines) == 5
    made = [await take(service, f"{head}{line.removesuffix(',')}{end}".encode()) for line in lines]
    assert sorted(each["title"] for (each,) in made) == [f"{n}" for n in range(5)]


async def test_without_any_a_file_is_empty(service: Service) -> None:
    """No conversation: a file that can be imported, and nothing to read."""
    assert await give(service) == document()
    assert await take(service, document()) == []
    answer = await service.client.get(EXPORT, params={"format": "markdown"})
    assert (answer.status_code, answer.text) == (200, "")


async def test_imported_ones_are_found_where_they_belong(stored: Service) -> None:
    """In the list they stand by their own times, a search finds them, and their images are there."""
    new = await begin(stored, message("user", "New"))
    (old,) = await take(stored, document({**FULL, "updated_at": T1}))
    listed = (await stored.client.get(BASE)).json()["conversations"]
    assert [each["id"] for each in listed] == [new["id"], old["id"]]
    assert (old["message_count"], old["updated_at"]) == (4, T1)
    found = (await stored.client.get(BASE, params={"search": "blue"})).json()["conversations"]
    assert [each["id"] for each in found] == [old["id"]]
    found = (await stored.client.get(BASE, params={"search": "colours"})).json()["conversations"]
    assert [each["match"]["message_id"] for each in found] == [None]
    for name, data in zip(HASHES, (PNG, JPEG, GIF, WEBP), strict=True):
        assert (await stored.client.get(f"{BASE}/{old['id']}/images/{name}")).content == data


async def test_nobody_sees_anothers(service: Service) -> None:
    """Another key's conversation is as one that never was, and is in no file but its owner's."""
    mine = await begin(service, message("user", "Mine"))
    answer = await service.stranger.get(f"{BASE}/{mine['id']}/export", headers=ADMIN)
    unknown = await service.stranger.get(f"{BASE}/{'0' * 32}/export", headers=ADMIN)
    for each in (answer, unknown):
        assert each.status_code == 404
        assert "content-disposition" not in each.headers
    assert {**answer.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
    theirs = await service.stranger.post(IMPORT, json=await give(service), headers=ADMIN)
    assert theirs.status_code == 201
    assert [each["id"] for each in (await give(service))["conversations"]] == [mine["id"]]
    assert (await service.client.head(EXPORT)).status_code == 405


def but(**changes: Any) -> dict[str, Any]:
    """A conversation with one message in which something else stands."""
    return talk(said("user", **changes))


WRONG: Final[dict[str, tuple[dict[str, Any], list[Any], str]]] = {
    "version": (document(version=2), ["version"], "version 1"),
    "a version that is nearly 1": (document(version=True), ["version"], "version 1"),
    "format": (document(format="chats"), ["format"], "mlops_backend.conversations"),
    "unknown field": (document(owner="me"), ["owner"], "not permitted"),
    "unknown field of a message": (
        document(but(colour="blue")),
        ["conversations", 0, "messages", 0, "colour"],
        "not permitted",
    ),
    "missing image": (
        document(talk(), {**but(images=[next(iter(HASHES))]), "images": {}}),
        ["conversations", 1, "messages", 0, "images", 0],
        next(iter(HASHES)),
    ),
    "another image": (
        document(talk(images={"0" * 64: encoded(PNG)})),
        ["conversations", 0, "images", "0" * 64],
        sha256(PNG).hexdigest(),
    ),
    "no image": (document(talk(images={"a": encoded(b"text")})), ["conversations", 0, "images", "a"], "PNG, JPEG"),
    "no base64": (document(talk(images={"a": "?"})), ["conversations", 0, "images", "a"], "base64"),
    "no text": (document(talk(images={"a": 1})), ["conversations", 0, "images"], "base64"),
    "no hash": (document({**but(images=["A" * 64]), "images": {}}), [], "pattern"),
    "too many images": (document(but(images=[next(iter(HASHES))] * 17)), [], "16"),
    "role": (document(talk(said("title"))), ["conversations", 0, "messages", 0, "role"], "'system'"),
    "outcome": (document(but(outcome="fine")), ["conversations", 0, "messages", 0, "outcome"], "'done'"),
    "title of two lines": (document(talk(title="a\nb")), [], "one printable line"),
    "count below zero": (document(but(prompt_tokens=-1)), [], "greater than"),
    "count of 64 bits": (document(but(total_ms=2**63)), [], "less than or equal to 9223372036854775807"),
    "small count of 32 bits": (document(but(first_byte_ms=2**31)), [], "less than or equal to 2147483647"),
    "count as a text": (document(but(total_ms="1")), [], "integer"),
    "model with a NUL": (document(but(model="a\0")), [], "NUL"),
    "no time": (document(but(created_at="now")), [], "2026-01-31T12:00:00"),
    "a time without zone": (document(but(created_at="2026-01-31T12:00:00")), [], "2026-01-31T12:00:00"),
    "seconds": (document(but(created_at=1769860800)), [], "2026-01-31T12:00:00"),
    "a day that never was": (document(but(created_at="2026-02-30T12:00:00Z")), [], "a time that there is"),
    "too early": (document(talk(created_at="1969-12-31T23:59:59.999Z")), [], "1970"),
    "much too early": (document(talk(created_at="0001-01-01T00:00:00+23:59")), [], "1970"),
    "too late": (document(talk(updated_at="9001-01-01T00:00:00Z")), [], "9000"),
    "too many messages": (document(*[talk(*[said()] * (MOST_MESSAGES // 2))] * 2), ["conversations"], "apart"),
    "no object": ({"format": []}, ["format"], "export"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
async def test_what_does_not_fit_is_told(service: Service, what: str) -> None:
    """It is 422, names the place and says what is wrong; nothing of the file is stored."""
    body, loc, words = WRONG[what]
    body = {**body, "conversations": [*body.get("conversations", []), talk(said())]}
    answer = await service.client.post(IMPORT, json=body)
    assert_error(answer, 422, "validation_error")
    details = answer.json()["details"]
    assert any(words in each["msg"] and (not loc or each["loc"] == loc) for each in details), details
    assert not any((await kept(service)).values())


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("conversations_per_key", 2),
        ("conversation_messages", 2),
        ("conversation_bytes", 1024),
        ("conversation_bytes_per_key", 1024),
    ],
)
async def test_limits_hold(fake: FakeOllama, serve: ServeFactory, database_url: str, limit: str, value: int) -> None:
    """A file that goes beyond one, and be it with its last conversation, is 409, and nothing of it is stored.

    One conversation may have twice as much as when it is written: replies may have made it so large.
    """
    told = document(talk(), talk(), talk(said("user", "x" * 2049), *[said("system")] * 4))
    async with serve(fake.url, database_url=database_url, **{limit: value}) as service:
        assert_error(answer := await service.client.post(IMPORT, json=told), 409, "conversation_full")
        assert limit.upper() in answer.json()["error"]
        assert not any((await kept(service)).values())
        assert len(await take(service, document(talk(said()), talk(said(images=[next(iter(HASHES))]))))) == 2


async def test_thousands_of_messages_take_few_statements(service: Service) -> None:
    """Messages are written many at a time, those with images too."""
    ran: list[str] = []
    engine = service.services.get(Database)._engine
    assert engine is not None
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *told: ran.append(told[2]))
    names = list(HASHES)
    (made,) = await take(service, document(talk(*(said(images=[names[n % 4]]) for n in range(2000)))))
    assert made["message_count"] == 2000
    assert len([each for each in ran if "generations" not in each]) < 50


async def test_an_export_goes_on_while_conversations_change(stored: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is begun, changed, deleted and imported meanwhile does not end it, and nothing is in it twice."""
    monkeypatch.setattr(conversation_export, "_PAGE", 2)
    made = [await begin(stored, message("user", f"{n}")) for n in range(6)]
    seen: list[str] = []
    async with aclosing(stored.services.get(Exports).every(KEY_ID)) as wholes:
        async for whole in wholes:
            seen.append(whole.conversation.id)
            if len(seen) < 6:
                await begin(stored, message("user", "new"))
                await take(stored, document(talk()))
                await post(stored, made[0]["id"], "append", {"messages": [message("user", "more")]})
            if len(seen) == 1:
                await stored.client.delete(f"{BASE}/{made[1]['id']}")
                await stored.client.delete(f"{BASE}/{made[4]['id']}")
    assert len(set(seen)) == len(seen)
    assert {made[n]["id"] for n in (0, 2, 3, 5)} <= set(seen)
    assert {made[n]["id"] for n in (1, 4)}.isdisjoint(seen)


async def test_a_conversation_is_seen_at_one_moment(stored: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images are there though they are deleted between the reading of its messages and theirs."""
    made = await begin(stored, message("user", "Look", images=[encoded(PNG)]))
    messages_of = conversation_reads.messages_of

    async def then_deleted(connection: AsyncConnection, conversation_id: str, *, replaced: bool) -> list[Message]:
        found = await messages_of(connection, conversation_id, replaced=replaced)
        await stored.client.delete(f"{BASE}/{made['id']}")
        return found

    monkeypatch.setattr(conversation_reads, "messages_of", then_deleted)
    exported = await give(stored, made["id"])
    assert exported["conversations"][0]["images"] == {sha256(PNG).hexdigest(): encoded(PNG)}
    monkeypatch.undo()
    assert await give(stored) == document()


async def test_a_failure_on_the_way_breaks_the_connection_off(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that has begun, and cannot be ended, does not look as if it had."""
    whole_of = Exports._whole
    for number in range(3):
        await begin(service, message("user", f"{number}"))

    async def failing(self: Exports, key_id: str, conversation_id: str) -> Whole:
        whole = await whole_of(self, key_id, conversation_id)
        if whole.conversation.title == "2":
            raise DatabaseDown("away")
        return whole

    monkeypatch.setattr(Exports, "_whole", failing)
    with pytest.raises(httpx.RemoteProtocolError):
        await service.client.get(EXPORT)


async def test_without_a_database_it_is_503(fake: FakeOllama, serve: ServeFactory) -> None:
    """What cannot be read or stored is told as such, before a byte of a file is sent; what is wrong is still 422."""
    async with serve(fake.url, database_url="postgresql://nobody@127.0.0.1:1/none") as service:
        for path in (EXPORT, f"{BASE}/{'0' * 32}/export"):
            assert_error(await service.client.get(path), 503, "database_down")
            assert_error(await service.client.get(path, params={"format": "pdf"}), 422, "validation_error")
        assert_error(await service.client.post(IMPORT, json=document(talk())), 503, "database_down")
        assert_error(await service.client.post(IMPORT, json=document(version=3)), 422, "validation_error")


async def test_a_conversation_to_be_read(service: Service) -> None:
    """One conversation as Markdown is a file of its own; all of them follow one another, with a rule between."""
    first, second = await take(service, document(talk(said("user", "One *two*.\n")), FULL))
    answer = await service.client.get(f"{BASE}/{first['id']}/export", params={"format": "markdown"})
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="conversation-{first["id"]}.md"'
    assert answer.text.startswith("# About colours\n\nBegun 2026-01-31 12:00 UTC")
    assert "## User\n\nOne *two*.\n\n" in answer.text
    other = await service.client.get(f"{BASE}/{second['id']}/export", params={"format": "markdown"})
    assert f"![image](data:image/png;base64,{encoded(PNG)})" in other.text
    every = (await service.client.get(EXPORT, params={"format": "markdown"})).text
    parts = {answer.text, other.text}
    assert set(every.split("\n---\n\n")) == parts


async def test_others_go_on_during_a_large_import(service: Service) -> None:
    """A file of many megabytes is read beside the requests of others, and not before them."""
    big = GIF + bytes(16_000_000)
    told = talk(said(images=[]), images={sha256(big).hexdigest(): encoded(big)})
    importing = asyncio.create_task(take(service, document(told)))
    others = 0
    while not importing.done():
        answer = await service.stranger.get("/health/live", headers={"X-API-Key": ORDINARY_KEY})
        others += answer.status_code == 200
    await importing
    assert others > 2
