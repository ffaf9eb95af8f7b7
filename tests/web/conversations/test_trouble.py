"""Replies that do not come, or only in part, and conversations that change while one is on its way."""

from __future__ import annotations

import json
from typing import Final

import pytest

from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import messages
from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import Service
from tests.web.talk import BASE, SAID, again, begin, heard, kept, message, placed, post, read, rows, say, texts
from tests.web.test_status_table import assert_error

FAILED: Final = {
    Mode.ERROR_500: (502, "backend_failed"),
    Mode.BUSY_503: (503, "backend_busy"),
    Mode.CLOSE_BEFORE_HEADERS: (502, "backend_vanished"),
    Mode.GARBAGE: (502, "backend_nonsense"),
    Mode.ERROR_FIRST_LINE: (502, "backend_failed"),
    Mode.NOT_FOUND_MODEL: (404, "model_not_found"),
    Mode.HANG_BEFORE_HEADERS: (504, "first_byte_timeout"),
}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_question_without_a_reply_stays(serve: ServeFactory, fake: FakeOllama, stream: bool) -> None:
    """The error is told as everywhere, with the message's id and the version; asked again, the reply comes."""
    async with serve(fake.url, first_byte_timeout=0.1) as service:
        for fake.mode, (status, code) in FAILED.items():
            made = await begin(service)
            answer = await post(service, made["id"], "messages", {"content": "Hi", "model": "llama3", "stream": stream})
            assert_error(answer, status, code)
            shown = await read(service, made["id"])
            assert texts(shown) == ["Hi"]
            assert answer.headers["x-message-id"] == shown["messages"][0]["id"]
            assert (answer.headers["etag"], shown["version"]) == ('"2"', 2)
            assert "x-reply-id" not in answer.headers
            fake.mode = Mode.NORMAL
            place = await again(service, made["id"])
            assert (place["message_id"], place["version"]) == (shown["messages"][0]["id"], 4)
            assert texts(await read(service, made["id"])) == ["Hi", SAID]


async def test_a_draining_service_keeps_the_question(service: Service) -> None:
    """503 as everywhere, and the message is there for the next process."""
    made = await begin(service)
    service.admission.draining = True
    answer = await post(service, made["id"], "messages", {"content": "Hi"})
    assert_error(answer, 503, "draining")
    assert answer.headers["retry-after"]
    assert answer.headers["x-message-id"] == (await read(service, made["id"]))["messages"][0]["id"]
    service.admission.draining = False
    assert (await again(service, made["id"]))["stored"]


async def test_a_reply_that_is_cut_is_kept_so(service: Service, fake: FakeOllama) -> None:
    """What came stays, with its outcome; the error's line says where; the model hears of it, and it can be replaced."""
    for mode, code in ((Mode.CUT_MID_STREAM, "backend_vanished"), (Mode.ERROR_MID_STREAM, "backend_error_line")):
        made = await begin(service)
        fake.mode = mode
        answer = await post(service, made["id"], "messages", {"content": "Hi"})
        last = json.loads(answer.text.splitlines()[-1])
        assert last["error"]
        fake.mode = Mode.NORMAL
        reply = (await read(service, made["id"]))["messages"][1]
        assert placed(answer) == {**last["conversation"], "reply_id": reply["id"], "stored": True}
        assert (reply["content"], reply["outcome"], reply["error"]) == ("".join(DEFAULT_WORDS[:2]), "error", code)
        await say(service, made["id"], "Go on.")
        assert heard(fake)[-1]["messages"][1] == {"role": "assistant", "content": "".join(DEFAULT_WORDS[:2])}


async def test_a_reply_of_nothing_is_kept_only_when_whole(service: Service, fake: FakeOllama) -> None:
    """A model that says nothing has replied; one that broke off before its first word has not."""
    made = await begin(service)
    fake.words = ()
    place = await say(service, made["id"], "Hi")
    assert texts(await read(service, made["id"])) == ["Hi", ""]
    fake.words, fake.mode = ("", ""), Mode.CUT_MID_STREAM
    answer = await post(service, made["id"], "messages", {"content": "Again"})
    assert placed(answer) == {
        **place,
        "version": 4,
        "message_id": answer.headers["x-message-id"],
        "reply_id": None,
        "stored": False,
    }
    assert texts(await read(service, made["id"])) == ["Hi", "", "Again"]


async def test_a_conversation_deleted_meanwhile_keeps_nothing(service: Service, fake: FakeOllama) -> None:
    """The reply still arrives; that it was not kept is told, and nothing is left of it."""
    made = await begin(service)
    fake.hold()
    fake.release(1)
    async with service.client.stream("POST", f"{BASE}/{made['id']}/messages", json={"content": "Hi"}) as answer:
        assert (await service.client.delete(f"{BASE}/{made['id']}")).status_code == 204
        fake.release()
        lines = (await answer.aread()).splitlines()
    place = json.loads(lines[-1])["conversation"]
    assert (place["stored"], len(lines)) == (False, len(DEFAULT_WORDS) + 1)
    left = await kept(service)
    assert (left["conversations"], left["messages"]) == ([], [])


async def test_a_question_cut_off_meanwhile_has_no_reply(service: Service, fake: FakeOllama) -> None:
    """A reply is not kept where its question is gone; one whose question stays is."""
    for after_question, stored in ((False, False), (True, True)):
        made = await begin(service, message("user", "One"), message("assistant", "Two"))
        fake.hold()
        fake.release(1)
        async with service.client.stream("POST", f"{BASE}/{made['id']}/messages", json={"content": "Three"}) as answer:
            after = answer.headers["x-message-id"] if after_question else made["messages"][1]["id"]
            await post(service, made["id"], "truncate", {"after": after})
            fake.release()
            lines = (await answer.aread()).splitlines()
        assert json.loads(lines[-1])["conversation"]["stored"] is stored
        wanted = ["One", "Two", "Three", SAID] if stored else ["One", "Two"]
        assert texts(await read(service, made["id"])) == wanted
        sequences = [row["sequence"] for row in await rows(service, messages) if row["conversation_id"] == made["id"]]
        assert len(set(sequences)) == len(sequences)


async def test_a_model_chosen_meanwhile_stays(service: Service, fake: FakeOllama) -> None:
    """A reply that ends later does not bring back the model that the conversation had."""
    made = await begin(service, model="llama3")
    fake.hold()
    fake.release(1)
    async with service.client.stream("POST", f"{BASE}/{made['id']}/messages", json={"content": "Hi"}) as answer:
        await service.client.patch(f"{BASE}/{made['id']}", json={"model": "other"})
        fake.release()
        await answer.aread()
    shown = await read(service, made["id"])
    assert (shown["model"], shown["messages"][1]["model"]) == ("other", "llama3")


async def test_without_a_database_nothing_is_asked(serve: ServeFactory, fake: FakeOllama) -> None:
    """503 for every route, and no model is asked; other inference goes on."""
    async with serve(fake.url) as service:
        made = await begin(service, message("user", "Hi"))
        database = service.services.get(Database)
        database._ready = False
        for route, body in (("messages", {"content": "Hi"}), ("regenerate", {}), ("truncate", {"after": None})):
            answer = await post(service, made["id"], route, body)
            assert_error(answer, 503, "database_down")
            assert answer.headers["retry-after"]
        for path in ("", f"/{made['id']}"):
            assert_error(await service.client.get(BASE + path), 503, "database_down")
        assert heard(fake) == []
        chat = {"messages": [message("user", "Hi")]}
        assert (await service.client.post("/api/llm/chat", json=chat)).status_code == 200
        database._ready = True
        assert (await again(service, made["id"]))["stored"]
