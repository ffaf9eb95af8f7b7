"""Requests that cannot be read: told so in our own shape, before anything else is made of them."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_backend.app import create_app
from mlops_backend.middleware.asgi import App, Receive, Scope, Send
from mlops_backend.middleware.request_context import RequestContext
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import Service, serving, settings_for
from tests.web.raw_requests import Answer, ask, written

TARGETS = (
    "?x",
    "?",
    "x",
    "*",
    "[",
    "http:",
    "http://localhost",
    "http://localhost?x",
    "http://[::1",
    "http://[::1/api/tags",
    "http://]/api/tags",
    "http://[x]/api/tags",
    "localhost:80",
)
HOSTS = (
    "..",
    ".a",
    "a..b",
    "a" * 64,
    f"a.{'b' * 64}.c:80",
    "a b",
    "a/b",
    "a?b",
    "a#b",
    "a@b",
    "a\\b",
    "[::1",
    "::1",
    "a:b",
    "a:80:80",
    "\xe9",
    "a\t\x80",
)
FINE = (
    "",
    "localhost",
    "localhost.",
    "my_service:8000",
    "xn--bcher-kva.example:80",
    "[::1]:8000",
    "127.0.0.1",
    "a" * 63,
)


def logged(printed: str) -> list[dict[str, Any]]:
    """The lines of finished requests."""
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "request"]


def assert_refused(answer: Answer, printed: str) -> None:
    """A 400 in our shape, with its id, and one log line that says the same; no stack trace."""
    told = json.loads(answer.body)
    assert (answer.status, told["code"]) == (400, "bad_request")
    assert f"x-request-id: {told['request_id']}".encode() in answer.head.lower()
    (line,) = logged(printed)
    assert (line["request_id"], line["status"], line["outcome"]) == (told["request_id"], 400, "refused")
    assert (line["error"], line["client"]) == ("bad_request", "127.0.0.1")
    assert "Traceback" not in printed


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("target", TARGETS)
async def test_a_target_without_a_path_is_refused(
    serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str], method: str, target: str
) -> None:
    """A request's target in which there is no path is a 400 to everybody, without a key as well."""
    async with serve(fake.url) as service:
        answer = await ask(service, written(method, target, "X-Request-ID: mine", body=b"", key=""))
    assert_refused(answer, capsys.readouterr().out)
    assert json.loads(answer.body)["request_id"] == "mine"


@pytest.mark.parametrize("host", HOSTS)
async def test_a_host_that_is_none_is_refused(
    serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    """So is a `Host` that no host can have for its name."""
    request = written("GET", "/health", "Host: HERE", body=b"").replace(b"HERE", host.encode("latin-1"))
    async with serve(fake.url) as service:
        answer = await ask(service, request)
    assert_refused(answer, capsys.readouterr().out)


@pytest.mark.parametrize("host", FINE)
async def test_a_host_may_have_any_name(service: Service, host: str) -> None:
    """Names of containers, addresses, an empty one and the longest are hosts."""
    assert (await ask(service, written("GET", "/health", f"Host: {host}", body=b""))).status == 200


@pytest.mark.parametrize(("path", "shape"), [("/v1/models", "openai"), ("/v1/messages", "anthropic")])
async def test_a_refusal_is_in_the_words_of_the_route(service: Service, path: str, shape: str) -> None:
    """Clients of OpenAI and Anthropic get it as they expect errors."""
    told = json.loads((await ask(service, written("GET", path, "Host: ..", body=b""))).body)
    assert (told.get("type") == "error", isinstance(told["error"]["message"], str)) == (shape == "anthropic", True)


async def test_a_key_that_is_none_does_no_harm(serve: ServeFactory, fake: FakeOllama) -> None:
    """What cannot be a key or an address, in the place of one, is refused like any other."""
    async with serve(fake.url, key_in_url=True) as service:
        for target in ("/k/%0a/api/tags", "/k/a%0d%0ab/", "/k/%00", "http://[::1/k/x/api/tags", "http:///k/%0a]x"):
            assert (await ask(service, written("GET", target, body=b"", key=""))).status == 401


PIECES = (
    *("?", "x", "/", "//", ".", "..", "%", "%00", "%ff", "%0a", "%2f", "[", "]", "::1", "[::1]", ":", "@", "#", ";"),
    *("http:", "http://", "HTTPS://", ":99999", ":-1", "*", "\\", "{", "xn--", "a" * 70, "%e2%84%80", "%ef%bc%8f"),
    *("/k/", "k/", "/api/tags", "/docs", "/health", "/docs/assets/", "/v1/models/"),
)
NAMES = st.lists(st.sampled_from([*PIECES, "_", "-", "\xff", " ", "\t", "\xad", "\xdf", "80", "a" * 63]), max_size=4)


@settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(target=st.lists(st.sampled_from(PIECES), min_size=1, max_size=5), host=st.one_of(st.just(["localhost"]), NAMES))
async def test_every_request_is_answered(service: Service, target: list[str], host: list[str]) -> None:
    """Whatever target and host are made of, the answer is one of ours, or the server's 400; it is never a 500."""
    head = f"GET {''.join(target)} HTTP/1.1\r\nHost: {''.join(host)}\r\nConnection: close\r\n\r\n"
    answer = await ask(service, head.encode("latin-1"))
    assert answer.status in {200, 302, 308, 400, 401, 404}
    assert answer.status == 400 or b"\r\nx-request-id: " in answer.head.lower()


@pytest.mark.parametrize("begun", [False, True])
async def test_what_escapes_is_an_error(capsys: pytest.CaptureFixture[str], begun: bool) -> None:
    """An exception that nobody handles is logged as the service's error, not as a client that left."""
    app = create_app(settings_for())
    whole: App = app.asgi_app  # type: ignore[assignment]

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("broken")

    async def handled(scope: Scope, receive: Receive, send: Send) -> None:
        context = RequestContext(broken, *[lambda _, now: None] * 3)
        await (context if scope["type"] == "http" else whole)(scope, receive, send)

    app.asgi_app = handled  # type: ignore[method-assign,assignment]
    async with serving(settings_for(), app) as service:
        await ask(service, written("GET", "/health", body=b""), 0.5)
    (line,) = logged(capsys.readouterr().out)
    assert (line["status"], line["outcome"]) == (200 if begun else 500, "error")


async def test_an_asset_is_sent_from_memory(service: Service) -> None:
    """The documentation's files are cached by clients, and can be asked for in part."""
    path = "/docs/assets/swagger-ui.css"
    whole = await service.stranger.get(path)
    assert (whole.headers["content-type"], whole.headers["cache-control"]) == (
        "text/css; charset=utf-8",
        "public, max-age=86400",
    )
    assert {"etag", "last-modified", "expires"} <= set(whole.headers)
    for headers in ({"If-None-Match": whole.headers["etag"]}, {"If-Modified-Since": whole.headers["last-modified"]}):
        assert (await service.stranger.get(path, headers=headers)).status_code == 304
    part = await service.stranger.get(path, headers={"Range": "bytes=3-8"})
    assert (part.status_code, part.content) == (206, whole.content[3:9])
    head = await service.stranger.head(path)
    assert (head.headers["content-length"], head.content) == (str(len(whole.content)), b"")


async def test_an_asset_holds_no_file_open(service: Service) -> None:
    """A client that leaves as soon as it has the whole of an asset, or some of it, leaves no open file behind."""
    for enough in [b"\r\n\r\n", b"IEND"] * 40:
        parts = urlsplit(service.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(b"GET /docs/assets/favicon-32x32.png HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(enough)
        writer.transport.abort()
    await asyncio.sleep(0)
    gc.collect()
