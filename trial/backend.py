"""A fake Ollama that can be hostile: `python -m trial.backend --seed N`; it says its port first.

The model's name says how it answers: `trial` as one hopes for, the others as `trial.backend_modes` has it.
`/trial/state` tells how many requests came for each, how many are open, and how many bytes were sent.
"""

import argparse
import asyncio
import json
import random
import re
from collections import Counter
from contextlib import suppress
from typing import Any

from bench.machine import raise_open_files
from trial.backend_modes import MODES, Reply, well
from trial.helper import until_left_alone

MODEL = re.compile(rb'"model": ?"([^"]*)"')
STREAM = re.compile(rb'"stream": ?(true|false)')
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
FIXED: dict[str, Any] = {
    "/api/version": {"version": "0.9.3"},
    "/api/tags": {"models": [{"name": "trial:latest", "model": "trial:latest", "size": 1, "digest": "0" * 64}]},
    "/api/ps": {"models": []},
    "/": "Ollama is running",
}
GENERATING = ("/api/generate", "/api/chat")
LONGEST = 60.0


class Backend:
    """All connections of one backend."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.came: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            while await self._answered(reader, writer):
                pass
        writer.transport.abort()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await _body(reader, head)
        path = head.split(b" ", 2)[1].decode("latin-1")
        if path not in GENERATING:
            writer.write(self._fixed(path))
            return True
        found = MODEL.search(body)
        asked = STREAM.search(body)
        reply = Reply(
            writer, path.endswith("chat"), not asked or asked[1] == b"true", random.Random(self._rng.random())
        )
        return await self._generate(found[1].decode() if found else "trial", reply)

    async def _generate(self, model: str, reply: Reply) -> bool:
        self.came[model] += 1
        self.open[model] += 1
        try:
            async with asyncio.timeout(LONGEST):
                return await MODES.get(model, well)(reply)
        finally:
            self.open[model] -= 1
            self.sent[model] += reply.sent

    def _fixed(self, path: str) -> bytes:
        state = {"came": self.came, "open": self.open, "sent": self.sent}
        known = path in FIXED or path == "/trial/state"
        content = json.dumps(FIXED.get(path, state if known else {"error": "not found"})).encode()
        status = b"200 OK" if known else b"404 Not Found"
        head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        return head % (status, len(content)) + content


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if length := LENGTH.search(head):
        return await reader.readexactly(int(length[1]))
    pieces = []
    while CHUNKED.search(head):
        size = int((await reader.readline()).split(b";")[0], 16)
        pieces.append(await reader.readexactly(size))
        await reader.readline()
        if not size:
            break
    return b"".join(pieces)


async def serve(seed: int) -> None:
    """Serve until nobody holds the standard input."""
    backend = Backend(seed)
    server = await asyncio.start_server(backend.connected, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(until_left_alone)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    raise_open_files()
    asyncio.run(serve(parser.parse_args().seed))


if __name__ == "__main__":
    main()
