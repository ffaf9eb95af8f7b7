"""No request, however it is written, makes a backend do what its key may not."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_backend.middleware.access import TABLE
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.raw_requests import ask, assert_only_allowed, written

PULLS = (
    "/api%2Fpull",
    "/api%2fpull",
    "/%61pi/pull",
    "/api/pul%6c",
    "//api/pull",
    "///api/pull",
    "/./api/pull",
    "/api/./pull",
    "/api/../api/pull",
    "/api/chat/../pull",
    "/api/chat/%2e%2e/pull",
    "/api/chat/..%2fpull",
    "/api/chat%2f..%2fpull",
    "/api/pull/",
    "/api/pull//",
    "/api//pull",
    "/API/pull",
    "/Api/Pull",
    "/api/pull%00",
    "/api/pull%0a",
    "/api/pull%20",
    "/api/pull;x",
    "/api/pull?x",
    "/api/pull?../chat",
    "/api/chat?/../pull",
    "/api/pull#x",
    "/api\\pull",
    "/api/chat\\..\\pull",
    "/api/blobs/..%2fpull",
    "/v1/../api/pull",
    "/k/x/api/pull",
    "api/pull",
    "*",
    "http://evil.example/api/pull",
    "http://127.0.0.1/api/pull",
    "http://user:password@evil.example/api/pull",
    "http://evil.example//api/pull",
    "http://evil.example/api%2Fpull",
    "HTTP://evil.example/api/chat/../pull",
    "//evil.example/api/pull",
    "evil.example:80",
    "http:/api/pull",
    "file:///api/pull",
    "/http://evil.example/api/pull",
    "/api/llm/../pull",
    "/api/llm/generate/../../pull",
)


@pytest.mark.parametrize("target", PULLS)
async def test_a_pull_is_a_pull_however_it_is_written(service: Service, fake: FakeOllama, target: str) -> None:
    """It is refused or not found, and no backend hears of it, whatever the way to write its path."""
    answer = await ask(service, written("POST", target))
    assert answer.status in ({400, 403, 404, 405} if target != "/api/chat?/../pull" else {200})
    assert [asked.path for asked in fake.requests] == (["/api/chat"] if answer.status == 200 else [])


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/models/..%2f..%2fapi%2fps"),
        ("GET", "/v1/models/%2e%2e"),
        ("GET", "/v1/models/.."),
        ("GET", "/v1/models/."),
        ("GET", "/v1/models/%2e"),
        ("GET", "/v1/models/a%2Fb"),
        ("GET", "/v1/models/%5c..%5c"),
        ("GET", "/v1/models/a%3Fb"),
        ("GET", "/v1/models/%252e%252e"),
        ("GET", "/v1/models/a%0d%0aX-Evil:%20x"),
        ("HEAD", "/api/blobs/.."),
        ("HEAD", "/api/blobs/%2e%2e"),
        ("POST", "/api/blobs/.."),
        ("POST", "/api/blobs/%2e%2e"),
        ("POST", "/api/blobs/..%2fpull"),
        ("DELETE", "/api/user/keys/.."),
        ("DELETE", "/api/user/keys/%2e%2e"),
    ],
)
async def test_a_value_in_a_path_stays_one_segment(
    serve: ServeFactory, fake: FakeOllama, method: str, target: str
) -> None:
    """Not even the administrator reaches another path by the value of a route's parameter."""
    async with serve(fake.url, allow_account_routes=True) as service:
        answer = await ask(service, written(method, target, key=ADMIN_KEY))
    assert answer.status in {200, 400, 404, 405}
    assert_only_allowed(fake)
    assert all("evil" not in name for asked in fake.requests for name, _ in asked.headers)


HOSTS: tuple[tuple[str, ...], ...] = (
    ("Host: evil.example",),
    ("Host: localhost:11434",),
    ("Host: user:password@localhost",),
    ("Host: localhost/api/pull",),
    ("Host: localhost?x",),
    ("Host: ",),
    ("Host: localhost", "Host: evil.example"),
    ("Host: [::1]:99999",),
    ("Host: localhost", "X-Original-URL: /api/pull", "X-Rewrite-URL: /api/pull"),
    ("Host: localhost", "X-Original-Uri: /api/pull", "X-Forwarded-Prefix: /api/pull"),
    ("Host: localhost", "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", "X-HTTP-Method: DELETE"),
    ("Host: localhost", "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example;for=127.0.0.1"),
    ("Host: localhost", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "True-Client-IP: ::1"),
)


@pytest.mark.parametrize("headers", HOSTS, ids=" ".join)
@pytest.mark.parametrize(
    ("method", "target"), [("POST", "/api/show"), ("POST", "/api/pull"), ("GET", "/api/delete"), ("GET", "/api/tags")]
)
async def test_headers_lead_nowhere_else(
    service: Service, fake: FakeOllama, method: str, target: str, headers: Sequence[str]
) -> None:
    """No header changes which path or method is meant, nor the name by which the backend is called."""
    answer = await ask(service, written(method, target, *headers))
    allowed = target in {"/api/show", "/api/tags"}
    assert answer.status in ({200, 400, 404} if allowed else {400, 403, 404, 405})
    assert [asked.path for asked in fake.requests] == ([target] if answer.status == 200 else [])
    assert all(asked.header("host") == urlsplit(fake.url).netloc for asked in fake.requests)


@pytest.mark.parametrize("path", ["/api/pull", "/api/tags"])
async def test_http_1_0_needs_no_host(service: Service, fake: FakeOllama, path: str) -> None:
    """A request of HTTP/1.0 without a `Host` is decided like any other."""
    answer = await ask(service, f"POST {path} HTTP/1.0\r\nX-API-Key: {ORDINARY_KEY}\r\n\r\n".encode())
    assert answer.status == (403 if path == "/api/pull" else 405)
    assert fake.requests == []


FRAGMENTS = (
    *(
        "/",
        "//",
        "/./",
        "/../",
        "\\",
        "%2f",
        "%2F",
        "%5c",
        "%252f",
        "%2e%2e/",
        "..%2f",
        ".",
        ";",
        "?",
        "#",
        "%00",
        "%0a",
    ),
    *("api", "API", "%61pi", "v1", "k", "llm", ORDINARY_KEY, "models", "blobs", "user/keys", "experimental", "me"),
    *("pull", "pul%6c", "push", "create", "copy", "delete", "signout", "web_fetch", "sha256:" + "0" * 64),
    *(
        "chat",
        "generate",
        "tags",
        "ps",
        "show",
        "chat/completions",
        "messages",
        "llama3",
        "http://",
        "evil.example",
        ":80@",
    ),
)
TARGETS = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=8).map("".join),
    st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts)),
    st.tuples(st.sampled_from(PULLS), st.sampled_from(FRAGMENTS)).map("".join),
    st.tuples(st.sampled_from(sorted(TABLE)), st.sampled_from(["", *FRAGMENTS])).map("".join),
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PUT", "get", "POST\t", "PURGE"])


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(method=METHODS, target=TARGETS)
async def test_whatever_is_asked_is_in_the_table(service: Service, fake: FakeOllama, method: str, target: str) -> None:
    """For every target a backend is not asked, or is asked for a canonical path that the key may use."""
    await ask(service, written(method, target), 1)
    assert_only_allowed(fake)
