"""Many streams at once, read with as little work as possible: the other processes need the processor."""

import asyncio
import re
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

from bench.families import Family
from bench.wire import HOST, Address

END = b"0\r\n\r\n"
SHOWN = 200
CALL_TIME = 10.0
VARYING = re.compile(rb"[0-9a-f]{12,}|\d\d:\d\d:\d\d")  # ids and times, without which equal errors are equal


@dataclass
class Tally:
    """What all streams of one run have shown; times are nanoseconds of `time.monotonic_ns`."""

    first: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    tokens: int = 0
    completed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    recording: bool = False
    expected: int = 0
    answers: int = 0
    all_answered: asyncio.Event = field(default_factory=asyncio.Event)

    def answered(self) -> None:
        """Note that a stream has spoken or failed; the last one ends the wait of whoever waits for all."""
        self.answers += 1
        if self.answers == self.expected:
            self.all_answered.set()

    def first_token(self, waited: int) -> None:
        """Note a stream's first token."""
        self.first.append(waited)
        self.answered()

    def failed(self, error: str, said: bytes = b"") -> None:
        """Count an error."""
        self.errors[f"{error}: {VARYING.sub(b'~', said)!r}" if said else error] += 1

    def token(self, now: int, stamp: int) -> None:
        """Count one token, and keep its lateness while recording."""
        self.tokens += 1
        if self.recording:
            self.late.append(now - stamp)


class Stream(asyncio.Protocol):
    """One stream on a connection of its own; `over` is done when it has ended, however that was."""

    def __init__(self, request: bytes, family: Family, tally: Tally) -> None:
        self._request = request
        self._family = family
        self._tally = tally
        self._started = time.monotonic_ns()
        self._pending = b""
        self._accepted = False
        self._spoke = False
        self._done = False
        self._transport: asyncio.Transport | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note every whole line's stamp; keep the rest for the next read."""
        now = time.monotonic_ns()
        data = self._pending + data
        end = data.rfind(b"\n") + 1
        self._pending = data[end:]
        for stamp in self._family.stamp.findall(data, 0, end):
            if not self._spoke:
                self._spoke = True
                self._tally.first_token(now - self._started)
            self._tally.token(now, int(stamp))
        self._done = self._done or bool(self._family.stream_end.search(data))
        if data.endswith(END):
            self._end("" if self._done else "no done", data[-SHOWN:])
        elif not self._accepted:
            self._accepted = data.startswith(b"HTTP/1.1 200")
            if not self._accepted:
                self._end("refused", data[:SHOWN])

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that was closed before the stream's end."""
        self._end(f"closed early: {exc!r}")

    def _end(self, error: str, said: bytes = b"") -> None:
        if self.over.done():
            return
        if not self._spoke:
            self._tally.answered()
        if error:
            self._tally.failed(error, said)
        else:
            self._tally.completed += 1
        self.over.set_result(None)
        if self._transport:
            self._transport.close()


async def open_stream(address: Address, request: bytes, tally: Tally) -> None:
    """Run one stream to its end."""
    loop = asyncio.get_running_loop()
    stream = Stream(request, address.family, tally)
    try:
        await loop.create_connection(lambda: stream, HOST, address.port)
    except OSError as exc:
        tally.failed(f"no connection: {exc!r}")
        tally.answered()
        return
    await stream.over


def end_streams(address: Address) -> None:
    """Have the upstream end every stream at its next token."""
    with socket.create_connection((HOST, address.upstream), CALL_TIME) as connection:
        connection.sendall(b"POST /end HTTP/1.1\r\n\r\n")
        connection.recv(SHOWN)


async def finish(streams: list[asyncio.Task[None]], tally: Tally, timeout: float) -> None:
    """Wait for every stream; what has not ended in time is an error."""
    _, late = await asyncio.wait(streams, timeout=timeout)
    for task in late:
        tally.failed("never ended")
        task.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
