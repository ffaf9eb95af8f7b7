"""Stored conversations: begun, read, changed, continued, cut and deleted."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import product
from typing import Any

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, Service
from tests.web.talk import (
    BASE,
    GIF,
    JPEG,
    PNG,
    SAID,
    TABLES,
    again,
    begin,
    encoded,
    heard,
    kept,
    message,
    post,
    read,
    rows,
    say,
    texts,
    words_kept,
)
from tests.web.test_status_table import assert_error

A_TALK = (message("system", "Be brief."), message("user", "Name a colour."), message("assistant", "Blue."))


async def test_one_may_begin_with_nothing(service: Service) -> None:
    """An empty body is enough: no title, no messages, version 1, an address."""
    answer = await service.client.post(BASE, json={})
    assert answer.status_code == 201
    made = answer.json()
    assert re.fullmatch("[0-9a-f]{32}", made["id"])
    assert (made["title"], made["model"], made["messages"], made["message_count"]) == ("", "", [], 0)
    assert (made["version"], answer.headers["etag"]) == (1, '"1"')
    assert answer.headers["location"] == f"{BASE}/{made['id']}"
    assert made["created_at"] == made["updated_at"]
    assert datetime.fromisoformat(made["created_at"]).utcoffset() is not None
    assert await read(service, made["id"]) == made


async def test_one_may_begin_with_messages(service: Service, fake: FakeOllama) -> None:
    """They are there in their order, each with an id of its own, and no model is asked."""
    made = await begin(service, *A_TALK, model="llama3")
    assert [(each["role"], each["content"]) for each in made["messages"]] == [
        (each["role"], each["content"]) for each in A_TALK
    ]
    assert len({each["id"] for each in made["messages"]}) == 3
    assert (made["title"], made["model"], made["message_count"]) == ("Name a colour.", "llama3", 3)
    assert await read(service, made["id"]) == made
    assert heard(fake) == []


async def test_a_message_has_what_it_was_given(service: Service) -> None:
    """Every member of a message comes back, and what has no value is left out."""
    calls = [{"function": {"name": "look", "arguments": {"at": "the sky", "times": 2, "deep": [None, 1.5]}}}]
    full = message("assistant", "Let me look.", thinking="I do not know.", tool_calls=calls)
    made = await begin(service, message("user"), full, message("tool", "blue", tool_name="look"))
    bare, whole, told = (await read(service, made["id"]))["messages"]
    assert bare.keys() == {"id", "role", "content", "images", "created_at"}
    assert {name: whole[name] for name in full} == full
    assert (told["role"], told["content"], told["tool_name"]) == ("tool", "blue", "look")


ANY_TEXT = (
    "\0",
    "a\0b\x10c\x100",
    "\r\n\t ",
    "x\u2028y\ufeff",
    "\U0001f469\u200d\U0001f680",
    "\u05e9\u05dc\u05d5\u05dd",
)


async def test_any_text_comes_back(service: Service) -> None:
    """Whatever JSON can say is kept as it is: as content, as a thought, in a tool's call and as its name."""
    for text in ANY_TEXT:
        calls = [{"function": {"name": text, "arguments": {text: text}}}]
        made = await begin(service, message("tool", text, thinking=text, tool_calls=calls, tool_name=text))
        (shown,) = (await read(service, made["id"]))["messages"]
        assert (shown["content"], shown["thinking"], shown["tool_name"]) == (text, text, text)
        assert shown["tool_calls"] == calls


async def test_the_title_comes_from_what_is_said_first(service: Service) -> None:
    """Where there was no message of a user at first, the first one later gives it, however it comes; then it stays."""
    for what, body in (
        ("messages", {"content": "  What\n is\tblue? ", "stream": False}),
        ("append", {"messages": [message("assistant", "Hello."), message("user", "What is blue?")]}),
    ):
        made = await begin(service, message("system", "Be brief."))
        assert made["title"] == ""
        assert (await post(service, made["id"], what, body)).is_success
        assert (await read(service, made["id"]))["title"] == "What is blue?"
        await say(service, made["id"], "And what is green?")
        assert (await read(service, made["id"]))["title"] == "What is blue?"


async def test_a_title_that_is_given_stays(service: Service) -> None:
    """No message changes it; a tool's answer never makes one."""
    made = await begin(service, title="Mine \U0001f469\u200d\U0001f680")
    await say(service, made["id"])
    assert (await read(service, made["id"]))["title"] == "Mine \U0001f469\u200d\U0001f680"
    untitled = await begin(service, message("user", " \n"))
    await say(service, untitled["id"], "A tool's answer", role="tool")
    assert (await read(service, untitled["id"]))["title"] == ""


async def test_title_and_model_can_be_changed(service: Service) -> None:
    """Each alone or both; what is left out or null stays, and the title that was is not found any more."""
    made = await begin(service, *A_TALK, title="Shades", model="one")
    url = f"{BASE}/{made['id']}"
    changed = (await service.client.patch(url, json={"title": "Hues"})).json()
    assert (changed["title"], changed["model"], changed["version"]) == ("Hues", "one", 2)
    assert "messages" not in changed
    changed = (await service.client.patch(url, json={"model": "two", "title": None})).json()
    assert (changed["title"], changed["model"], changed["version"]) == ("Hues", "two", 3)
    assert changed["updated_at"] >= changed["created_at"]
    assert (await words_kept(service, "shades"), await words_kept(service, "hues")) == (0, 1)
    assert texts(await read(service, made["id"])) == [each["content"] for each in A_TALK]


async def test_messages_can_be_put_at_the_end(service: Service, fake: FakeOllama) -> None:
    """Several at once, in their order, without a model; the answer tells what was stored and the version."""
    made = await begin(service, *A_TALK)
    answer = await post(
        service, made["id"], "append", {"messages": [message("user", "And?"), message("assistant", "Red.")]}
    )
    assert answer.status_code == 201
    assert (answer.json()["version"], answer.headers["etag"]) == (2, '"2"')
    shown = await read(service, made["id"])
    assert shown["messages"][3:] == answer.json()["messages"]
    assert texts(shown)[3:] == ["And?", "Red."]
    assert (shown["message_count"], shown["version"]) == (5, 2)
    assert heard(fake) == []


async def test_a_conversation_can_be_cut(service: Service) -> None:
    """Behind any message, or all of it; what is before stays, and one can go on."""
    made = await begin(service, *A_TALK)
    ids = [each["id"] for each in made["messages"]]
    for after, left in ((ids[2], 3), (ids[0], 1), (None, 0)):
        answer = await post(service, made["id"], "truncate", {"after": after})
        assert (answer.status_code, answer.json()["message_count"]) == (200, left)
        assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
        assert texts(await read(service, made["id"])) == [each["content"] for each in A_TALK[:left]]
    (owner,) = (await kept(service))["conversation_owners"]
    assert (owner["conversations"], owner["bytes"]) == (1, 0)
    await say(service, made["id"], "Once more.")
    assert texts(await read(service, made["id"])) == ["Once more.", SAID]
    assert await words_kept(service, "blue") == 0


async def test_a_cut_behind_what_is_not_there_is_refused(service: Service) -> None:
    """An unknown message, one of another conversation, the title's row: 404, and nothing is cut."""
    made, other = await begin(service, *A_TALK), await begin(service, *A_TALK)
    title = next(row["id"] for row in (await kept(service))["messages"] if row["role"] == "title")
    for after in ("0" * 32, "", "a\0b", other["messages"][0]["id"], title):
        assert_error(await post(service, made["id"], "truncate", {"after": after}), 404, "not_found")
    assert await read(service, made["id"]) == made


async def test_a_cut_counts_replies_that_were_replaced(service: Service) -> None:
    """Behind a replaced reply its successor goes; behind the question both go, and so do their bytes."""
    made = await begin(service)
    first = await say(service, made["id"], "Hi")
    await again(service, made["id"])
    assert (await post(service, made["id"], "truncate", {"after": first["reply_id"]})).json()["message_count"] == 1
    assert texts(await read(service, made["id"], replaced=True)) == ["Hi", SAID]
    cut = await post(service, made["id"], "truncate", {"after": first["message_id"]})
    assert cut.json()["message_count"] == 1
    assert texts(await read(service, made["id"], replaced=True)) == ["Hi"]
    (owner,) = (await kept(service))["conversation_owners"]
    assert owner["bytes"] == len("Hi")


async def test_delete_is_real(service: Service) -> None:
    """Nothing of it is in any table, nor in the index of words, but an image that somebody else shows."""
    shared, own = encoded(PNG), encoded(JPEG)
    made = await begin(service, message("user", "zebra", images=[shared, own]), title="okapi")
    await say(service, made["id"], "gnu", images=[own])
    await again(service, made["id"])
    other = await begin(service, message("user", "see", images=[shared]))
    before = await kept(service)
    assert len(before["images"]) == 2
    assert [await words_kept(service, word) for word in ("zebra", "okapi", "gnu")] == [1, 1, 1]
    answer = await service.client.delete(f"{BASE}/{made['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    left = await kept(service)
    assert [row["id"] for row in left["conversations"]] == [other["id"]]
    assert {row["conversation_id"] for row in left["messages"]} == {other["id"]}
    assert [row["data"] for row in left["images"]] == [PNG]
    assert len(left["message_images"]) == 1
    assert [await words_kept(service, word) for word in ("zebra", "okapi", "gnu", "hello")] == [0, 0, 0, 0]
    (owner,) = left["conversation_owners"]
    assert (owner["conversations"], owner["bytes"]) == (1, len("see") + len(PNG))
    assert (await service.client.delete(f"{BASE}/{other['id']}")).status_code == 204
    empty = await kept(service)
    assert {name for name, there in empty.items() if there} == {"conversation_owners"}
    assert (empty["conversation_owners"][0]["conversations"], empty["conversation_owners"][0]["bytes"]) == (0, 0)


ASKED: dict[str, tuple[str, str, Any]] = {
    "read": ("GET", "", None),
    "change": ("PATCH", "", {"title": "x"}),
    "delete": ("DELETE", "", None),
    "append": ("POST", "/append", {"messages": [message("user", "x")]}),
    "cut": ("POST", "/truncate", {"after": None}),
    "say": ("POST", "/messages", {"content": "x"}),
    "again": ("POST", "/regenerate", {}),
    "image": ("GET", f"/images/{'0' * 64}", None),
}


async def test_what_is_not_there_is_404(service: Service, fake: FakeOllama) -> None:
    """Whatever is asked of it, in the same words; nothing is stored and no model is asked."""
    unknown = ("0" * 32, "x", "a%00b", "%F0%9F%A6%99", "'--")
    for name, (method, path, body) in product(unknown, ASKED.values()):
        answer = await service.client.request(method, f"{BASE}/{name}{path}", json=body)
        assert assert_error(answer, 404, "not_found")["error"] == "There is no such conversation."
    assert heard(fake) == []
    assert not any((await kept(service)).values())


async def test_a_life_on_either_database(serve: ServeFactory, fake: FakeOllama, database_url: str) -> None:
    """All of it once on SQLite and once on PostgreSQL: what is strange to one of them is told alike."""
    async with serve(fake.url, database_url=database_url) as service:
        made = await begin(service, message("user", "zebra\0 \x10", images=[encoded(PNG)]))
        place = await say(service, made["id"], "And an okapi?", images=[encoded(PNG), encoded(GIF)])
        newer = await again(service, made["id"])
        shown = await read(service, made["id"])
        assert texts(shown) == ["zebra\0 \x10", "And an okapi?", SAID]
        assert shown["messages"][2]["id"] == newer["reply_id"]
        assert texts(await read(service, made["id"], replaced=True)) == ["zebra\0 \x10", "And an okapi?", SAID, SAID]
        listed = (await service.client.get(BASE, params={"search": "okapi"})).json()["conversations"]
        assert [(each["id"], each["match"]["message_id"]) for each in listed] == [(made["id"], place["message_id"])]
        for method, path, body in ASKED.values():
            answer = await service.client.request(method, f"{BASE}/a%00b{path}", json=body)
            assert_error(answer, 404, "not_found")
        for after in ("a\0b", "x"):
            assert_error(await post(service, made["id"], "truncate", {"after": after}), 404, "not_found")
        assert_error(await service.client.get(f"{BASE}/{made['id']}/images/a%00b"), 404, "not_found")
        assert_error(await service.client.get(BASE, params={"after": "1-\0"}), 422, "validation_error")
        assert_error(await service.client.get(BASE, params={"search": "\0"}), 422, "validation_error")
        nobodys = await service.stranger.delete("/api/admin/keys/a%00b/conversations", headers={"X-API-Key": ADMIN_KEY})
        assert nobodys.json() == {"deleted": 0}
        cut = await post(service, made["id"], "truncate", {"after": made["messages"][0]["id"]})
        assert cut.json()["message_count"] == 1
        assert [row["data"] for row in await rows(service, TABLES[3])] == [PNG]
        assert (await service.client.delete(f"{BASE}/{made['id']}")).status_code == 204
        assert {name for name, there in (await kept(service)).items() if there} == {"conversation_owners"}
