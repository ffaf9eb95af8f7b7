"""What of a request reaches a backend, and what of its answer the client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.raw_requests import ask, written

BODIES = {
    "/api/chat": {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}], "stream": False},
    "/v1/chat/completions": {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/messages": {"model": "llama3", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
    "/api/show": {"model": "llama3"},
}
STAYS = {
    "Authorization": f"Bearer {ORDINARY_KEY}",
    "X-API-Key": ORDINARY_KEY,
    "api-key": "x",
    "Cookie": "session=x",
    "Origin": "http://localhost:3000",
    "Referer": "http://localhost:3000/page",
    "Sec-Fetch-Mode": "cors",
    "sec-ch-ua": "x",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/x",
    "Forwarded": "for=203.0.113.7",
    "Via": "1.1 proxy",
    "X-Real-IP": "203.0.113.7",
    "X-Priority": "batch",
    "X-Progress": "1",
    "X-Cache": "keep",
    "X-CSRF-Token": "of-a-session-of-the-console",
    "X-End-User": "alice",
    "X-OpenWebUI-User-Id": "8",
    "X-OpenWebUI-User-Email": "alice@example.org",
    "x-openwebui-user-name": "Alice",
    "X-OpenWebUI-User-Role": "user",
    "X-Envoy-Original-Path": "/k/x/api/chat",
    "CF-Connecting-IP": "203.0.113.7",
    "Access-Control-Request-Method": "POST",
    "Accept-Encoding": "gzip, br",
    "Expect": "100-continue",
    "TE": "trailers",
    "Trailer": "X-Sum",
    "Upgrade": "h2c",
    "Keep-Alive": "timeout=5",
    "Proxy-Connection": "keep-alive",
    "Proxy-Authorization": "Basic eDp4",
    "X-Of-This-Hop": "x",
    "X-Of-This-Hop-Too": "x",
}
GOES = {
    "User-Agent": "ollama-python/0.6.3 (x86_64 linux) Python/3.11.7",
    "Accept": "application/x-ndjson",
    "Content-Type": "application/json; charset=utf-8",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "tools-2024-04-04",
    "OpenAI-Beta": "assistants=v2",
    "x-stainless-lang": "python",
    "X-OpenWebUI-Chat-Id": "7",
    "X-Custom": "a value, another",
    "X-Request-ID": "the-clients-own",
}
HOP = "close, X-Of-This-Hop, x-of-this-hop-TOO"


@pytest.mark.parametrize("path", BODIES)
async def test_what_names_the_client_stays_here(service: Service, fake: FakeOllama, path: str) -> None:
    """Credentials, cookies, origin, forwarding and hop-by-hop headers stop here; everything else goes on as it came."""
    body = json.dumps(BODIES[path]).encode()
    sent = [f"{name}: {value}" for name, value in (STAYS | GOES).items() if name != "X-API-Key"]
    request = written("POST", path, "Host: localhost:8000", f"Connection: {HOP}", *sent, body=body)
    assert (await ask(service, request.replace(b"Connection: close\r\n", b"", 1))).status == 200
    (asked,) = fake.requests
    assert asked.header("host") == urlsplit(fake.url).netloc
    arrived = {name for name, _ in asked.headers}
    assert arrived.isdisjoint(name.lower() for name in STAYS if name not in {"Accept-Encoding", "Keep-Alive"})
    assert asked.header("accept-encoding") in {None, "identity"}
    assert {name: asked.header(name) for name in GOES} == GOES
    assert ORDINARY_KEY not in str(asked.headers)


async def test_repeated_headers_stay_repeated(service: Service, fake: FakeOllama) -> None:
    """Of two headers of one name both values arrive, in order (RFC 9110 lets them be joined)."""
    request = written("POST", "/api/show", "X-Two: a", "X-Other: b", "X-Two: c", body=b'{"model":"llama3"}')
    assert (await ask(service, request)).status == 200
    assert ", ".join(value for name, value in fake.requests[0].headers if name == "x-two") == "a, c"


@pytest.mark.parametrize("behind", ["", "\n", " \r\n\t "])
@pytest.mark.parametrize("path", BODIES)
async def test_json_goes_as_one_body(service: Service, fake: FakeOllama, path: str, behind: str) -> None:
    """Also what came in chunks has its length, and nothing behind the value that Go would leave unread."""
    body = json.dumps(BODIES[path], indent=1).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]
        yield behind.encode()

    assert (await service.client.post(path, content=pieces())).status_code == 200
    (asked,) = fake.requests
    assert asked.body == body
    assert (asked.header("content-length"), asked.header("transfer-encoding")) == (str(len(body)), None)


async def test_a_body_without_a_type_is_json(service: Service, fake: FakeOllama) -> None:
    """Where the client names no type a backend is told JSON."""
    answer = await service.client.post("/api/show", content=b'{"model":"llama3"}')
    assert (answer.status_code, fake.requests[0].header("content-type")) == (200, "application/json")


async def test_the_host_header_is_a_setting(serve: ServeFactory, fake: FakeOllama) -> None:
    """OLLAMA_HOST_HEADER is what every request to that backend carries, whatever the client's `Host` says."""
    async with serve(fake.url, ollama_host_header="localhost:11434") as service:
        for method, path, body in (("POST", "/api/show", b'{"model":"llama3"}'), ("GET", "/api/tags", b"")):
            request = written(method, path, "Host: gateway.example", body=body)
            assert (await ask(service, request)).status == 200
        assert (await service.client.post("/api/llm/generate", json={"prompt": "Hi"})).status_code == 200
        assert (await service.stranger.get("/health/ready")).status_code == 200
    assert len(fake.requests) >= 4
    assert {asked.header("host") for asked in fake.requests} == {"localhost:11434"}


async def test_each_backend_has_its_own_host_header(serve: ServeFactory, fake: FakeOllama) -> None:
    """Several hosts are for several backends, in the order of both."""
    async with (
        FakeOllama() as second,
        serve(fake.url, second.url, ollama_host_header="one.internal,two.internal") as service,
    ):
        assert (await service.client.get("/api/tags")).status_code == 200
        assert {asked.header("host") for asked in fake.requests} == {"one.internal"}
        assert {asked.header("host") for asked in second.requests} == {"two.internal"}


NOT_FOR_THE_CLIENT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Credentials": "true",
    "Set-Cookie": "session=x",
    "Server": "llama.cpp",
    "Via": "1.1 tunnel",
    "X-Backend": "inside",
    "X-Route-Reason": "only",
    "Strict-Transport-Security": "max-age=1",
    "X-Request-ID": "the-backends",
    "WWW-Authenticate": "Basic",
    "Keep-Alive": "timeout=5",
    "X-Of-This-Hop": "x",
}
FOR_THE_CLIENT = {"X-Token-Count": "7", "X-Custom": "a value"}


@asynccontextmanager
async def answering(status: str, content_type: str, body: bytes) -> AsyncIterator[str]:
    """A backend that says the same to everybody, and much about itself."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (NOT_FOR_THE_CLIENT | FOR_THE_CLIENT).items()]
    answer = "\r\n".join([*lines, "Connection: close, X-Of-This-Hop", "", ""]).encode() + body

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"content-length: " in head.lower():
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "429 Too Many Requests", "500 Internal Server Error"])
@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/api/chat", "application/x-ndjson", b'{"done":true}\n'),
        ("/v1/chat/completions", "text/event-stream", b"data: [DONE]\n\n"),
        ("/v1/messages", "application/json", b'{"id":"x"}'),
        ("/api/show", "application/json; charset=utf-8", b'{"details":{}}'),
    ],
)
async def test_what_a_backend_says_of_itself_stays_here(
    serve: ServeFactory, path: str, content_type: str, body: bytes, status: str
) -> None:
    """CORS, cookies, server and hop-by-hop headers of a backend stop here; status, body and other headers do not."""
    async with answering(status, content_type, body) as url, serve(url) as service:
        headers = {"Origin": "http://localhost:3000", "X-Request-ID": "mine"}
        answer = await service.client.post(path, json=BODIES[path], headers=headers)
    assert (answer.status_code, answer.content) == (int(status[:3]), body)
    assert answer.headers["content-type"] == content_type
    assert {name: answer.headers.get(name) for name in FOR_THE_CLIENT} == FOR_THE_CLIENT
    ours = {"access-control-allow-origin": "http://localhost:3000", "x-request-id": "mine"}
    told = {name.lower(): answer.headers.get_list(name) for name in NOT_FOR_THE_CLIENT}
    assert told == {name: [ours[name]] if name in ours else [] for name in told}
    streamed = status == "200 OK" and content_type in {"application/x-ndjson", "text/event-stream"}
    assert (answer.headers.get("x-accel-buffering") == "no") is streamed


@pytest.mark.parametrize("key", [ORDINARY_KEY, ADMIN_KEY])
async def test_a_backends_credentials_are_its_own(serve: ServeFactory, fake: FakeOllama, key: str) -> None:
    """An address with a password is asked with that, never with the client's key."""
    async with serve(fake.url.replace("http://", "http://user:password@")) as service:
        headers = {"Authorization": f"Bearer {key}"}
        assert (await service.stranger.post("/api/show", json=BODIES["/api/show"], headers=headers)).status_code == 200
    assert fake.requests[0].header("authorization") == "Basic dXNlcjpwYXNzd29yZA=="
