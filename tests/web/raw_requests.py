"""Requests written byte for byte, and what an ordinary key may make of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from mlops_backend.middleware.access import TABLE, Access
from tests.fakes.ollama import FakeOllama
from tests.service import ORDINARY_KEY, Service

BODY = json.dumps({"model": "llama3", "name": "llama3", "prompt": "Hi", "messages": [], "stream": False}).encode()
FOR_ORDINARY = {Access.INFERENCE, Access.MODELS_READ}
MAY_BE_ASKED = {
    (method, route)
    for route, methods in TABLE.items()
    for method, access in methods.items()
    if access in FOR_ORDINARY and "<" not in route and not route.startswith("/api/llm/")
}
MODEL = "/v1/models/"


class Answer(NamedTuple):
    """What came back; a status of 0 when the connection was just closed."""

    status: int
    head: bytes
    body: bytes


async def ask(service: Service, request: bytes, seconds: float = 20) -> Answer:
    """Send bytes, and read until the service closes or says nothing more."""
    parts = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    received = b""
    try:
        writer.write(request)
        async with asyncio.timeout(seconds):
            while data := await reader.read(65536):
                received += data
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
    head, _, body = received.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100 "):
        head, _, body = body.partition(b"\r\n\r\n")
    return Answer(int(head.split(b" ", 2)[1]) if head else 0, head, body)


def written(method: str, target: str, *headers: str, body: bytes = BODY, key: str = ORDINARY_KEY) -> bytes:
    """A request whose target is written just so, and whose connection is closed by the answer."""
    named = any(header.lower().startswith("host") for header in headers)
    own = [f"X-API-Key: {key}", f"Content-Length: {len(body)}", "Connection: close"]
    lines = [f"{method} {target} HTTP/1.1", *([] if named else ["Host: localhost"]), *own, *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def assert_only_allowed(fake: FakeOllama) -> None:
    """Whatever the fake was asked stands in the table, as it stands there, and is for an ordinary key."""
    for asked in fake.requests:
        assert asked.query == ""
        if asked.path.startswith(MODEL):
            model = unquote(asked.path.removeprefix(MODEL))
            assert asked.method == "GET"
            assert model not in {"", ".", ".."}
            assert "/" not in model
            continue
        assert (asked.method, asked.path) in MAY_BE_ASKED
