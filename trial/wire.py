"""Requests as bytes, and their answers, over sockets of the attacker's own."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h11

HOST = "127.0.0.1"
OPENING = h11.Request(method="POST", target="/", headers=[("Host", HOST), ("Content-Length", "0")])


@dataclass
class Answer:
    """What came back; a status of 0 is a connection that ended, or was given up, without one."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    seconds: float = 0.0

    @property
    def is_json(self) -> bool:
        """Whether the body is one JSON value."""
        try:
            json.loads(self.body)
        except ValueError:
            return False
        return True

    @property
    def last(self) -> dict[str, Any]:
        """The last line of the body, if it is a JSON object."""
        lines = self.body.strip().splitlines()
        try:
            found = json.loads(lines[-1]) if lines else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Return a request's head."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(path: str, body: Any, headers: Mapping[str, str]) -> bytes:
    """Return a whole request with a JSON body; bytes are taken as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head("POST", path, {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}) + (
        content
    )


async def connect(port: int, source: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection, from a loopback address of one's choice."""
    return await asyncio.open_connection(HOST, port, local_addr=(source, 0) if source else None)


async def ask(
    port: int, request: bytes, seconds: float = 10.0, source: str = "", *, half_close: bool = False
) -> Answer:
    """Send a request and return what was answered within so many seconds."""
    answer = Answer()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    writer = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await connect(port, source)
            sending = asyncio.ensure_future(_send(writer, request, half_close))
            await read_answer(reader, answer)
            sending.cancel()
    except (OSError, TimeoutError, h11.RemoteProtocolError):
        pass
    finally:
        if writer is not None:
            writer.transport.abort()
    answer.seconds = loop.time() - begun
    return answer


async def _send(writer: asyncio.StreamWriter, request: bytes, half_close: bool) -> None:
    try:
        writer.write(request)
        await writer.drain()
        if half_close:
            writer.write_eof()
    except OSError:
        return


async def read_answer(reader: asyncio.StreamReader, answer: Answer) -> None:
    """Read an answer into its place, as far as it comes.

    Raises:
        h11.RemoteProtocolError: it is no HTTP, or was cut.
    """
    parser = h11.Connection(h11.CLIENT)
    parser.send(OPENING)
    parser.send(h11.EndOfMessage())
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await reader.read(1 << 16))
        elif isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.headers = {name.decode().lower(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            answer.body += event.data
        elif not isinstance(event, h11.InformationalResponse):
            answer.whole = isinstance(event, h11.EndOfMessage)
            return
