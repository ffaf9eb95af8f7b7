"""A fast fake Ollama, with the generating routes of every family: `python -m bench.upstream --port N`.

The prompt says how to answer (`bench.pace`): the first token comes at once, the others in the pace that it asks for;
`every=0` sends all at once. `/end` ends every stream at its next token. Each token's text is the time at which it was
written (`time.monotonic_ns`), so that a client on the same machine knows how late it is.
"""

import argparse
import asyncio
import gc
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from bench.families import CHATS, ROUTES, Family, prompt_of
from bench.frames import json_answer
from bench.machine import raise_open_files
from bench.pace import Pace
from bench.requests_in import RequestsIn

BACKLOG = 4096
GOLDEN = 0.6180339887498949
END = b"/end"
OF_CHATS = CHATS.encode()
ALONE = (b"/v1/chat/completions", b"/v1/models")
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
MODELS = {"object": "list", "data": [{"id": "bench", "object": "model", "created": 1767225600, "owned_by": "bench"}]}
FIXED = {
    b"/api/tags": json_answer(json.dumps(TAGS).encode()),
    b"/api/version": json_answer(b'{"version":"0.9.3"}'),
    b"/api/ps": json_answer(b'{"models":[]}'),
    b"/v1/models": json_answer(json.dumps(MODELS).encode()),
    b"/health": json_answer(b"{}"),
    END: json_answer(b"{}"),
    b"/": json_answer(b'"Ollama is running"'),
}
NOT_FOUND = json_answer(b'{"error":"not found"}', b"404 Not Found")


@dataclass(frozen=True)
class Script:
    """What one stream says, and when; its phase is its own, as models do not speak in step."""

    pace: Pace
    phase: float
    ends: int
    token: bytes
    closing: bytes


class Upstream(RequestsIn):
    """One connection, and the stream on it, if there is one; `ends` counts how often all streams were ended."""

    streams = 0
    ends = 0

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._send: Callable[[bytes], None] = lambda data: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._send = transport.write

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop streaming to a client that has gone."""
        if self._timer:
            self._timer.cancel()

    def _answer(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path.startswith(OF_CHATS):
            path = path.removeprefix(OF_CHATS)
            path = path if path in ALONE else b""
        route = ROUTES.get(path.decode("latin-1"))
        if not route:
            Upstream.ends += path == END
            self._send(FIXED.get(path, NOT_FOUND))
            return
        asked = json.loads(body)
        if asked.get("stream", route.streams_unasked):
            self._stream(route, asked)
        else:
            self._send(route.frames.whole)

    def _stream(self, route: Family, asked: dict[str, Any]) -> None:
        pace, frames = Pace.parse(prompt_of(asked)), route.frames
        usage = (asked.get("stream_options") or {}).get("include_usage", False)
        closing = frames.closing(pace.tokens, usage)
        Upstream.streams += 1
        self._send(frames.head + frames.token % time.monotonic_ns())
        if pace.every:
            script = Script(pace, Upstream.streams * GOLDEN % 1 * pace.every, Upstream.ends, frames.token, closing)
            self._schedule(script, self._loop.time() + script.phase, pace.tokens - 1)
        else:
            rest = [frames.token % time.monotonic_ns() for _ in range(pace.tokens - 1)]
            self._send(b"".join(rest) + closing)

    def _schedule(self, script: Script, spoken: float, left: int) -> None:
        when = script.pace.after(spoken, script.phase)
        self._timer = self._loop.call_at(when, self._speak, script, when, left)

    def _speak(self, script: Script, when: float, left: int) -> None:
        if left and script.ends == Upstream.ends:
            self._send(script.token % time.monotonic_ns())
            self._schedule(script, when, left - 1)
        else:
            self._send(script.closing)


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
