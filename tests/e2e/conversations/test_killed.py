"""What a SIGKILL costs a conversation: nothing that was acknowledged, and nothing is half there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx

from mlops_backend.services.other.database.database import Database
from tests.e2e.raw_client import RawClient
from tests.e2e.server_process import KEY, ServerProcess, serving_process
from tests.stored_conversations import CONVERSATIONS, EchoingOllama, contradictions, echo_of, heard

WRITERS: Final = 12
ACKNOWLEDGED: Final = 5 * WRITERS
TOKENS: Final = 3
QUESTION: Final = "wait for two or three"


@dataclass
class Told:
    """What was acknowledged before the end: messages by conversation, and the replies that were told to be stored."""

    messages: dict[str, set[str]] = field(default_factory=dict)
    replies: dict[str, str] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """How many messages."""
        return sum(map(len, self.messages.values()))


async def test_what_was_acknowledged_outlives_a_kill(database_url: str, tmp_path: Path) -> None:
    """In the middle of streams and of writes: every message whose headers had come is there, and can be replied to."""
    variables = {"DATABASE_URL": database_url, "LOG_LEVEL": "ERROR", "DRAIN_TIMEOUT": "0.2"}
    async with EchoingOllama() as fake:
        async with serving_process(tmp_path, fake.url, **variables) as process:
            told, held = await killed(process, fake)
            assert await process.ended() == -signal.SIGKILL
        fake.release()
        assert await faults(database_url) == []
        async with serving_process(tmp_path, fake.url, **variables) as process, process.client() as client:
            await check(client, told)
            await reply_again(client, held, told)
            await stop_in_the_middle(process, client, fake, held)
        assert await faults(database_url) == []


async def killed(process: ServerProcess, fake: EchoingOllama) -> tuple[Told, str]:
    """Keep writers busy, and kill in their middle; one more has a reply that pauses behind some tokens."""
    told = Told()
    async with process.client() as client:
        held = await begun(client, told)
        writers = [asyncio.create_task(write(client, told, number)) for number in range(WRITERS)]
        async with asyncio.timeout(30):
            while told.number < ACKNOWLEDGED:
                await asyncio.sleep(0.01)
        fake.hold()
        async with await RawClient.connect(process.url) as streaming:
            path = f"{CONVERSATIONS}/{held}/messages"
            await streaming.request("POST", path, {"content": QUESTION}, X_API_Key=KEY)
            fake.release(TOKENS)
            async with asyncio.timeout(30):
                head = (await streaming._reader.readuntil(b"\r\n\r\n")).decode().lower()
            assert head.startswith("http/1.1 200 ")
            told.messages[held].add(head.partition("x-message-id: ")[2].partition("\r\n")[0])
            os.kill(process.pid, signal.SIGKILL)
            await asyncio.gather(*writers)
    return told, held


async def begun(client: httpx.AsyncClient, told: Told) -> str:
    """A new conversation."""
    made = await client.post(CONVERSATIONS, json={"messages": [{"role": "user", "content": "first"}]})
    assert made.status_code == 201, made.text
    name = str(made.json()["id"])
    told.messages[name] = {message["id"] for message in made.json()["messages"]}
    return name


async def write(client: httpx.AsyncClient, told: Told, number: int) -> None:
    """Append and ask for as long as it goes."""
    dice = Random(number)
    # anyio 4.16 asks a socket of uvloop's for its peer when it is gone already, and httpx passes that on as it is.
    with suppress(httpx.TransportError, AttributeError):
        name = await begun(client, told)
        while True:
            if dice.random() < 0.5:
                said = [{"role": role, "content": "said"} for role in ("user", "assistant")]
                answer = await client.post(f"{CONVERSATIONS}/{name}/append", json={"messages": said})
                told.messages[name] |= {message["id"] for message in answer.json()["messages"]}
                continue
            body = {"content": f"asked {dice.random()}"}
            async with client.stream("POST", f"{CONVERSATIONS}/{name}/messages", json=body) as answer:
                assert answer.status_code == 200
                told.messages[name].add(answer.headers["X-Message-ID"])
                received = await answer.aread()
            if (place := heard(received).last.get("conversation", {})).get("stored"):
                told.messages[name].add(place["reply_id"])
                told.replies[place["reply_id"]] = heard(received).content


async def faults(url: str) -> list[str]:
    """See `contradictions`; with nobody else there."""
    database = Database(url)
    await database.open()
    try:
        return await contradictions(database)
    finally:
        await database.aclose()


async def history(client: httpx.AsyncClient, name: str) -> list[dict[str, Any]]:
    """Every message, replaced ones too."""
    answer = await client.get(f"{CONVERSATIONS}/{name}?replaced=true")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["messages"])


async def check(client: httpx.AsyncClient, told: Told) -> None:
    """All that was acknowledged is there, and each reply is whole."""
    assert told.replies
    for name, ids in told.messages.items():
        found = {message["id"]: message for message in await history(client, name)}
        assert set(found) >= ids
        for message_id in ids & set(told.replies):
            assert (found[message_id]["content"], found[message_id]["outcome"]) == (told.replies[message_id], "done")


async def reply_again(client: httpx.AsyncClient, held: str, told: Told) -> None:
    """The question whose reply was cut off by the kill has none; it gets one."""
    before = await history(client, held)
    assert [message["role"] for message in before] == ["user", "user"]
    assert {message["id"] for message in before} == told.messages[held]
    answer = await client.post(f"{CONVERSATIONS}/{held}/regenerate", json={})
    assert heard(answer.content).place["stored"] is True
    *_, reply = await history(client, held)
    assert reply["content"] == heard(answer.content).content == "".join(echo_of(QUESTION))


async def stop_in_the_middle(process: ServerProcess, client: httpx.AsyncClient, fake: EchoingOllama, held: str) -> None:
    """A stop is no kill: what had come of a reply is kept, and the last object says so."""
    fake.hold()
    fake.release(TOKENS)
    async with client.stream("POST", f"{CONVERSATIONS}/{held}/messages", json={"content": QUESTION}) as answer:
        lines = answer.aiter_lines()
        said = [json.loads(await anext(lines)) for _ in range(TOKENS)]
        process.signal(signal.SIGTERM)
        last = [json.loads(line) async for line in lines if line][-1]
    assert len(said) == TOKENS
    assert (last["code"], last["conversation"]["stored"]) == ("draining", True)
    assert await process.ended() == 0, process.report()
    assert process.errors == ""
