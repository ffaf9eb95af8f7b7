"""A fast fake Ollama: `python -m bench.upstream --port N`.

The prompt says how to answer (`bench.pace`): the first token comes at once, the others in the pace that it asks for;
`every=0` sends all at once. Each token's text is the time at which it was written (`time.monotonic_ns`), so that a
client on the same machine knows how late it is.
"""

import argparse
import asyncio
import gc
import json
import re
import signal
import time
from collections.abc import Callable

from bench.machine import raise_open_files
from bench.pace import Pace

BACKLOG = 4096
GOLDEN = 0.6180339887498949
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
LINE = b'{"model":"bench","created_at":"2026-01-01T00:00:00.000000000Z","response":" %019d","done":false}\n'
FIGURES = (
    b'"done":true,"done_reason":"stop","total_duration":1000000,"load_duration":1000,"prompt_eval_count":3,'
    b'"prompt_eval_duration":1000,"eval_count":%d,"eval_duration":1000000}'
)
START = b'{"model":"bench","created_at":"2026-01-01T00:00:00.000000000Z","response":"%s",'
CHUNK = b"%x\r\n" % len(LINE % 0) + LINE + b"\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON_HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
DETAILS = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"]}
TAGS = {
    "models": [
        {
            "name": "bench",
            "model": "bench",
            "modified_at": "2026-01-01T00:00:00Z",
            "size": 1,
            "digest": "0" * 64,
            "details": DETAILS | {"parameter_size": "1B", "quantization_level": "Q4_0"},
        }
    ]
}


def json_answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a whole reply."""
    return JSON_HEAD % (status, len(body)) + body


WHOLE = json_answer(START % (b" word" * 50) + FIGURES % 50)
FIXED = {
    b"/api/tags": json_answer(json.dumps(TAGS).encode()),
    b"/api/version": json_answer(b'{"version":"0.9.3"}'),
    b"/api/ps": json_answer(b'{"models":[]}'),
    b"/": json_answer(b'"Ollama is running"'),
}
NOT_FOUND = json_answer(b'{"error":"not found"}', b"404 Not Found")


class Upstream(asyncio.Protocol):
    """One connection; a new stream's phase is its own, as models do not speak in step."""

    streams = 0

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._phase = 0.0
        self._send: Callable[[bytes], None] = lambda data: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._send = transport.write

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop streaming to a client that has gone."""
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._buffer, 0, end)
            body_end = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < body_end:
                return
            head, body = self._buffer[:end], self._buffer[end + 4 : body_end]
            self._buffer = self._buffer[body_end:]
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path != b"/api/generate":
            self._send(FIXED.get(path, NOT_FOUND))
            return
        asked = json.loads(body)
        if asked.get("stream") is False:
            self._send(WHOLE)
            return
        self._stream(Pace.parse(asked["prompt"]))

    def _stream(self, pace: Pace) -> None:
        Upstream.streams += 1
        self._send(STREAM_HEAD + CHUNK % time.monotonic_ns())
        if pace.every:
            self._phase = Upstream.streams * GOLDEN % 1 * pace.every
            self._schedule(pace, self._loop.time() + self._phase, pace.tokens - 1)
        else:
            rest = [CHUNK % time.monotonic_ns() for _ in range(pace.tokens - 1)]
            self._send(b"".join(rest) + last_chunk(pace.tokens))

    def _schedule(self, pace: Pace, spoken: float, left: int) -> None:
        when = pace.after(spoken, self._phase)
        self._timer = self._loop.call_at(when, self._speak, pace, when, left)

    def _speak(self, pace: Pace, when: float, left: int) -> None:
        if left:
            self._send(CHUNK % time.monotonic_ns())
            self._schedule(pace, when, left - 1)
        else:
            self._send(last_chunk(pace.tokens))


def last_chunk(tokens: int) -> bytes:
    """Return the last line and the end of the body."""
    line = START % b"" + FIGURES % tokens + b"\n"
    return b"%x\r\n" % len(line) + line + b"\r\n0\r\n\r\n"


async def serve(port: int) -> None:
    """Serve until told to stop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=BACKLOG)
    gc.freeze()
    await stop.wait()
    server.close()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    raise_open_files()
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
