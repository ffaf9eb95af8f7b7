"""What one connection writes, and when."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from hypercorn.asyncio.worker_context import AsyncioSingleTask
from hypercorn.events import Closed, Event, RawData

from mlops_backend.connections import Connection
from mlops_backend.connections.outgoing import Outgoing
from mlops_backend.middleware.asgi import ClientLeft

HEAD = b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n"


class Writer:
    """A socket's writing side that remembers each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False
        self.transport = self
        self.left = 0
        self.drained = 0

    def get_write_buffer_size(self) -> int:
        """How much of it the kernel did not take."""
        return self.left

    def write(self, data: bytes) -> None:
        """Remember it."""
        self.writes.append(data)

    async def drain(self) -> None:
        """Take everything."""
        self.drained += 1

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def write_eof(self) -> None:
        """Nothing more will come."""

    def close(self) -> None:
        """Close."""
        self.closed = True

    async def wait_closed(self) -> None:
        """It is."""


class Protocol:
    """A protocol that remembers whether it was told of the end."""

    ended = False

    async def handle(self, event: Event) -> None:
        """Take an event."""
        self.ended = self.ended or isinstance(event, Closed)


def connection(writer: Writer) -> Connection:
    """A connection that only writes."""
    made: Any = Connection.__new__(Connection)
    made._left = ClientLeft()
    made.writer, made.idle_task, made._out = writer, AsyncioSingleTask(), Outgoing(writer)  # type: ignore[arg-type]
    made.protocol, made._answered = Protocol(), asyncio.Event()
    return made  # type: ignore[no-any-return]


async def test_a_head_leaves_with_its_body() -> None:
    """One write for both; what follows is written as it comes."""
    writer = Writer()
    sending = connection(writer)
    for data in (HEAD, b"ok", b"more"):
        await sending.protocol_send(RawData(data))
    assert writer.writes == [HEAD + b"ok", b"more"]
    await asyncio.sleep(0)
    assert writer.writes == [HEAD + b"ok", b"more"]


async def test_a_head_waits_for_nothing_else() -> None:
    """If no body comes in the same turn of the loop, it leaves alone."""
    writer = Writer()
    sending = connection(writer)
    await sending.protocol_send(RawData(HEAD))
    assert writer.writes == []
    await asyncio.sleep(0)
    assert writer.writes == [HEAD]
    await sending.protocol_send(RawData(b"ok"))
    assert writer.writes == [HEAD, b"ok"]


async def test_a_head_leaves_before_the_end() -> None:
    """An answer without a body is not lost when the connection is closed at once."""
    writer = Writer()
    sending = connection(writer)
    await sending.protocol_send(RawData(HEAD))
    await sending.protocol_send(Closed())
    assert (writer.writes, writer.closed) == ([HEAD], True)


async def test_two_heads_keep_their_order() -> None:
    """An interim answer comes before the final one."""
    writer = Writer()
    sending = connection(writer)
    interim = b"HTTP/1.1 100 \r\n\r\n"
    for data in (interim, HEAD, b"ok"):
        await sending.protocol_send(RawData(data))
    assert b"".join(writer.writes) == interim + HEAD + b"ok"


async def test_only_what_is_left_to_write_is_waited_for() -> None:
    """A client that takes everything at once costs no wait; one that does not holds its sender back."""
    writer = Writer()
    sending = connection(writer)
    await sending.protocol_send(RawData(b"one"))
    assert writer.drained == 0
    writer.left = 1
    await sending.protocol_send(RawData(b"two"))
    assert writer.drained == 1


async def test_nothing_is_written_to_a_client_that_has_left() -> None:
    """asyncio would write a line into the log for each such write; the protocol hears of the end instead."""
    writer = Writer()
    sending: Any = connection(writer)
    writer.closed = True
    await sending.protocol_send(RawData(b"one"))
    assert writer.writes == []
    assert sending.protocol.ended


CHUNKED = b"HTTP/1.1 200 \r\ncontent-type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("heads", "may"),
    [([CHUNKED], True), ([HEAD], False), ([b"HTTP/1.1 100 \r\n\r\n", CHUNKED], True), ([HEAD, CHUNKED], False)],
    ids=["chunks", "a length", "behind an interim answer", "a body that looks like a head"],
)
async def test_only_chunks_go_past_the_protocol(heads: list[bytes], *, may: bool) -> None:
    """The answer's own head decides, once it has left."""
    out = Outgoing(writer := Writer())  # type: ignore[arg-type]
    for data in heads:
        await out.send_framed(data)
        assert not out.may_send()
        await asyncio.sleep(0)
    assert out.may_send() is may
    if may:
        assert out.send(b"x" * 16)
        assert writer.writes[-1] == b"10\r\n" + b"x" * 16 + b"\r\n"
        writer.left = 1
        assert not out.send(b"y")
        assert not out.may_send()
    out.begin()
    assert not out.may_send()


async def test_a_client_that_has_left_is_sent_nothing() -> None:
    """Whoever sends on in the ordinary way comes to notice."""
    out = Outgoing(writer := Writer())  # type: ignore[arg-type]
    await out.send_framed(CHUNKED)
    await out.send_framed(b"1\r\na\r\n")
    writer.closed, before = True, list(writer.writes)
    assert not out.may_send()
    assert not out.send(b"b")
    assert writer.writes == before


def test_who_has_left_is_known_without_reading() -> None:
    """By the transport, which closes when it cannot write; a socket that the kernel tells nothing of is open."""
    writer = Writer()
    ours, theirs = socket.socketpair()
    writer.get_extra_info = lambda name: ours  # type: ignore[attr-defined]
    reading = connection(writer)
    assert not reading._has_left()
    writer.closed = True
    assert reading._has_left()
    ours.close()
    theirs.close()
