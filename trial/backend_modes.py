"""How the fake backend answers one generation: well, or as a hostile server would."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

TOKENS = 5
CREATED = "2026-01-01T00:00:00.000000000Z"
NDJSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
FIGURES = {"total_duration": 1000, "prompt_eval_count": 3, "eval_count": TOKENS, "eval_duration": 1000}
PIECE = b"a" * 16384


@dataclass
class Reply:
    """One answer to write: where to, in which format, and how much was written."""

    writer: asyncio.StreamWriter
    chats: bool
    streams: bool
    rng: random.Random
    sent: int = 0

    async def write(self, data: bytes) -> None:
        """Write, as fast as the other side reads."""
        self.writer.write(data)
        self.sent += len(data)
        await self.writer.drain()
        await asyncio.sleep(0)

    def line(self, text: str, **more: Any) -> bytes:
        """Return one object of a stream, with its newline."""
        said = {"message": {"role": "assistant", "content": text}} if self.chats else {"response": text}
        return (
            json.dumps({"model": "trial", "created_at": CREATED, **said, "done": bool(more), **more}).encode() + b"\n"
        )

    def last(self, text: str = "") -> bytes:
        """Return the last object."""
        return self.line(text, done_reason="stop", **FIGURES)

    def lines(self) -> list[bytes]:
        """Return the whole answer as the objects of a stream."""
        return [*(self.line(f" word{number}") for number in range(TOKENS)), self.last()]

    def bytes(self) -> bytes:
        """Return the whole answer, head included."""
        if self.streams:
            return NDJSON_HEAD + b"".join(map(chunk, self.lines())) + b"0\r\n\r\n"
        body = self.last(" word" * TOKENS)
        return WHOLE_HEAD % len(body) + body


def chunk(data: bytes) -> bytes:
    """Return bytes as one HTTP chunk."""
    return b"%x\r\n" % len(data) + data + b"\r\n"


async def well(reply: Reply) -> bool:
    """Answer as one hopes for, and keep the connection."""
    await reply.write(reply.bytes())
    return True


async def endless_line(reply: Reply) -> bool:
    """Begin a first line that has no end."""
    await reply.write(NDJSON_HEAD)
    while True:
        await reply.write(chunk(PIECE))


async def endless_informational(reply: Reply) -> bool:
    """Promise an answer again and again."""
    while True:
        await reply.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 50)


async def endless_extension(reply: Reply) -> bool:
    """Begin a chunk whose extension has no end."""
    await reply.write(NDJSON_HEAD + b"5;x=")
    while True:
        await reply.write(PIECE)


async def endless_header(reply: Reply) -> bool:
    """Begin a header whose value has no end."""
    await reply.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    while True:
        await reply.write(PIECE)


async def endless_headers(reply: Reply) -> bool:
    """Send headers without end."""
    await reply.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        await reply.write(b"X-Endless: a\r\n" * 500)


async def several_lines(reply: Reply) -> bool:
    """Answer with a stream's lines where one object was asked for."""
    body = b"".join(reply.lines())
    await reply.write(WHOLE_HEAD % len(body) + body)
    return True


async def closes(reply: Reply) -> bool:
    """Close at a random point of a good answer."""
    answer = reply.bytes()
    await reply.write(answer[: reply.rng.randrange(len(answer))])
    return False


async def flood(reply: Reply) -> bool:
    """Stream good lines without end, as fast as they are taken."""
    await reply.write(NDJSON_HEAD)
    piece = chunk(reply.line(" " + "word" * 40)) * 40
    while True:
        await reply.write(piece)


MODES: dict[str, Callable[[Reply], Awaitable[bool]]] = {
    "trial": well,
    "endless-line": endless_line,
    "endless-informational": endless_informational,
    "endless-extension": endless_extension,
    "endless-header": endless_header,
    "endless-headers": endless_headers,
    "several-lines": several_lines,
    "closes": closes,
    "flood": flood,
}
