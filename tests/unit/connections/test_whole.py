"""Whole answers are framed as h11 frames them, and leave its state as h11 would."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.connections.tasks import Inbox
from mlops_backend.connections.whole import WholeAnswers

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
TYPE = (b"content-type", b"application/json")
ORDINARY = re.compile(rb"([!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
Headers = Sequence[tuple[bytes, bytes]]


def asked(request: bytes) -> WholeAnswers:
    """A connection that has read a request as far as it came."""
    connection = WholeAnswers(h11.SERVER)
    connection.receive_data(request)
    while type(connection.next_event()) in (h11.Request, h11.Data, h11.EndOfMessage):
        pass
    return connection


def by_h11(connection: h11.Connection, status: int, headers: Headers, body: bytes) -> bytes:
    """The same answer, event by event."""
    sent = connection.send(h11.Response(status_code=status, headers=list(headers)))
    if body:
        sent += connection.send(h11.Data(data=body))
    return sent + connection.send(h11.EndOfMessage())


def with_length(body: bytes, *more: tuple[bytes, bytes]) -> Headers:
    """Headers of a body."""
    return [TYPE, (b"content-length", b"%d" % len(body)), *more]


NAMES = st.text("abcxyz-09_.!", min_size=1, max_size=8).map(str.encode)
VALUES = st.text(st.characters(max_codepoint=255), max_size=12).map(lambda text: text.encode("latin-1"))


@given(
    st.sampled_from([200, 201, 206, 302, 404, 413, 429, 500, 503]),
    st.lists(st.tuples(NAMES.map(lambda name: b"x-" + name), VALUES), max_size=4),
    st.binary(max_size=30),
)
def test_a_whole_answer_is_what_h11_makes_of_it(status: int, more: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Byte by byte, on a connection that then takes its next request; what h11 refuses is left to it."""
    ours, theirs = asked(POST), asked(POST)
    headers = with_length(body, *more)
    framed = ours.frame(status, headers, body)
    try:
        expected = by_h11(theirs, status, headers, body)
    except h11.LocalProtocolError:
        assert framed is None
        return
    if framed is None:  # a blank around a value, which h11 takes off, or a control character, which it lets pass
        assert not all(ORDINARY.fullmatch(value) for _, value in more)
        return
    assert framed == expected
    for connection in (ours, theirs):
        assert connection.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}
        connection.start_next_cycle()
        connection.receive_data(GET)
        assert isinstance(connection.next_event(), h11.Request)
        assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert ours.frame(200, with_length(b"x"), b"x") == by_h11(theirs, 200, with_length(b"x"), b"x")


@given(
    st.sampled_from([200, 206, 404, 500]), st.lists(st.tuples(NAMES.map(lambda name: b"x-" + name), VALUES), max_size=3)
)
def test_a_streams_head_is_what_h11_makes_of_it(status: int, more: list[tuple[bytes, bytes]]) -> None:
    """Byte by byte; its chunks and its end go through h11, and the connection takes its next request."""
    ours, theirs = asked(POST), asked(POST)
    headers = [TYPE, *more]
    framed = ours.frame_head(status, headers)
    try:
        expected = theirs.send(h11.Response(status_code=status, headers=headers))
    except h11.LocalProtocolError:
        assert framed is None
        return
    if framed is None:
        assert not all(ORDINARY.fullmatch(value) for _, value in more)
        return
    assert framed == expected
    for event in (h11.Data(data=b"one"), h11.Data(data=b""), h11.EndOfMessage()):
        assert ours.send(event) == theirs.send(event)
    assert ours.states == theirs.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}
    ours.start_next_cycle()
    ours.receive_data(GET)
    assert isinstance(ours.next_event(), h11.Request)


@pytest.mark.parametrize(
    ("request_", "status", "headers", "body"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 200, with_length(b"ab"), b"ab"),
        (b"GET / HTTP/1.0\r\n\r\n", 200, with_length(b"ab"), b"ab"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, with_length(b"ab"), b"ab"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n", 200, with_length(b"ab"), b"ab"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 200, with_length(b"ab"), b"ab"),
        (POST[:-1], 200, with_length(b"ab"), b"ab"),
        (b"", 400, with_length(b"ab"), b"ab"),
        (POST, 103, with_length(b""), b""),
        (POST, 204, with_length(b""), b""),
        (POST, 304, with_length(b""), b""),
        (POST, 200, with_length(b"abc"), b"ab"),
        (POST, 200, [*with_length(b"ab"), *with_length(b"ab")], b"ab"),
        (POST, 200, with_length(b"ab", (b"transfer-encoding", b"chunked")), b"ab"),
        (POST, 200, with_length(b"ab", (b"connection", b"close")), b"ab"),
        (POST, 200, with_length(b"ab", (b"X-Upper", b"y")), b"ab"),
        (POST, 200, with_length(b"ab", (b"x", b"y\r\nset-cookie: z")), b"ab"),
        (POST, 200, with_length(b"ab", (b"x", b"y\n")), b"ab"),
        (POST, 200, with_length(b"ab", (b"x y", b"z")), b"ab"),
        (POST, 200, with_length(b"ab", (b"", b"z")), b"ab"),
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_h11(
    request_: bytes, status: int, headers: Headers, body: bytes
) -> None:
    """Nothing is framed, and nothing has happened: no other framing, no end of the connection, no header in another."""
    connection = asked(request_)
    before = dict(connection.states)
    assert connection.frame(status, headers, body) is None
    assert connection.frame_head(status, headers) is None
    assert connection.states == before


def test_a_body_without_its_length_is_left_to_h11() -> None:
    """It would be cut, or be one with what follows."""
    for headers in ([TYPE], with_length(b"abc"), [*with_length(b"ab"), *with_length(b"ab")]):
        assert asked(POST).frame(200, headers, b"ab") is None


async def test_an_inbox_is_a_queue() -> None:
    """In its order, with its bound, for those who wait at either end."""
    inbox = Inbox(2)
    await inbox.put(1)
    await inbox.put(2)
    late = asyncio.create_task(inbox.put(3))
    await asyncio.sleep(0)
    assert not late.done()
    assert [await inbox.get() for _ in range(3)] == [1, 2, 3]
    await late
    waiting = [asyncio.create_task(inbox.get()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    await inbox.put(4)
    await inbox.put(5)
    assert (await waiting[1], await inbox.get()) == (4, 5)
