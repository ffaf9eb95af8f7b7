"""Stored conversations and who pays for them: limits, the ledger, models, the log, and nobody's key."""

from __future__ import annotations

from typing import Any, Final

import pytest
from sqlalchemy import text

from mlops_backend.schemas.keys import CreateKeyRequest
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.keys.service import ApiKeys
from mlops_backend.services.other.usage.ledger import Ledger
from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.ledger_rows import stored, until_written
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.talk import BASE, SAID, again, begin, encoded, heard, message, post, read, say, texts
from tests.web.test_status_table import assert_error

SECRET: Final = "what nobody may read"
ROUTE: Final = f"{BASE}/<conversation_id>"


async def test_a_key_over_its_limit_is_refused(serve: ServeFactory, fake: FakeOllama) -> None:
    """429 with the fields of every route, and the message stays; what is no generation costs nothing."""
    async with serve(fake.url, rate_limit_requests="2/hour") as service:
        made = await begin(service)
        answers = [await post(service, made["id"], "messages", {"content": str(number)}) for number in range(3)]
        refused = await post(service, made["id"], "regenerate", {})
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        for answer in (answers[2], refused):
            assert_error(answer, 429, "rate_limited")
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["ratelimit-policy"] == '"requests";q=2;w=3600'
            assert '"requests";r=0' in answer.headers["ratelimit"]
        shown = await read(service, made["id"])
        assert texts(shown) == ["0", SAID, "1", SAID, "2"]
        assert answers[2].headers["x-message-id"] == refused.headers["x-message-id"] == shown["messages"][-1]["id"]
        assert '"requests";r=1' in answers[0].headers["ratelimit"]
        for _ in range(5):
            await begin(service)
    assert len(heard(fake)) == 2


async def test_tokens_of_the_whole_history_count(serve: ServeFactory, fake: FakeOllama) -> None:
    """What is sent along is reserved and paid for, as in any chat."""
    async with serve(fake.url, tokens_per_day="10000", token_reserve=10) as service:
        made = await begin(service, message("user", "word " * 1000), message("assistant", "Yes."))
        answer = await post(service, made["id"], "messages", {"content": "And?", "stream": False})
        told = answer.json()
        reply = (await read(service, made["id"]))["messages"][-1]
        assert told["prompt_eval_count"] == reply["prompt_tokens"] > 1000
        left = int(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0])
        assert left < 10_000 - 1000


async def test_every_request_has_one_row(serve: ServeFactory, fake: FakeOllama) -> None:
    """Of the ledger: by route, with its tokens, however it ended; what asks no model has none."""
    async with serve(fake.url, rate_limit_requests="5/hour") as service:
        made = await begin(service)
        await say(service, made["id"], "Hi")
        await again(service, made["id"])
        fake.mode = Mode.CUT_MID_STREAM
        await post(service, made["id"], "messages", {"content": "Hi"})
        fake.mode = Mode.ERROR_500
        await post(service, made["id"], "regenerate", {})
        fake.mode = Mode.NORMAL
        await post(service, made["id"], "messages", {"content": "Hi"}, If_Match='"1"')
        await post(service, made["id"], "messages", {"content": ""})
        await post(service, "0" * 32, "regenerate", {})
        await say(service, made["id"], "Hi")
        await post(service, made["id"], "messages", {"content": "Hi"})
        for route, body in (("append", {"messages": [message("user", "x")]}), ("truncate", {"after": None})):
            await post(service, made["id"], route, body)
        await until_written(service.services.get(Ledger), 9)
        rows = await stored(service.services.get(Database))
    told = [(row["route"].removeprefix(ROUTE), row["outcome"], row["status"], row["error"]) for row in rows]
    assert told == [
        ("/messages", "done", 200, ""),
        ("/regenerate", "done", 200, ""),
        ("/messages", "error", 200, "backend_vanished"),
        ("/regenerate", "error", 502, "backend_failed"),
        ("/messages", "refused", 412, "precondition_failed"),
        ("/messages", "refused", 422, "validation_error"),
        ("/regenerate", "refused", 404, "not_found"),
        ("/messages", "done", 200, ""),
        ("/messages", "refused", 429, "rate_limited"),
    ]
    assert {row["key_id"] for row in rows} == {"settings:tester"}
    assert {row["dialect"] for row in rows} == {"ollama"}
    # Nobody told those of the stream that was cut: its eleven letters are three.
    assert [row["completion_tokens"] for row in rows] == [8, 8, 3, 0, 0, 0, 0, 8, 0]
    assert [row["prompt_tokens"] > 0 for row in rows] == [row["completion_tokens"] > 0 for row in rows]


async def test_a_model_that_is_not_the_keys_is_refused(service: Service, fake: FakeOllama) -> None:
    """403, whether the request names it or the conversation; the message stays, and another model may reply."""
    fake.models = ["llama3:latest", "other:latest"]
    wanted = CreateKeyRequest.model_validate({"name": "one", "models": ["llama3*"]})
    _, key = await service.services.get(ApiKeys).create(wanted)
    headers = {"X-API-Key": key}
    made = (await service.stranger.post(BASE, json={"model": "other"}, headers=headers)).json()
    url = f"{BASE}/{made['id']}"
    for body in ({"content": "Hi"}, {"content": "Hi", "model": "other"}):
        answer = await service.stranger.post(f"{url}/messages", json=body, headers=headers)
        assert_error(answer, 403, "forbidden")
        assert answer.headers["x-message-id"]
    assert heard(fake) == []
    answer = await service.stranger.post(f"{url}/regenerate", json={"model": "llama3"}, headers=headers)
    assert answer.status_code == 200
    assert texts((await service.stranger.get(url, headers=headers)).json()) == ["Hi", "Hi", SAID]


async def test_no_text_is_logged(serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever goes wrong: neither a message, a title, an image nor a reply; not even when the database refuses."""
    image = encoded(b"\x89PNG\r\n\x1a\n" + SECRET.encode())
    said = message("user", SECRET, images=[image], thinking=SECRET)
    async with serve(fake.url) as service:
        made = await begin(service, said, title=SECRET)
        for fake.mode in (mode for mode in Mode if "HANG" not in mode.name and "SLOW" not in mode.name):
            await post(service, made["id"], "messages", {"content": SECRET})
            await post(service, made["id"], "regenerate", {"stream": False})
        fake.mode = Mode.NORMAL
        await service.client.get(BASE, params={"search": SECRET})
        await service.client.patch(f"{BASE}/{made['id']}", json={"title": f"{SECRET}\n"})
        await service.client.post(BASE, json={"messages": [{**said, "role": SECRET}]})
        async with service.services.get(Database).writing() as connection:
            fault = "CREATE TRIGGER fault BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'no'); END"
            await connection.execute(text(fault))
        for route, body in (("messages", {"content": SECRET}), ("append", {"messages": [said]})):
            assert_error(await post(service, made["id"], route, body), 500, "internal_error")
        answer = await post(service, made["id"], "regenerate", {})
        assert '"stored":false' in answer.text
    written = "".join(capsys.readouterr())
    assert written.count('"event":"request"') > 20
    assert "a reply is lost" in written
    for secret in (SECRET, SECRET.replace(" ", "+"), image, DEFAULT_WORDS[0].strip(), ADMIN_KEY, ORDINARY_KEY):
        assert secret not in written


async def test_without_keys_conversations_are_shared(serve: ServeFactory, fake: FakeOllama) -> None:
    """`AUTH_ENABLED=false`: whoever has no key is one and the same; what belongs to a key stays its own."""
    async with serve(fake.url, auth_enabled=False) as service:
        own = await begin(service, message("user", "mine"))
        answer = await service.stranger.post(BASE, json={"messages": [message("user", "everybody's")]})
        everybodys: dict[str, Any] = answer.json()
        url = f"{BASE}/{everybodys['id']}"
        assert (await service.stranger.post(f"{url}/messages", json={"content": "Hi"})).status_code == 200
        assert len((await service.stranger.get(url)).json()["messages"]) == 3
        listed = (await service.stranger.get(BASE)).json()["conversations"]
        assert [each["id"] for each in listed] == [everybodys["id"]]
        assert_error(await service.stranger.get(f"{BASE}/{own['id']}"), 404, "not_found")
        assert_error(await service.client.get(url), 404, "not_found")
    async with serve(fake.url) as service:
        assert_error(await service.stranger.get(url), 401, "unauthorized")
