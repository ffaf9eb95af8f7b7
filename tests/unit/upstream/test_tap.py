"""Taps and the handler that they hang on, where no socket shows it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp.http_exceptions import HttpProcessingError
from structlog.testing import capture_logs

from mlops_backend.services.llm.upstream import tap as module
from mlops_backend.services.llm.upstream.overhead import BoundedHandler
from mlops_backend.services.llm.upstream.tap import Take, Tap

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class _Transport(asyncio.Transport):
    def close(self) -> None:
        pass

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def begun() -> tuple[BoundedHandler, aiohttp.StreamReader]:
    """A connection whose answer has begun, and its body."""
    handler = BoundedHandler(asyncio.get_running_loop())
    handler.connection_made(_Transport())
    handler.set_response_params()
    handler.data_received(HEAD)
    _, payload = await handler.read()
    return handler, payload


class _Answer:
    """As much of aiohttp's response as a tap looks at."""

    def __init__(self, handler: BoundedHandler, payload: aiohttp.StreamReader) -> None:
        self.connection: _Answer | None = self
        self.protocol = handler
        self.content = payload


class _Stream(httpx.AsyncByteStream):
    def __init__(self, answer: _Answer) -> None:
        self._aiohttp_response = answer


async def opened() -> tuple[Tap, BoundedHandler]:
    """A tap of an answer that has begun."""
    handler, payload = await begun()
    tap = Tap()
    tap.open(httpx.Response(200, stream=_Stream(_Answer(handler, payload))))
    return tap, handler


async def test_pieces_come_in_the_turn_that_brings_them() -> None:
    """No task is woken for them."""
    tap, handler = await opened()
    taken: list[bytes] = []

    def take(piece: bytes) -> bool:
        taken.append(piece)
        return piece != b"three"

    running = asyncio.ensure_future(tap.run(take))
    await asyncio.sleep(0)
    handler.data_received(b"3\r\none\r\n")
    assert taken == [b"one"]
    handler.data_received(b"3\r\ntwo\r\n5\r\nthree\r\n")
    assert taken == [b"one", b"twothree"]
    handler.data_received(b"5\r\nthree\r\n")
    handler.data_received(b"4\r\nfour\r\n")
    assert taken == [b"one", b"twothree", b"three"]
    await asyncio.wait_for(running, 20)
    assert handler.tap is None


async def test_a_piece_is_read_as_the_reader_itself_reads_it() -> None:
    """What the reader knows of itself afterwards is the same."""
    (tap, tapped), (handler, payload) = await opened(), await begun()
    taken: list[bytes] = []
    read: list[bytes] = []

    def take(piece: bytes) -> bool:
        taken.append(piece)
        return True

    running = asyncio.ensure_future(tap.run(take))
    await asyncio.sleep(0)
    for data in (b"3\r\none\r\n", b"3\r\ntw", b"o\r\n", b"1\r\na\r\n1\r\nb\r\n", b"9\r\n123456789\r\n0\r\n\r\n"):
        tapped.data_received(data)
        handler.data_received(data)
        read.append(payload.read_nowait())
        names = ("_buffer", "_buffer_offset", "_cursor", "_eof", "_http_chunk_splits", "_size", "total_bytes")
        assert [getattr(tap._payload, name) for name in names] == [getattr(payload, name) for name in names]
    await asyncio.wait_for(running, 20)
    assert taken == [piece for piece in read if piece]


async def test_what_came_before_comes_first() -> None:
    """Nothing is overtaken."""
    tap, handler = await opened()
    handler.data_received(b"3\r\none\r\n")
    taken: list[bytes] = []

    def take(piece: bytes) -> bool:
        taken.append(piece)
        return True

    running = asyncio.ensure_future(tap.run(take))
    await asyncio.sleep(0)
    handler.data_received(b"3\r\ntwo\r\n0\r\n\r\n")
    await asyncio.wait_for(running, 20)
    assert taken == [b"one", b"two"]


async def test_whoever_takes_may_fail() -> None:
    """The error comes out where the tap is awaited, and never in the connection."""
    tap, handler = await opened()

    def take(_: bytes) -> bool:
        raise ValueError("no")

    running = asyncio.ensure_future(tap.run(take))
    await asyncio.sleep(0)
    handler.data_received(b"3\r\none\r\n")
    with pytest.raises(ValueError, match="no"):
        await asyncio.wait_for(running, 20)
    assert handler.tap is None


async def test_an_error_keeps_nothing_of_whoever_takes() -> None:
    """What its closure knows, and be it a whole request, goes without a garbage collector."""

    class Known:
        pass

    def taking(known: Known) -> Take:
        def take(_: bytes) -> bool:
            raise ValueError(str(known))

        return take

    tap, handler = await opened()
    known = Known()
    held = weakref.ref(known)
    gc.disable()
    try:
        running = asyncio.ensure_future(tap.run(taking(known)))
        await asyncio.sleep(0)
        handler.data_received(b"3\r\none\r\n")
        with suppress(ValueError):
            await running
        del running, known
        await asyncio.sleep(0)
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("before", [False, True])
async def test_a_connection_may_fail_amid_a_look(*, before: bool) -> None:
    """A reader that gets room reads on, and may meet the connection's end: a second look amid the first is harmless."""
    tap, handler = await opened()
    taken: list[bytes] = []

    def take(piece: bytes) -> bool:
        taken.append(piece)
        handler.set_exception(HttpProcessingError(code=400, message="broken"))
        return True

    if before:
        handler.data_received(b"3\r\none\r\n")
    running = asyncio.ensure_future(tap.run(take))
    await asyncio.sleep(0)
    if not before:
        handler.data_received(b"3\r\none\r\n")
    await asyncio.wait_for(running, 20)
    assert (taken, handler.tap) == ([b"one"], None)


async def test_a_cancelled_one_lets_go() -> None:
    """The next piece waits for whoever reads on."""
    tap, handler = await opened()
    running = asyncio.ensure_future(tap.run(lambda _: True))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert handler.tap is None
    handler.data_received(b"3\r\none\r\n")


@pytest.mark.parametrize("tapped", [False, True])
async def test_a_body_whose_framing_breaks_is_over(*, tapped: bool) -> None:
    """Its reader does not wait for what cannot come, and neither does a tap."""
    tap, handler = await opened()
    payload: Any = tap._payload
    reading = asyncio.ensure_future(tap.run(lambda _: True) if tapped else payload.read(1))
    await asyncio.sleep(0)
    handler.set_exception(HttpProcessingError(code=400, message="broken"))
    if tapped:
        await asyncio.wait_for(reading, 20)
    else:
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(reading, 20)


async def test_a_body_that_has_come_needs_no_tap() -> None:
    """aiohttp has let its connection go by then, and nothing is said about it."""
    handler, payload = await begun()
    answer = _Answer(handler, payload)
    answer.connection = None
    module._tell.cache_clear()
    with capture_logs() as logs:
        tap = Tap()
        tap.open(httpx.Response(200, stream=_Stream(answer)))
    assert (tap.is_open, logs) == (False, [])


async def test_unknown_parts_give_no_tap_and_one_line() -> None:
    """Another HTTP client beneath, or a newer one: pieces are awaited."""
    module._tell.cache_clear()
    with capture_logs() as logs:
        for _ in range(3):
            tap = Tap()
            tap.open(httpx.Response(200, stream=httpx.ByteStream(b"x")))
            assert not tap.is_open
            await tap.run(lambda _: True)
    assert [entry["event"] for entry in logs] == ["streams go the long way"]
    module._tell.cache_clear()


async def test_a_reader_of_other_parts_gives_none_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer aiohttp's, where any of the names that are read here has gone."""
    handler, payload = await begun()
    monkeypatch.setattr(module, "_KNOWN", (*module._KNOWN, "_gone"))
    module._tell.cache_clear()
    tap = Tap()
    tap.open(httpx.Response(200, stream=_Stream(_Answer(handler, payload))))
    assert not tap.is_open
    module._tell.cache_clear()
