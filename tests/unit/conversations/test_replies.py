"""How a reply passes: each chunk at once, but for the last object, which waits until the reply is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from mlops_backend.services.other.conversations.kept_replies import KeptReplies
from mlops_backend.services.other.conversations.passing import Passing
from mlops_backend.services.other.conversations.replies import Replies
from mlops_backend.services.other.conversations.rows import Message
from mlops_backend.services.other.conversations.steps import Turn
from mlops_backend.services.other.database import patient_writes
from mlops_backend.telemetry.record import RequestRecord

TURN = Turn("key", "c" * 32, 2, "q" * 32, 1, "r" * 32, 2, "llama3")


class FakeTurns:
    """Keeps replies in a list."""

    def __init__(self) -> None:
        self.kept: list[Message] = []

    async def keep(self, turn: Turn, reply: Message) -> int:
        """Keep it, as version 3."""
        self.kept.append(reply)
        return 3


def line(content: str = "", **more: Any) -> bytes:
    """One of Ollama's lines."""
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    return (
        json.dumps({"model": "llama3", "message": message, "done": False, **more}, separators=(",", ":")).encode()
        + b"\n"
    )


def passing(chunks: list[bytes]) -> tuple[AsyncGenerator[bytes, None], list[int], FakeTurns]:
    """The reply that a client gets for such chunks, how many of these were asked for so far, and what is kept."""
    asked: list[int] = []

    async def lines() -> AsyncGenerator[bytes, None]:
        for index, chunk in enumerate(chunks):
            asked.append(index)
            yield chunk

    turns = FakeTurns()
    replies = Replies(None, KeptReplies(turns), None, 4096)  # type: ignore[arg-type]
    record = RequestRecord(id="x", method="POST", outcome="done")
    return replies._relayed(TURN, 0, lines(), record, Passing(record)), asked, turns


async def test_an_end_within_a_tools_arguments_holds_nothing_back() -> None:
    """A chunk that only looks like the last one goes out as soon as the next one comes, byte for byte."""
    call: Mapping[str, Any] = {"tool_calls": [{"function": {"name": "mark", "arguments": {"done": True}}}]}
    chunks = [line("a"), line(message=call), line("b"), line("c"), line("", done=True)]
    relayed, asked, turns = passing(chunks)
    got = [await anext(relayed)]
    got.append(await anext(relayed))
    assert got == chunks[:2]
    assert asked == [0, 1, 2]
    got += [chunk async for chunk in relayed]
    assert got[:-1] == chunks[:-1]
    assert json.loads(got[-1])["conversation"]["stored"] is True
    assert [(reply.content, reply.tool_calls) for reply in turns.kept] == [("abc", call["tool_calls"])]


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b" \n"])
async def test_the_last_object_keeps_every_byte(ending: bytes) -> None:
    """One member is put before its last brace; what stands before and behind stays."""
    last = line("x").rstrip() + b"\n" + line("", done=True).rstrip()
    relayed, _, _ = passing([last + ending])
    [got] = [chunk async for chunk in relayed]
    assert got.startswith(last[:-1] + b',"conversation":{')
    assert got.endswith(b"}}" + ending)


async def test_a_stream_that_is_left_is_kept_as_far_as_it_was_sent() -> None:
    """What was handed over and taken counts; what was not taken does not."""
    relayed, _, turns = passing([line("a"), line("b"), line("c"), line("", done=True)])
    assert await anext(relayed) == line("a")
    assert await anext(relayed) == line("b")
    await relayed.aclose()
    async with asyncio.timeout(20):
        while not turns.kept:
            await asyncio.sleep(0)
    assert [reply.content for reply in turns.kept] == ["a"]


async def test_a_models_name_is_kept_as_the_database_takes_it() -> None:
    """Whatever a backend calls its model, the reply is kept."""
    relayed, _, turns = passing([line("a", model="m\0" + "x" * 600), line("", done=True)])
    assert [chunk async for chunk in relayed]
    [reply] = turns.kept
    assert "\0" not in reply.model
    assert len(reply.model) <= 512


async def test_no_more_replies_wait_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is lost, and counted."""
    monkeypatch.setattr(patient_writes, "_MOST_WAITING", 0)
    kept = KeptReplies(FakeTurns())  # type: ignore[arg-type]
    assert await kept.keep(TURN, Message("r" * 32, 2, "assistant")) is None
    assert kept.lost == 1


class FakeClient:
    """Takes pieces at once, as long as it is there."""

    def __init__(self, *, there: bool = True) -> None:
        self.there = there
        self.got: list[bytes] = []

    def may_send(self) -> bool:
        """Whether it is there."""
        return self.there

    def send(self, piece: bytes) -> bool:
        """Take one."""
        self.got.append(piece)
        return True


def test_what_goes_straight_is_kept_and_the_last_object_is_held() -> None:
    """It is to say where the reply is kept; its bytes count when it is sent."""
    record, client = RequestRecord(id="x", method="POST", bytes_out=1000), FakeClient()
    passed = Passing(record)
    straight = passed.through(client)
    last = line("", done=True)
    assert [straight.send(line("a")), straight.send(line("b")), straight.send(last)] == [True, True, False]
    assert (client.got, passed.held, record.bytes_out) == ([line("a"), line("b")], last, 1000 - len(last))
    assert not straight.may_send()
    assert passed.released() == last
    assert straight.may_send()
    passed.text.read()
    assert passed.text.content == "ab"


def test_what_a_client_that_left_was_not_sent_is_not_kept() -> None:
    """The generation goes the ordinary way then, in which its leaving is met; where it has come to its end, all is."""
    passed = Passing(RequestRecord(id="x", method="POST"))
    straight = passed.through(client := FakeClient(there=False))
    assert not straight.send(line("a"))
    passed.text.read()
    assert (client.got, passed.text.content) == ([], "")
    assert passed.holds(last := line("", done=True))
    assert passed.ended() == last
    passed.text.read()
    assert (client.got, passed.text.content, passed.held) == ([], "a", b"")
