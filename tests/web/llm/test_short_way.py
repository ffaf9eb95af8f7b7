"""Pieces of a stream that go from the backend's connection to the client's in one turn of the loop."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from structlog.testing import capture_logs

from mlops_backend.services.llm.upstream import Tap
from mlops_backend.services.llm.upstream.tap import Take
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.fakes.openai_server import FakeOpenAI
from tests.service import ORDINARY_KEY, Service
from tests.web.dialects.chats_only import ChatsOnly

WORDS = tuple(f"word{n} " for n in range(40))
CHAT = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
PROMPT = {"model": "llama3", "prompt": "Hi", "stream": True}
LAST = b'{"model":"m","response":"","done":true,"done_reason":"stop","prompt_eval_count":1,"eval_count":1}\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHANGING = re.compile(r'"(created_at|created|id|[a-z_]*duration)":\s*("[^"]*"|\d+)')


def line(text: str) -> bytes:
    """A piece of an answer, as Ollama sends it."""
    return json.dumps({"model": "m", "response": text, "done": False}).encode() + b"\n"


def chunk(data: bytes) -> bytes:
    """The same, framed."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Counted:
    """How many pieces went the short way."""

    pieces = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Counts what taps hand on."""
    counted, run = Counted(), Tap.run

    async def running(tap: Tap, take: Take) -> None:
        def counting(piece: bytes) -> bool:
            counted.pieces += 1
            return take(piece)

        await run(tap, counting)

    monkeypatch.setattr(Tap, "run", running)
    return counted


@asynccontextmanager
async def scripted(*script: bytes | float | asyncio.Event) -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """A backend that answers a generation with bytes, and waits for so many seconds or for an event between."""
    connections: list[asyncio.StreamWriter] = []

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for part in script:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            elif isinstance(part, float):
                await asyncio.sleep(part)
            else:
                await part.wait()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                await answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections


async def streamed(service: Service, path: str, body: object, accept: str = "*/*") -> str:
    """A stream's text, without what differs from one time to the next."""
    answer = await service.client.post(path, json=body, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return _CHANGING.sub("", answer.text)


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that has asked for a stream and reads by hand."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=64 * 1024)
    body = json.dumps(PROMPT).encode()
    lines = ("POST /api/generate HTTP/1.1", "Host: x", f"X-API-Key: {ORDINARY_KEY}", f"Content-Length: {len(body)}")
    writer.write("\r\n".join((*lines, "", "")).encode() + body)
    try:
        yield reader, writer
    finally:
        writer.close()


async def next_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of a body; empty at its end."""
    size = int(await reader.readline(), 16)
    return (await reader.readexactly(size + 2))[:-2]


@pytest.mark.parametrize(
    ("path", "body", "accept"),
    [
        ("/api/chat", CHAT, "*/*"),
        ("/api/generate", PROMPT, "*/*"),
        ("/v1/chat/completions", CHAT, "*/*"),
        ("/v1/messages", {**CHAT, "max_tokens": 100}, "*/*"),
        ("/api/llm/stream", {"prompt": "Hi", "model": "llama3"}, "application/x-ndjson"),
        ("/api/llm/stream", {"prompt": "Hi", "model": "llama3"}, "text/event-stream"),
    ],
)
async def test_both_ways_give_the_same(
    serve: ServeFactory, fake: FakeOllama, counted: Counted, monkeypatch: pytest.MonkeyPatch, path: str, body: object,
    accept: str,
) -> None:  # fmt: skip
    """Nearly all pieces go the short way; a client cannot tell."""
    fake.words, fake.mode, fake.token_delay = WORDS, Mode.SLOW_TOKENS, 0.002
    async with serve(fake.url) as service:
        short = await streamed(service, path, body, accept)
        assert counted.pieces > 10
        monkeypatch.setattr(Tap, "open", lambda *_: None)
        counted.pieces = 0
        assert await streamed(service, path, body, accept) == short
        assert (counted.pieces, WORDS[-1].strip() in short) == (0, True)


@pytest.mark.parametrize("stop", [None, "word30"], ids=["to its end", "to a stop text"])
async def test_a_translated_stream_goes_it_too(
    serve: ServeFactory, counted: Counted, monkeypatch: pytest.MonkeyPatch, stop: str | None
) -> None:
    """It is translated on the way, and ends where the translation does."""
    asked = {**CHAT, "options": {"stop": [stop, *"ABCDEFGH"]}} if stop else CHAT
    deltas = [{"content": word} for word in WORDS]
    async with FakeOpenAI(deltas=deltas, pause=0.002) as server, serve(openai_backends=server.url) as service:
        short = await streamed(service, "/api/chat", asked)
        assert counted.pieces > 10
        monkeypatch.setattr(Tap, "open", lambda *_: None)
        assert await streamed(service, "/api/chat", asked) == short
        assert ("word31" in short, '"done_reason":"stop"' in short) == (stop is None, True)


@pytest.mark.parametrize("name", ["content", "reasoning_content"])
async def test_a_stream_that_is_translated_twice_goes_it_too(
    serve: ServeFactory, counted: Counted, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Anthropic's events of a server that has chats alone: no piece becomes a line on the way."""
    asked = {**CHAT, "max_tokens": 99}
    deltas = [*({name: word} for word in WORDS), {"content": "done"}]
    async with ChatsOnly(deltas=deltas, pause=0.002) as server, serve(openai_backends=server.url) as service:
        short = await streamed(service, "/v1/messages", asked)
        assert counted.pieces > 10
        monkeypatch.setattr(Tap, "open", lambda *_: None)
        assert await streamed(service, "/v1/messages", asked) == short
        assert (short.count("_delta\n"), "message_stop" in short) == (len(deltas) + 1, True)


async def test_each_piece_goes_by_itself(serve: ServeFactory, counted: Counted) -> None:
    """None waits for the next one."""
    *events, end = [asyncio.Event() for _ in range(6)]
    pieces = [part for n, event in enumerate(events) for part in (event, chunk(line(str(n))))]
    async with (
        scripted(chunk(line("first")), *pieces, end, chunk(LAST), b"0\r\n\r\n") as (url, _),
        serve(url) as service,
        connected(service) as (reader, _writer),
    ):
        await reader.readuntil(b"\r\n\r\n")
        assert await next_chunk(reader) == line("first")
        for n, event in enumerate(events):
            event.set()
            assert await asyncio.wait_for(next_chunk(reader), 5) == line(str(n))
        end.set()
        assert [await next_chunk(reader), await next_chunk(reader)] == [LAST, b""]
    assert counted.pieces >= 5


async def test_a_client_that_reads_late_gets_all_and_holds_its_backend_back(
    serve: ServeFactory, counted: Counted
) -> None:
    """What it does not take is not gathered here."""
    many = b"".join(chunk(line("x" * 1000)) for _ in range(1000))
    sent = [asyncio.Event() for _ in range(40)]
    parts = [part for event in sent for part in (many, _Setting(event))]
    async with (
        scripted(*parts, chunk(LAST), b"0\r\n\r\n") as (url, _),
        serve(url) as service,
        connected(service) as (reader, _writer),
    ):
        await asyncio.sleep(0.5)
        assert not sent[25].is_set()
        assert sent[0].is_set()
        await reader.readuntil(b"\r\n\r\n")
        body = b""
        pieces = []
        while body := await next_chunk(reader):
            pieces.append(body)
        assert b"".join(pieces) == line("x" * 1000) * 40_000 + LAST
    assert counted.pieces


async def test_a_client_that_leaves_frees_its_backend(serve: ServeFactory, counted: Counted) -> None:
    """Also while nothing is waited for but the next piece."""
    async with (
        scripted(chunk(line("a")), *(part for n in range(100) for part in (0.01, chunk(line(str(n))))), 60.0) as (
            url,
            backends,
        ),
        serve(url) as service,
    ):
        with capture_logs() as logs:
            async with connected(service) as (reader, _):
                await reader.readuntil(b'"3"')
            with suppress(ConnectionError):
                await asyncio.wait_for(backends[-1].wait_closed(), 5)
        (entry,) = [entry for entry in logs if entry["event"] == "request"]
        assert (entry["outcome"], service.admission.running) == ("client_gone", 0)
    assert counted.pieces


async def test_the_idle_clock_counts_from_the_last_piece(serve: ServeFactory, counted: Counted) -> None:
    """A stream may last for longer than the clock, and a pause may not."""
    pieces = [part for n in range(6) for part in (0.15, chunk(line(str(n))))]
    async with scripted(chunk(line("a")), *pieces, 60.0) as (url, _), serve(url, idle_timeout=0.5) as service:
        answer = await service.client.post("/api/llm/stream", json={"model": "m", "prompt": "Hi"})
        *lines, last = [json.loads(each) for each in answer.text.splitlines()]
        assert ([each["response"] for each in lines], last["code"]) == (["a", *"012345"], "idle_timeout")
    assert counted.pieces


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (b"", "backend_vanished"),
        (b"0\r\n\r\n", "stream_incomplete"),
        (chunk(b"x" * (9 * 1024 * 1024)), "backend_nonsense"),
    ],
    ids=["cut", "without its last object", "an object without end"],
)
async def test_what_fails_on_it_is_told(serve: ServeFactory, counted: Counted, end: bytes, code: str) -> None:
    """As in the ordinary way: a frame of its own behind whole ones."""
    pieces = [part for n in range(6) for part in (0.01, chunk(line(str(n))))]
    async with scripted(chunk(line("a")), *pieces, end, _Closing()) as (url, _), serve(url) as service:
        answer = await service.client.post("/api/llm/stream", json={"model": "m", "prompt": "Hi"})
        *lines, last = [json.loads(each) for each in answer.text.splitlines()]
        assert ([each["response"] for each in lines], last["code"]) == (["a", *"012345"], code)
    assert counted.pieces


async def test_what_is_sent_is_counted(serve: ServeFactory, fake: FakeOllama, counted: Counted) -> None:
    """The log's `bytes_out` is what the client got of the body."""
    fake.words, fake.mode, fake.token_delay = WORDS, Mode.SLOW_TOKENS, 0.002
    async with serve(fake.url) as service:
        with capture_logs() as logs:
            answer = await service.client.post("/api/chat", json=CHAT)
        (entry,) = [entry for entry in logs if entry["event"] == "request"]
        assert entry["bytes_out"] == len(answer.content)
    assert counted.pieces


async def test_connections_are_kept_behind_it(serve: ServeFactory, counted: Counted) -> None:
    """The backend's is used again, and the client's too."""
    script = [part for n in range(6) for part in (0.005, chunk(line(str(n))))]
    async with (
        scripted(*script, chunk(LAST), b"0\r\n\r\n") as (url, backends),
        serve(url) as service,
        httpx.AsyncClient(base_url=service.url, headers={"X-API-Key": ORDINARY_KEY}, trust_env=False) as client,
    ):
        answers = [(await client.post("/api/generate", json=PROMPT)).content for _ in range(3)]
        assert answers == [b"".join(line(str(n)) for n in range(6)) + LAST] * 3
        assert len(backends) == 1
    assert counted.pieces


async def test_a_client_of_http_1_0_gets_a_body_without_chunks(
    serve: ServeFactory, fake: FakeOllama, counted: Counted
) -> None:
    """Which only the ordinary way can send."""
    fake.words = WORDS
    async with serve(fake.url) as service:
        host, port = service.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(PROMPT).encode()
        head = f"POST /api/generate HTTP/1.0\r\nX-API-Key: {ORDINARY_KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        _, _, got = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
        writer.close()
        assert "".join(json.loads(each)["response"] for each in got.splitlines()) == "".join(WORDS)
    assert counted.pieces == 0


class _Setting(asyncio.Event):
    """Sets another event when it is waited for."""

    def __init__(self, other: asyncio.Event) -> None:
        super().__init__()
        self._other = other

    async def wait(self) -> bool:  # type: ignore[override]
        """At once."""
        self._other.set()
        return True


class _Closing(asyncio.Event):
    """Ends the backend's connection when it is waited for."""

    async def wait(self) -> bool:  # type: ignore[override]
        """At once."""
        raise ConnectionResetError
