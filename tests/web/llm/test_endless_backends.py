"""Backends whose answer has no end, or is another than was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from tests.conftest import ServeFactory

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
LINE = b'{"model":"m","response":"word","done":false}\n'
LAST = b'{"model":"m","response":"","done":true}\n'
PIECE = b"a" * 8192
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "a first line": (HEAD, b"%x\r\n%b\r\n" % (len(PIECE), PIECE)),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 20),
    "a chunk's extension": (HEAD + b"5;x=", PIECE),
    "an extension behind a line": (HEAD + b"%x\r\n%b\r\n5;x=" % (len(LINE), LINE), PIECE),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", PIECE),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 500),
    "a whole answer": (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", PIECE * 16),
}


@asynccontextmanager
async def answering(first: bytes, then: bytes = b"") -> AsyncIterator[str]:
    """A backend that answers every request with `first`, and with `then` again and again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            while then:
                writer.write(then)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(("first", "then"), ENDLESS.values(), ids=ENDLESS)
async def test_what_has_no_end_is_ended(serve: ServeFactory, first: bytes, then: bytes) -> None:
    """Long before any clock runs out, as an error: with a status, or as the stream's last line."""
    async with answering(first, then) as url, serve(url) as service, asyncio.timeout(30):
        told = await service.client.post("/api/llm/stream", json={"model": "m", "prompt": "Hi"})
        assert told.status_code == 502 or b'"code":"backend_nonsense"' in told.content.splitlines()[-1]
        assert (service.admission.running, service.upstream.active) == (0, 0)


async def test_tokens_of_a_byte_are_an_answer(serve: ServeFactory) -> None:
    """A backend that frames every byte has more around its body than in it, and is heard to the end."""
    body = LINE * 3000 + LAST
    framed = HEAD + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    async with answering(framed) as url, serve(url) as service:
        told = await service.client.post("/api/llm/stream", json={"model": "m", "prompt": "Hi"})
        assert told.content == body


async def test_several_lines_are_no_whole_answer(serve: ServeFactory) -> None:
    """Where one object was asked for a stream is a fault of the backend's, and the record calls it so."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(LINE + LAST)
    async with answering(head + LINE + LAST) as url, serve(url) as service:
        with capture_logs() as logs:
            told = await service.client.post("/api/llm/generate", json={"model": "m", "prompt": "Hi"})
        assert told.status_code == 502
        (entry,) = [entry for entry in logs if entry["event"] == "request"]
        assert (entry["outcome"], entry["error"]) == ("error", "backend_nonsense")


@pytest.mark.parametrize(("told", "passed_on"), [("7", "7"), ("soon", None)])
async def test_when_to_come_again_is_passed_on(serve: ServeFactory, told: str, passed_on: str | None) -> None:
    """Seconds are, where a backend refuses because it has too much to do; a date or a word is not."""
    refused = (
        b"HTTP/1.1 429 Too Many\r\nRetry-After: %b\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    async with answering(refused % told.encode()) as url, serve(url) as service:
        answer = await service.client.post("/api/llm/generate", json={"model": "m", "prompt": "Hi"})
    assert (answer.status_code, answer.headers.get("retry-after")) == (429, passed_on)


async def test_a_whole_answer_that_tells_no_usage_is_estimated(serve: ServeFactory) -> None:
    """It is not free: the log and the ledger have a guess, and say so."""
    body = b'{"object":"chat.completion","choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    asked = {"model": "m", "messages": [{"role": "user", "content": "Say hello to everyone who is here."}]}
    async with answering(head + body) as url, serve(url) as service:
        with capture_logs() as logs:
            answer = await service.client.post("/v1/chat/completions", json=asked)
    (entry,) = [entry for entry in logs if entry["event"] == "request"]
    assert (answer.status_code, answer.content) == (200, body)
    assert entry["tokens_estimated"] is True
    assert entry["prompt_tokens"] > 0
