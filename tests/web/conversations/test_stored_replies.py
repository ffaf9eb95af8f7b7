"""Replies of stored conversations: what is kept is what the client was sent, however the stream ended."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest

from mlops_backend.services.other.conversations.passing import Passing
from tests.conftest import ServeFactory
from tests.e2e.raw_client import RawClient
from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ORDINARY_KEY, Service
from tests.stored_conversations import heard
from tests.web.conversations.stored_replies import (
    NDJSON,
    SSE,
    ask,
    begun,
    consistent,
    in_ledger,
    kept,
    streaming,
)

ENDS: Final = {
    Mode.NORMAL: ("done", ""),
    Mode.ODD_UNICODE: ("done", ""),
    Mode.SPLIT_LINES: ("done", ""),
    Mode.HUGE_LINES: ("done", ""),
    Mode.CUT_MID_STREAM: ("error", "backend_vanished"),
    Mode.ERROR_MID_STREAM: ("error", "backend_error_line"),
    Mode.NO_DONE: ("error", "stream_incomplete"),
    Mode.HANG_MID_STREAM: ("timeout", "idle_timeout"),
}
# What a database, a search index or a reader of lines could take for something else.
ODD: Final = (
    " NUL \0", " \x10", "\x10\x0e\x10\x11d83d", ' "done":true', '{"error":"no"}', "\n\r\n", "data: x\n\n", "\x85\u2028",
    "<&>", "\ufeff\uffff", "\U0010ffff", "e\u0301", "'; DROP TABLE messages; --", "\\u0000", "\x7f\x1b[0m",
)  # fmt: skip
CALLS: Final = (
    {"function": {"name": "look\0up", "arguments": {"done": True, "error": "\x10\0", "deep": [{"a": None}]}}},
)
TOOLS: Final = {"tools": [{"type": "function", "function": {"name": "look\0up"}}], "think": True}
CHANGING: Final = re.compile(rb'"(created_at|request_id)":"[^"]*"')
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
COUNTS: Final = ("prompt_tokens", "completion_tokens")


@pytest.fixture
async def on(serve: ServeFactory, fake: FakeOllama, database_url: str) -> AsyncIterator[Service]:
    """The service on either database, before `fake`."""
    async with serve(fake.url, database_url=database_url, log_level="error") as service:
        yield service


def without_place(answer: bytes) -> bytes:
    """An answer as `/api/llm/chat` would give it: its last object without the member that is spliced in."""
    before, mark, place = answer.rpartition(b',"conversation":')
    assert mark
    assert json.loads(place[: place.index(b"}") + 1])["stored"] is True
    return before + place[place.index(b"}") + 1 :]


async def test_what_is_kept_is_what_was_sent(serve: ServeFactory, fake: FakeOllama, database_url: str) -> None:
    """However it ends: the text, the thoughts, the calls, the outcome and the counts are those of client and ledger."""
    clocks = {"first_byte_timeout": 0.5, "idle_timeout": 0.2}  # with tools a backend may pause for the longer one
    async with serve(fake.url, database_url=database_url, log_level="error", **clocks) as on:
        await _is_kept_as_sent(on, fake)


async def _is_kept_as_sent(on: Service, fake: FakeOllama) -> None:
    address = await begun(on)
    wanted = []
    for mode, end in ENDS.items():
        fake.mode, fake.thinking, fake.tool_calls = mode, "Let me\0 think", CALLS
        for headers, stream in ((NDJSON, True), (SSE, True), (NDJSON, False)):
            is_whole_thing = end[0] == "done" and (stream is False or mode is not Mode.HUGE_LINES)
            if is_whole_thing or (stream and end[0] != "done"):
                body = {"content": f"{mode.name} \0", "stream": stream, **TOOLS}
                answer = await on.client.post(f"{address}/messages", json=body, headers=headers)
                assert answer.status_code == 200, (mode, answer.text)
                wanted.append((mode, end, answer))
    stored = {message["id"]: message for message in await kept(on, address)}
    assert [message["role"] for message in stored.values()] == ["user", "assistant"] * len(wanted)
    for mode, end, answer in wanted:
        reply, question = stored[answer.headers["X-Reply-ID"]], stored[answer.headers["X-Message-ID"]]
        assert heard(answer.content).is_as(reply), mode
        place = heard(answer.content).place
        assert (place["stored"], place["reply_id"]) == (True, answer.headers["X-Reply-ID"]), mode
        assert str(place["omitted_messages"]) == answer.headers["X-Omitted-Messages"]
        assert reply.get("omitted_messages", 0) == place["omitted_messages"]
        assert (reply["outcome"], reply.get("error", "")) == end
        assert question["content"] == f"{mode.name} \0"
        row = await in_ledger(on, answer)
        assert (row["outcome"], row["error"].partition(":")[0]) == end
        assert [reply[name] for name in COUNTS] == [row[name] for name in COUNTS]
        assert reply.get("tokens_estimated", False) == row["estimated"]
        assert reply["first_byte_ms"] == row["first_byte_ms"]
    assert await consistent(on)


async def test_odd_texts_are_kept(on: Service, fake: FakeOllama) -> None:
    """Whatever letters there are: in a question, a thought, a reply, a call, and as the model is shown them again."""
    fake.words, fake.thinking, fake.tool_calls = ODD, "".join(ODD), CALLS
    address = await begun(on, {"role": "tool", "content": "\x10\0", "tool_name": "\0\x10"})
    for headers in (NDJSON, SSE):
        answer = await on.client.post(f"{address}/messages", json={"content": "".join(ODD), **TOOLS}, headers=headers)
        said = heard(answer.content)
        stored = await kept(on, address)
        assert said.is_as(stored[-1])
        assert (said.content, said.tool_calls) == ("".join(ODD), [*CALLS])
        assert stored[-2]["content"] == "".join(ODD)
    assert (stored[0]["content"], stored[0]["tool_name"]) == ("\x10\0", "\0\x10")
    shown = fake.requests[-1].json()["messages"]
    assert [message["content"] for message in shown] == ["\x10\0", *["".join(ODD)] * 3]
    assert shown[2]["tool_calls"] == [*CALLS]
    assert await consistent(on)


async def test_the_stream_is_that_of_chat(service: Service, fake: FakeOllama) -> None:
    """Byte for byte, but for the member that the last object has more."""
    for mode in [*ENDS][:-1]:
        fake.mode = mode
        for headers, stream in ((NDJSON, True), (SSE, True), (NDJSON, False)):
            if stream or ENDS[mode][0] == "done":
                body = {"content": "Hi", "stream": stream}
                answer = await service.client.post(f"{await begun(service)}/messages", json=body, headers=headers)
                asked = {**fake.requests[-1].json(), "stream": stream}
                chat = await service.client.post("/api/llm/chat", json=asked, headers=headers)
                assert answer.headers["Content-Type"] == chat.headers["Content-Type"]
                same = CHANGING.sub(b"", without_place(answer.content)) == CHANGING.sub(b"", chat.content)
                assert same, (mode, headers, stream)


async def test_the_last_object_is_known_however_it_is_written(serve: ServeFactory) -> None:
    """Other servers that speak Ollama's language write their JSON with spaces, and errors with more in them."""
    ends = ({"done": True, "eval_count": 1}, {"done": False, "error": "it died"}, {"error": "no"})
    texts = [
        "".join(
            json.dumps({"model": "llama3", **line}, separators=separators) + "\n"
            for line in ({"message": {"role": "assistant", "content": "one"}, "done": False}, end)
        )
        for end in ends
        for separators in ((",", ":"), (", ", ": "))
    ]

    class Other(FakeOllama):
        async def answer(self, connection: Connection, request: Request) -> None:
            if request.path != "/api/chat":
                await super().answer(connection, request)
                return
            question = json.loads(request.body)["messages"][-1]["content"]
            await connection.send_chunk(texts[int(question)].encode(), head=HEAD)
            await connection.end_chunks()

    async with Other() as fake, serve(fake.url) as service:
        for number in range(len(texts)):
            address = await begun(service)
            said = await ask(service, address, str(number))
            assert (said.place["stored"], said.content) == (True, "one"), texts[number]
            assert said.place["reply_id"] == (await kept(service, address))[-1]["id"]


@pytest.mark.parametrize(
    ("leave", "accept"),
    [(RawClient.leave, NDJSON["Accept"]), (RawClient.reset, NDJSON["Accept"]), (RawClient.leave, SSE["Accept"])],
    ids=["FIN", "RST", "events"],
)
async def test_a_client_that_leaves_has_heard_what_is_kept(
    on: Service, fake: FakeOllama, leave: Callable[[RawClient], Awaitable[None]], accept: str
) -> None:
    """Exactly the tokens that it had read, none more, and `client_gone`; a new reply takes their place."""
    address = await begun(on)
    for tokens in (1, 2, 7):
        async with streaming(
            on, fake, f"{address}/messages", {"content": f"Hi {tokens}"}, tokens, Accept=accept
        ) as client:
            await leave(client)
            await fake.wait_for_disconnect()
            await asyncio.sleep(0.02)
        fake.release()
        async with asyncio.timeout(20):
            while (stored := await kept(on, address))[-1]["role"] != "assistant":
                await asyncio.sleep(0.01)
        assert stored[-1]["content"] == "".join(fake.words[:tokens])
        assert (stored[-1]["outcome"], stored[-1].get("tokens_estimated")) == ("client_gone", True)
        letters = len(stored[-1]["content"])
        assert stored[-1]["completion_tokens"] == max(tokens, -(-letters // 4))
        again = await on.client.post(f"{address}/regenerate", json={})
        stored = await kept(on, address)
        assert heard(again.content).is_as(stored[-1])
        assert "replaced_at" in stored[-2]
    assert await consistent(on)


@pytest.mark.parametrize("leave", [RawClient.leave, RawClient.reset], ids=["FIN", "RST"])
async def test_a_client_that_leaves_before_the_first_word(
    on: Service, fake: FakeOllama, leave: Callable[[RawClient], Awaitable[None]]
) -> None:
    """Its question stays, without a reply."""
    address = await begun(on)
    for stream in (True, False):
        fake.hold()
        async with await RawClient.connect(on.url) as client:
            body = {"content": "Hi", "stream": stream}
            await client.request("POST", f"{address}/messages", body, X_API_Key=ORDINARY_KEY)
            await fake.wait_for_request("/api/chat")
            await leave(client)
            await fake.wait_for_disconnect()
        fake.release()
    assert await consistent(on)
    assert [message["role"] for message in await kept(on, address)] == ["user", "user"]
    again = await on.client.post(f"{address}/regenerate", json={"stream": False})
    assert heard(again.content).is_as((await kept(on, address))[-1])


async def test_a_drained_reply_is_kept(on: Service, fake: FakeOllama) -> None:
    """The service stops: what had come is kept as `drained`, and the client is told so by its last object."""
    address = await begun(on)
    async with streaming(on, fake, f"{address}/messages", {"content": "Hi"}, 3) as client:
        await on.admission.drain(0)
        last = heard(b"\n".join(await client.lines()))
    assert (last.last["code"], last.place["stored"]) == ("draining", True)
    reply = (await kept(on, address))[-1]
    assert (reply["id"], reply["outcome"], reply["error"]) == (last.place["reply_id"], "drained", "draining")
    assert reply["content"] == "".join(fake.words[:3])
    assert await consistent(on)


async def test_a_stored_reply_goes_the_short_way(
    service: Service, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but its first piece and its last; what is kept is the whole of it."""
    straight, send = list[bytes](), Passing.send

    def sending(passing: Passing, piece: bytes) -> bool:
        straight.append(piece)
        return send(passing, piece)

    monkeypatch.setattr(Passing, "send", sending)
    fake.mode, fake.words = Mode.SLOW_TOKENS, ("one ", "two ", "three ", "four")
    address = await begun(service)
    answer = await service.client.post(f"{address}/messages", json={"content": "Hi"}, headers=NDJSON)
    assert len(straight) >= len(fake.words) - 1
    (_, reply) = await kept(service, address)
    assert heard(answer.content).is_as(reply)
    assert reply["content"] == "one two three four"


async def test_a_large_conversation_is_read_as_it_is(service: Service) -> None:
    """Though its answer is written beside the event loop, a message at a time."""
    said = [{"role": role, "content": f"{role} \u00fc" * 30_000} for role in ("user", "assistant")]
    made = await service.client.post("/api/database/conversations", json={"title": "A talk", "messages": said})
    assert made.status_code == 201
    assert made.headers["Content-Type"] == "application/json"
    read = await service.client.get(made.headers["Location"])
    assert read.json() == made.json()
    assert [(message["role"], message["content"]) for message in read.json()["messages"]] == [
        (message["role"], message["content"]) for message in said
    ]
    assert read.json()["title"] == "A talk"
