"""What the parent and its workers say to each other, over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from struct import pack
from typing import Any

import pytest
from structlog.testing import capture_logs

from mlops_backend.errors import DatabaseDown, LimitExceeded
from mlops_backend.principal import Rate
from mlops_backend.workers import channel as channels
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.frames import ANSWER, MAX_MESSAGE, MORE, PIECE, TELL, ChannelError, Overlong, packed
from mlops_backend.workers.handlers import Handlers
from mlops_backend.workers.hub import Hub


class Ends:
    """A parent with one worker; what each is told goes into its list."""

    def __init__(self) -> None:
        self.hub, self.of_worker = Hub(), Handlers()
        self.told: list[Any] = []
        self.hub.handlers.on("note", lambda channel, what: self.told.append(what))

    async def begin(self, **choices: Any) -> None:
        """Connect them."""
        here, there = socket.socketpair()
        self.at_parent = await self.hub.join(here, "worker 1")
        self.at_worker = await Channel.over(there, self.of_worker, **choices)

    async def aclose(self) -> None:
        """Close both."""
        await self.hub.aclose()
        await self.at_worker.aclose()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """A parent and a worker that are connected."""
    made = Ends()
    await made.begin()
    yield made
    async with asyncio.timeout(20):
        await made.aclose()


async def test_each_question_gets_its_own_answer(ends: Ends) -> None:
    """However many are asked at once, on both ways, and in whatever order they are answered."""

    async def later(channel: Channel, number: int) -> int:
        await asyncio.sleep(0.0001 * (number % 7))
        return number * 2

    ends.hub.handlers.on("later", later)
    ends.hub.handlers.on("now", lambda channel, number: number * 3)
    ends.of_worker.on("later", later)
    asked = [ends.at_worker.ask(("later", "now")[number % 2], number) for number in range(1000)]
    back = [ends.at_parent.ask("later", number) for number in range(1000)]
    answers = await asyncio.gather(*asked, *back)
    assert answers[:1000] == [number * (2, 3)[number % 2] for number in range(1000)]
    assert answers[1000:] == [number * 2 for number in range(1000)]


class Counted:
    """A transport that takes down how much is written at a time."""

    def __init__(self, transport: asyncio.Transport, written: list[int]) -> None:
        self._transport, self._written = transport, written

    def write(self, data: bytes) -> None:
        """As the transport's own."""
        self._written.append(len(data))
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_what_is_said_in_one_turn_leaves_in_one_write(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred questions cost one system call, and so do their answers."""
    ends.hub.handlers.on("same", lambda channel, what: what)
    written: list[int] = []
    for end in (ends.at_worker, ends.at_parent):
        monkeypatch.setattr(end, "_transport", Counted(end._transport, written))
    assert await asyncio.gather(*(ends.at_worker.ask("same", n) for n in range(100))) == list(range(100))
    assert len(written) == 2


async def test_an_error_is_raised_where_the_question_was_put(ends: Ends) -> None:
    """One of ours as it is, with its message and its fields; any other says that the other end failed."""

    def refuse(channel: Channel, what: str) -> None:
        raise LimitExceeded("Too much.", headers={"Retry-After": "7"})

    async def fail(channel: Channel, what: str) -> None:
        raise DatabaseDown("No ledger.") if what == "down" else ZeroDivisionError("by nothing")

    ends.hub.handlers.on("refuse", refuse)
    ends.hub.handlers.on("fail", fail)
    with pytest.raises(LimitExceeded, match=r"^Too much\.$") as refusal:
        await ends.at_worker.ask("refuse")
    assert refusal.value.headers == {"Retry-After": "7"}
    with pytest.raises(DatabaseDown, match="No ledger"):
        await ends.at_worker.ask("fail", "down")
    with capture_logs() as logs, pytest.raises(ChannelError, match="ZeroDivisionError: by nothing"):
        await ends.at_worker.ask("fail", "otherwise")
    with capture_logs(), pytest.raises(ChannelError, match="nobody"):
        await ends.at_worker.ask("nobody")
    assert [entry["sender"] for entry in logs] == ["worker 1"]
    assert not ends.at_worker.lost.is_set()


async def test_what_comes_with_a_question_is_of_its_kind(ends: Ends) -> None:
    """Values of ours arrive as themselves; what is none of them is refused and harms nobody else."""
    ends.hub.handlers.on("rate", lambda channel, rate: str(rate), Rate)
    assert await ends.at_worker.ask("rate", Rate(60, 60, 7)) == "60/minute burst 7"
    with capture_logs(), pytest.raises(ChannelError, match="ValidationError"):
        await ends.at_worker.ask("rate", {"count": "many"})
    assert await ends.at_worker.ask("rate", Rate(1, 60, 1)) == "1/minute"


async def test_all_workers_are_told_and_asked(ends: Ends) -> None:
    """All, or all but one; those that fail or do not answer in time are left out."""
    heard: list[str] = []
    ends.of_worker.on("news", lambda channel, what: heard.append(f"1 {what}"))
    ends.of_worker.on("name", lambda channel, what: 1)
    ends.hub.handlers.on("hello", lambda channel, what: None)
    second, third = Handlers(), Handlers()
    second.on("news", lambda channel, what: heard.append(f"2 {what}"))
    second.on("name", lambda channel, what: 2)
    third.on("name", lambda channel, what: asyncio.sleep(60))
    workers = [ends.at_worker]
    for handlers in (second, third):
        here, there = socket.socketpair()
        await ends.hub.join(here, "another")
        workers.append(await Channel.over(there, handlers))
    here, silent = socket.socketpair()
    await ends.hub.join(here, "one that starts")
    for worker in workers:
        await worker.ask("hello")
    with capture_logs() as logs:
        ends.hub.tell("news", "a")
        ends.hub.tell("news", "b", but=ends.at_parent)
        assert await ends.hub.ask("name", within=0.5) == [1, 2]
    assert heard == ["1 a", "2 a", "2 b"]
    assert len(logs) == 2  # the third has no news
    assert await ends.hub.ask("name", but=ends.at_parent, within=0.5) == [2]
    assert await Hub().ask("name") == []
    for worker in workers:
        await worker.aclose()
    later = Handlers()
    later.on("news", lambda channel, what: heard.append(f"4 {what}"))
    later.on("name", lambda channel, what: 4)
    worker = await Channel.over(silent, later)
    await worker.ask("hello")
    assert heard[3:] == ["4 a", "4 b"]
    await worker.aclose()


async def test_a_long_message_lets_short_ones_pass(ends: Ends) -> None:
    """It arrives whole, in pieces, and what is told meanwhile does not wait for its end."""
    long = os.urandom(PIECE * 40 + 7)
    order: list[Any] = []

    def size(channel: Channel, what: bytes) -> bytes:
        order.append(len(what))
        return what

    ends.hub.handlers.on("size", size)
    ends.hub.handlers.on("short", lambda channel, what: order.append(what))
    asked = [asyncio.create_task(ends.at_worker.ask("size", long[: -n or None])) for n in range(2)]
    await asyncio.sleep(0)
    for number in range(10):
        await ends.at_worker.ask("short", number)
    assert await asyncio.gather(*asked) == [long, long[:-1]]
    assert order == [*range(10), len(long), len(long) - 1]


async def test_a_message_has_a_longest(ends: Ends) -> None:
    """What is longer is refused where it is said, an answer too; the channel goes on."""
    ends.hub.handlers.on("much", lambda channel, size: bytes(size))
    with pytest.raises(Overlong):
        await ends.at_worker.ask("much", bytes(MAX_MESSAGE))
    with pytest.raises(ChannelError, match="of which 16777216 are sent at most"):
        await ends.at_worker.ask("much", MAX_MESSAGE)
    assert await ends.at_worker.ask("much", 3) == bytes(3)


@pytest.mark.parametrize(
    "nonsense",
    [
        pack("!IIB", PIECE + 1, 1, TELL),
        (pack("!IIB", 3, 1, ANSWER | MORE) + b"abc") * (MAX_MESSAGE // PIECE + 1),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["a long piece", "many pieces", "text"],
)
async def test_what_cannot_be_understood_ends_the_channel(ends: Ends, nonsense: bytes) -> None:
    """A length that no message has: what follows cannot be told apart."""
    with capture_logs() as logs:
        ends.at_worker._transport.write(nonsense)
        async with asyncio.timeout(20):
            await ends.at_parent.lost.wait()
    assert ends.at_parent.reason == "it says what cannot be understood"
    assert len(logs) == 1
    assert ends.hub.channels == ()


async def test_an_end_that_leaves_leaves_nobody_waiting(ends: Ends) -> None:
    """Who waits is told, who asks later too; what was being answered to it is given up, and the parent hears of it."""
    begun, given_up = asyncio.Event(), asyncio.Event()
    left: list[Channel] = []
    ends.hub.when_one_leaves(left.append)

    async def never(channel: Channel, what: None) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    ends.hub.handlers.on("never", never)
    ends.of_worker.on("never", never)
    here = asyncio.create_task(ends.at_worker.ask("never"))
    await begun.wait()
    there = asyncio.create_task(ends.at_parent.ask("never"))
    await asyncio.sleep(0)
    ends.at_worker.leave("the worker died")
    async with asyncio.timeout(20):
        results = await asyncio.gather(here, there, return_exceptions=True)
        await ends.at_parent.lost.wait()
        await given_up.wait()
    assert [str(result) for result in results] == [
        "The service's parent does not answer: the worker died.",
        "The service's worker 1 does not answer: it has closed.",
    ]
    with pytest.raises(ChannelError):
        await ends.at_worker.ask("never")
    ends.at_worker.tell("note")
    assert left == [ends.at_parent]
    ends.hub.tell("note")


async def test_an_end_that_hangs_is_left() -> None:
    """A question that nobody answers in time ends the channel; one whose asker has left counts as well."""
    ends = Ends()
    await ends.begin(patience=0.1)
    ends.hub.handlers.on("hang", lambda channel, what: asyncio.sleep(60))
    ends.hub.handlers.on("now", lambda channel, what: what)
    waiting = asyncio.create_task(ends.at_worker.ask("hang"))
    await asyncio.sleep(0)
    waiting.cancel()
    async with asyncio.timeout(20):
        while not ends.at_worker.lost.is_set():
            with suppress(ChannelError):
                await ends.at_worker.ask("now", 1)
            await asyncio.sleep(0.01)
    assert ends.at_worker.reason == "a question is without an answer for 0.1 s"
    await ends.hub.aclose()


async def test_whoever_stood_still_themselves_read_first() -> None:
    """An answer that could have come while the asker's own loop was held is not late."""
    ends = Ends()
    await ends.begin(patience=0.3)
    ends.hub.handlers.on("now", lambda channel, what: what)
    asked = ends.at_worker.asked("now", 1)
    time.sleep(0.35)  # noqa: ASYNC251 - which is what this is about
    assert await asked == 1
    await asyncio.sleep(0)
    assert not ends.at_worker.lost.is_set()
    await ends.aclose()


async def test_what_waits_is_bounded(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions beyond the bound are refused; an end that does not read what it is told is left."""
    monkeypatch.setattr(channels, "MOST_ASKED", 3)
    ends.hub.handlers.on("wait", lambda channel, what: asyncio.sleep(0.01))
    asked = [asyncio.create_task(ends.at_worker.ask("wait")) for _ in range(4)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 3 + [ChannelError]
    monkeypatch.setattr(channels, "MOST_WAITING", 1_000_000)
    ends.at_worker._transport.pause_reading()
    for _ in range(100):
        if ends.at_parent._transport.is_closing():
            break
        ends.at_parent.tell("news", bytes(30_000))
        await asyncio.sleep(0)
    await ends.at_parent.lost.wait()
    assert ends.at_parent.reason == "it does not read what it is told"


async def test_what_has_gone_does_not_wait(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long there is always a long message under way, no more waits than what has not been written."""
    lanes, pieces = 4, 16
    monkeypatch.setattr(channels, "MOST_WAITING", (lanes + 1) * (pieces + 1) * PIECE)
    ends.hub.handlers.on("long", lambda channel, what: len(what))

    async def lane(number: int) -> None:
        for _ in range(5 * number):
            await asyncio.sleep(0)
        for _ in range(6):
            assert await ends.at_worker.ask("long", bytes(pieces * PIECE)) == pieces * PIECE

    await asyncio.gather(*map(lane, range(lanes)))


async def test_closing_says_first_what_was_to_be_said(ends: Ends) -> None:
    """A word and a long message that were told just before the end arrive."""
    ends.at_worker.tell("note", "short")
    ends.at_worker.tell("note", bytes(PIECE * 3))
    await ends.at_worker.aclose()
    await ends.at_parent.lost.wait()
    assert ends.told == ["short", bytes(PIECE * 3)]


def test_a_message_is_one_value_of_msgpack() -> None:
    """Bytes stay bytes: a body travels as it is."""
    assert packed(("a", b"\xff")) == b"\x92\xa1a\xc4\x01\xff"
