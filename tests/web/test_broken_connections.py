"""Connections that break in every state: nothing of their bytes comes to the log, at the lowest level."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ORDINARY_KEY

# Two words that stand nowhere else. The key is one that nobody knows, but in the states that need a known one.
KEY = "marked-key-8f31c2"
PROMPT = "marked-prompt-57ac90"
BODY = json.dumps({"model": "llama3", "prompt": PROMPT}).encode()
HEAD = f"POST /api/llm/stream HTTP/1.1\r\nHost: x\r\nX-API-Key: {ORDINARY_KEY}\r\nX-Mark: {KEY}\r\n"
STRANGER = f"POST /api/llm/stream HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {len(BODY)}\r\n\r\n"
LENGTH = f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode()
CHUNKED = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()
STATES = {
    "in the request line": f"POST /api/llm/{KEY}".encode(),
    "in a header's name": f"{HEAD}{KEY}".encode(),
    "a header that is none": f"{HEAD}{KEY} {PROMPT}\r\n\r\n".encode(),
    "a header's odd bytes": HEAD.encode() + b"X: \xff\0" + KEY.encode() + b"\r\n\r\n",
    "a head too long": HEAD.encode() + b"X: " + KEY.encode() * 10_000,
    "an odd target": f"POST \xe9{KEY} HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"),
    "an odd host": f"GET / HTTP/1.1\r\nHost: {KEY}@[x\r\n\r\n".encode(),
    "an odd encoding": f"{HEAD}Transfer-Encoding: {KEY}\r\n\r\n".encode() + BODY,
    "an odd length": f"{HEAD}Content-Length: {KEY}\r\n\r\n".encode() + BODY,
    "in a body": LENGTH + BODY[:-5],
    "in a chunk": CHUNKED + b"%x\r\n" % len(BODY) + BODY[:-5],
    "a chunk that is none": CHUNKED + KEY.encode() + b"\r\n" + BODY,
    "a body that is no JSON": f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode() + PROMPT.encode().ljust(len(BODY)),
    "a body of another kind": LENGTH + json.dumps({"model": {PROMPT: 1}}).encode().ljust(len(BODY)),
    "another's key": STRANGER.encode() + BODY,
    "behind a request": LENGTH + BODY + PROMPT.encode() * 100,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + KEY.encode() + PROMPT.encode(),
    "HTTP/2 by upgrade": f"{HEAD}Upgrade: h2c\r\nHTTP2-Settings: {KEY}\r\n\r\n".encode(),
    "a websocket": f"GET /{KEY} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode(),
    "TLS": b"\x16\3\1\2\0\1\0\1\xfc\3\3" + KEY.encode(),
    "in an answer": LENGTH + BODY,
}


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_nothing_of_a_request_is_logged(
    capsys: pytest.CaptureFixture[str], serve: ServeFactory, log_format: str
) -> None:
    """However a connection breaks, by an end or by a reset, the log holds neither its key nor its prompt."""
    async with (
        FakeOllama(mode=Mode.HANG_MID_STREAM) as fake,
        serve(fake.url, log_level="DEBUG", log_format=log_format) as service,
    ):
        host, port = service.url.removeprefix("http://").split(":")
        for sent in STATES.values():
            for reset in (False, True):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(sent)
                with suppress(TimeoutError, ConnectionError):
                    await asyncio.wait_for(reader.read(1), 0.1)
                if reset:
                    writer.transport.abort()
                else:
                    writer.close()
        await asyncio.sleep(0.3)
        assert service.admission.running == 0
    shown = capsys.readouterr()
    assert shown.out.count("client_gone") >= 2, "it was logged at all"
    assert KEY not in shown.out + shown.err
    assert PROMPT not in shown.out + shown.err
