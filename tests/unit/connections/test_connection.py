"""What one connection writes, and when."""

from __future__ import annotations

import asyncio
from typing import Any

from hypercorn.asyncio.worker_context import AsyncioSingleTask
from hypercorn.events import Closed, Event, RawData

from mlops_backend.connections import Connection

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
    made.writer, made.send_lock, made.idle_task = writer, asyncio.Lock(), AsyncioSingleTask()
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
