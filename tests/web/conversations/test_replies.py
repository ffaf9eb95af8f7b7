"""Messages that are replied to: which model is asked and how, what is kept of its reply, and what when none comes."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import Service
from tests.web.talk import BASE, SAID, again, begin, heard, message, post, read, say, texts
from tests.web.test_status_table import assert_error

REPLY: Final = {"id", "role", "content", "images", "created_at", "model", "outcome"} | {
    "prompt_tokens",
    "completion_tokens",
    "first_byte_ms",
    "total_ms",
}


async def test_a_reply_is_kept_with_what_is_known_of_it(service: Service, fake: FakeOllama) -> None:
    """Text, thoughts, model, tokens and times; the stream's last line says where, and the headers at its start."""
    fake.thinking = "Let me think."
    made = await begin(service)
    answer = await post(service, made["id"], "messages", {"content": "Hi", "think": True})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    place = lines[-1].pop("conversation")
    assert lines[-1]["done"] is True
    assert not [line for line in lines[:-1] if "conversation" in line]
    asked, reply = (await read(service, made["id"]))["messages"]
    assert place == {
        "id": made["id"],
        "version": 3,
        "message_id": asked["id"],
        "reply_id": reply["id"],
        "omitted_messages": 0,
        "stored": True,
    }
    told = [answer.headers[name] for name in ("etag", "x-message-id", "x-reply-id", "x-omitted-messages")]
    assert told == ['"2"', asked["id"], reply["id"], "0"]
    assert reply.keys() == REPLY | {"thinking"}
    assert (reply["role"], reply["content"], reply["thinking"]) == ("assistant", SAID, "Let me think.")
    assert (reply["model"], reply["outcome"], reply["prompt_tokens"]) == ("llama3:latest", "done", 1)
    assert reply["completion_tokens"] == len(DEFAULT_WORDS) + 3
    assert 0 <= reply["first_byte_ms"] <= reply["total_ms"]


async def test_a_reply_comes_as_it_is_wanted(service: Service) -> None:
    """Lines, events or one object: the same words, and the place in the last one."""
    made = await begin(service)
    ways: tuple[tuple[dict[str, Any], str, str], ...] = (
        ({}, "*/*", "application/x-ndjson"),
        ({"stream": True}, "text/event-stream", "text/event-stream"),
        ({"stream": False}, "text/event-stream", "application/json"),
    )
    for number, (more, accept, media_type) in enumerate(ways, 1):
        answer = await post(service, made["id"], "messages", {"content": "Hi", **more}, Accept=accept)
        assert answer.headers["content-type"] == media_type
        lines = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
        assert "".join(line["message"]["content"] for line in lines) == SAID
        assert lines[-1]["conversation"]["version"] == 2 * number + 1


async def test_a_request_is_passed_on_as_it_is(service: Service, fake: FakeOllama) -> None:
    """What a model takes goes on untouched, what is ours does not; the messages are the conversation's."""
    wanted: dict[str, Any] = {
        "options": {"temperature": 0.5, "seed": 7, "new_option": [1, {"deep": None}], "num_predict": 5},
        "think": "low",
        "format": {"type": "object", "properties": {"x": {"type": "string"}}},
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
        "keep_alive": "5m",
        "logprobs": True,
        "top_logprobs": 2,
        "truncate": False,
        "shift": True,
        "model": "llama3",
    }
    made = await begin(service)
    await say(service, made["id"], "Hi", tool_name="x", **wanted)
    await again(service, made["id"], **wanted)
    for body in heard(fake):
        assert body == {**wanted, "messages": [{"role": "user", "content": "Hi", "tool_name": "x"}], "stream": False}


async def test_the_model_is_chosen(serve: ServeFactory, fake: FakeOllama) -> None:
    """The request's, else the conversation's, else `DEFAULT_MODEL`, else the only one; the conversation keeps it."""
    fake.models = ["one:latest", "two:latest", "three:latest"]

    async def model_of(service: Service, conversation_id: str) -> tuple[str, str]:
        return heard(fake)[-1]["model"], (await read(service, conversation_id))["model"]

    async with serve(fake.url, default_model="three") as service:
        made, named = await begin(service), await begin(service, model="two")
        await say(service, made["id"])
        assert await model_of(service, made["id"]) == ("three", "three")
        await say(service, named["id"])
        assert await model_of(service, named["id"]) == ("two", "two")
        await say(service, named["id"], model="one")
        assert await model_of(service, named["id"]) == ("one", "one")
        await again(service, named["id"])
        assert await model_of(service, named["id"]) == ("one", "one")
        await service.client.patch(f"{BASE}/{named['id']}", json={"model": "three"})
        await say(service, named["id"])
        assert await model_of(service, named["id"]) == ("three", "three")
    async with serve(fake.url) as service:
        made = await begin(service)
        answer = await post(service, made["id"], "messages", {"content": "Hi"})
        error = assert_error(answer, 422, "validation_error")
        assert error["details"][0]["loc"] == ["model"]
        assert answer.headers["x-message-id"] == (await read(service, made["id"]))["messages"][0]["id"]
        await again(service, made["id"], model="two")
        assert await model_of(service, made["id"]) == ("two", "two")
    fake.models = ["one:latest"]
    async with serve(fake.url) as service:
        made = await begin(service)
        await say(service, made["id"])
        assert await model_of(service, made["id"]) == ("one:latest", "one:latest")


async def test_tools_are_called_and_answer(service: Service, fake: FakeOllama) -> None:
    """A model's calls are kept; what the tool answers goes back to it with its name; then it speaks."""
    calls = [{"function": {"name": "look", "arguments": {"at": "the sky", "n": 1}}}]
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    fake.tool_calls, fake.words, fake.thinking = (calls[0],), (), "I should look."
    made = await begin(service)
    await say(service, made["id"], "What colour is the sky?", tools=tools)
    shown = await read(service, made["id"])
    assert (shown["messages"][1]["tool_calls"], shown["messages"][1]["content"]) == (calls, "")
    fake.tool_calls, fake.words, fake.thinking = (), DEFAULT_WORDS, ""
    place = await say(service, made["id"], "", role="tool", tool_name="look", tools=tools)
    assert heard(fake)[-1]["messages"] == [
        {"role": "user", "content": "What colour is the sky?"},
        {"role": "assistant", "content": "", "tool_calls": calls, "thinking": "I should look."},
        {"role": "tool", "content": "", "tool_name": "look"},
    ]
    assert texts(await read(service, made["id"])) == ["What colour is the sky?", "", "", SAID]
    newer = await again(service, made["id"], tools=tools)
    assert newer["message_id"] == place["message_id"]
    assert len(heard(fake)[-1]["messages"]) == 3
    assert texts(await read(service, made["id"])) == ["What colour is the sky?", "", "", SAID]


async def test_a_reply_is_made_anew(service: Service, fake: FakeOllama) -> None:
    """The old one is kept as replaced and shown to nobody who does not ask for it, least of all to the model."""
    made = await begin(service)
    first = await say(service, made["id"], "Hi")
    fake.words = (" Another", " one.")
    second = await again(service, made["id"])
    assert heard(fake)[0]["messages"] == heard(fake)[1]["messages"]
    assert (second["message_id"], second["version"]) == (first["message_id"], 5)
    shown = await read(service, made["id"])
    assert (texts(shown), shown["message_count"]) == (["Hi", " Another one."], 2)
    every = (await read(service, made["id"], replaced="true"))["messages"]
    assert [each["id"] for each in every] == [first["message_id"], first["reply_id"], second["reply_id"]]
    assert ["replaced_at" in each for each in every] == [False, True, False]
    await say(service, made["id"], "And?")
    assert [each["content"] for each in heard(fake)[-1]["messages"]] == ["Hi", " Another one.", "And?"]


async def test_a_question_that_is_sent_again_is_asked_once(service: Service, fake: FakeOllama) -> None:
    """With its `Idempotency-Key`, and so is a reply made anew; who repeats it gets the same bytes."""
    made = await begin(service)
    for path, body in (("messages", {"content": "Hi"}), ("regenerate", {})):
        answers = [
            await service.client.post(f"{BASE}/{made['id']}/{path}", json=body, headers={"Idempotency-Key": path})
            for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[1].content == answers[0].content
    assert texts(await read(service, made["id"])) == ["Hi", SAID]
    assert len(heard(fake)) == 2


async def test_a_reply_without_a_question_is_a_conflict(service: Service, fake: FakeOllama) -> None:
    """Nothing was asked: 409, whatever else stands there."""
    for said in ((), (message("system", "Be brief."),), (message("assistant", "Hello."),)):
        made = await begin(service, *said)
        answer = await post(service, made["id"], "regenerate", {})
        assert_error(answer, 409, "conflict")
        assert (await read(service, made["id"]))["version"] == 1
    assert heard(fake) == []
