"""Keys in the path: another place for a key where that is switched on, and in no log either way."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

import pytest
from hypercorn.config import Config

from mlops_backend.config import PLACEHOLDER_KEY
from mlops_backend.middleware.client_address import FORWARDING_HEADERS
from mlops_backend.server import hypercorn_config
from tests import service as service_module
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY
from tests.web.raw_requests import ask

ODD_KEY = "a/b?c#d%2Fe;f:g@h&i=j+k\\l"
KEYS = f"tester:{ORDINARY_KEY},odd:{ODD_KEY}"
CHAT: dict[str, Any] = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
SECRET = ORDINARY_KEY
ODD_TARGETS = (
    f"/k/{SECRET}/api/tags",
    f"/k/{SECRET}",
    f"/k/{SECRET}/",
    f"/k/{SECRET}?x=y",
    f"/k/{SECRET}/no/such/route",
    f"/k/{SECRET}//api/tags",
    f"/k/{SECRET}/../api/tags",
    f"/k//{SECRET}/api/tags",
    f"/k/x/k/{SECRET}/api/tags",
    f"/k/{SECRET}/k/{SECRET}/api/tags",
    f"/k/{SECRET}/api/blobs/%2fk%2f{SECRET}",
    f"//k/{SECRET}",
    f"//k/{SECRET}/api/tags",
    f"/./k/{SECRET}/api/tags",
    f"/api/k/{SECRET}/api/tags",
    f"/%6b/{SECRET}/api/tags",
    f"/%6B/{SECRET}",
    f"/k%2F{SECRET}/api/tags",
    f"/k%2f{SECRET}",
    f"%2fk%2f{SECRET}%2fapi%2ftags",
    f"/k/{SECRET}%2Fapi%2Ftags",
    f"/k/{SECRET}%00/api/tags",
    f"http://localhost/k/{SECRET}/api/tags",
    f"http://user:x@evil.example/k/{SECRET}/api/tags",
    f"http://localhost//k/{SECRET}/api/tags",
    f"http://localhost/%6b/{SECRET}/api/tags",
    f"http://localhost/k%2F{SECRET}/api/tags",
    f"http:/k/{SECRET}/api/tags",
    f"k/{SECRET}/api/tags",
    f"/K/{SECRET}/api/tags",
    f"/%4B/{SECRET}/api/tags",
    f"/k/x/K%2F{SECRET}/api/tags",
)


@pytest.fixture(name="lines")
def _access_log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Hypercorn's access log says, with all that it knows of a request's target."""
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.Logger("access", logging.INFO)
    logger.addHandler(Keeper())

    def config() -> Config:
        own = hypercorn_config()
        own.accesslog = logger
        own.access_log_format += " %(R)s %(U)s %(q)s %(Uq)s"
        return own

    monkeypatch.setattr(service_module, "hypercorn_config", config)
    return lines


async def test_a_key_in_the_path_is_a_key(serve: ServeFactory, fake: FakeOllama) -> None:
    """It is whoever's key it is, on every route, and the path behind it is the path."""
    async with serve(fake.url, key_in_url=True) as service:
        mine, admins = f"/k/{ORDINARY_KEY}", f"/k/{ADMIN_KEY}"
        assert (await service.stranger.get(f"{mine}/api/tags")).status_code == 200
        assert (await service.stranger.post(f"{mine}/api/chat?x=y", json=CHAT)).status_code == 200
        assert (await service.stranger.post(f"{mine}/v1/chat/completions", json=CHAT)).status_code == 200
        assert (await service.stranger.post(f"{mine}/api/pull", json={"model": "x"})).status_code == 403
        assert (await service.stranger.post(f"{admins}/api/pull", json={"model": "x"})).status_code == 200
        assert (await service.stranger.get(f"{mine}/no/such/route")).status_code == 404
        assert (await service.stranger.get("/k/wrong/api/tags")).status_code == 401
        assert (await service.stranger.get("/k//api/tags")).status_code == 401
        assert (await service.stranger.get(mine)).status_code == 200
    paths = ["/api/tags", "/api/chat", "/v1/chat/completions", "/api/pull"]
    assert [asked.path for asked in fake.requests if asked.path in paths] == paths
    assert not any(key in str(asked) for asked in fake.requests for key in (ORDINARY_KEY, ADMIN_KEY))


async def test_a_key_in_the_path_is_percent_encoded(serve: ServeFactory, fake: FakeOllama) -> None:
    """Any key fits into one segment of a path."""
    async with serve(fake.url, key_in_url=True, api_keys=KEYS) as service:
        target = f"/k/{quote(ODD_KEY, safe='')}/api/tags"
        answer = await ask(service, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        every = "".join(f"%{ord(letter):02x}" for letter in ORDINARY_KEY)
        assert (await service.stranger.get(f"/k/{every}/api/tags")).status_code == 200
    assert answer.status == 200
    assert [asked.path for asked in fake.requests] == ["/api/tags", "/api/tags"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-API-Key": ORDINARY_KEY}, 200),
        ({"Authorization": f"Bearer {ORDINARY_KEY}"}, 200),
        ({"X-API-Key": ADMIN_KEY}, 401),
        ({"Authorization": f"Bearer {ADMIN_KEY}"}, 401),
        ({"X-API-Key": "wrong"}, 401),
    ],
)
async def test_a_header_must_have_the_same_key(
    serve: ServeFactory, fake: FakeOllama, headers: dict[str, str], status: int
) -> None:
    """Two keys of one request that differ are 401, wherever they stand."""
    async with serve(fake.url, key_in_url=True) as service:
        assert (await service.stranger.get(f"/k/{ORDINARY_KEY}/api/tags", headers=headers)).status_code == status


async def test_a_whole_address_may_be_asked_for(serve: ServeFactory, fake: FakeOllama) -> None:
    """As clients ask that take the service for a proxy (RFC 9112, 3.2.2): the path in it is the path."""
    async with serve(fake.url, key_in_url=True) as service:
        target = f"http://localhost/k/{ORDINARY_KEY}/api/tags"
        answer = await ask(service, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.status == 200
    assert [asked.path for asked in fake.requests] == ["/api/tags"]


async def test_switched_off_there_is_no_such_path(serve: ServeFactory, fake: FakeOllama) -> None:
    """By default a key in a path lets nobody in, and is a route that does not exist."""
    async with serve(fake.url) as service:
        assert (await service.stranger.get(f"/k/{ORDINARY_KEY}/api/tags")).status_code == 401
        assert (await service.client.get(f"/k/{ORDINARY_KEY}/api/tags")).status_code == 404
        assert (await service.client.post(f"/k/{ADMIN_KEY}/api/pull", json={"model": "x"})).status_code == 404
    assert fake.requests == []


@pytest.mark.parametrize("enabled", [True, False])
async def test_no_log_has_the_key(
    serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str], lines: list[str], enabled: bool
) -> None:
    """Neither our log nor Hypercorn's access log, however the path was written and whatever came of it."""
    async with serve(fake.url, key_in_url=enabled) as service:
        for target in ODD_TARGETS:
            for method in ("GET", "POST", "OPTIONS"):
                request = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                answer = await ask(service, request.encode())
                assert SECRET.encode() not in answer.head + answer.body
        upgrade = f"GET /k/{SECRET}/api/tags HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        await ask(service, f"{upgrade}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n".encode(), 0.3)
    written = "".join(capsys.readouterr())
    assert written.count('"event":"request"') >= len(ODD_TARGETS)
    assert len(lines) >= 2 * len(ODD_TARGETS)
    told = [line for line in [*written.splitlines(), *lines] if SECRET in line]
    assert told == []
    assert not any(SECRET in str(asked) for asked in fake.requests)


@pytest.mark.parametrize("enabled", [True, False])
async def test_no_referer_has_the_key(
    serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str], lines: list[str], enabled: bool
) -> None:
    """A page under such an address names it as the referer of all that it loads; that is dropped."""
    async with serve(fake.url, key_in_url=enabled) as service:
        referer = {"Referer": f"{service.url}/k/{SECRET}/docs"}
        assert (await service.client.get("/api/tags", headers=referer)).status_code == 200
        encoded = {"Referer": f"{service.url}/%6B%2f{SECRET}/docs"}
        assert (await service.client.get("/docs", headers=encoded)).status_code == 200
        assert (await service.client.get("/no/such/route", headers=referer)).status_code == 404
        assert (await service.client.get("/health", headers={"Referer": "http://localhost/page"})).status_code == 200
    written = "".join(capsys.readouterr())
    assert SECRET not in written + str(lines) + str(fake.requests)
    assert "http://localhost/page" in lines[-1]


REPEATED = (
    "X-Original-URL",
    "X-Envoy-Original-Path",
    "X-Replaced-Path",
    "X-Request-ID",
    "X-Custom",
    "User-Agent",
    "Accept",
    "X-Forwarded-Uri",
    "Link",
)


@pytest.mark.parametrize("value", ["http://gateway/k/{}/api/show", "/%6b%2F{}%2Fapi", "a {} b", "{}", "%2f{}"])
async def test_no_header_tells_a_backend_the_key(
    serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    """A header in which a proxy repeats the address, the key in it as it was or encoded, reaches no backend or log."""
    every = "".join(f"%{ord(letter):02X}" for letter in SECRET)
    async with serve(fake.url, key_in_url=True) as service:
        for key in (SECRET, every, f"{SECRET[:-1]}%{ord(SECRET[-1]):02x}"):
            headers = dict.fromkeys(REPEATED, value.format(key))
            answer = await service.stranger.post(f"/k/{SECRET}/api/show", json={"model": "llama3"}, headers=headers)
            assert answer.status_code == 200
    assert len(fake.requests) == 3
    sent = "".join(capsys.readouterr()) + str([asked.headers for asked in fake.requests])
    assert not any(key in sent for key in (SECRET, every, SECRET[:-1]))


async def test_honest_headers_stay(serve: ServeFactory, fake: FakeOllama) -> None:
    """What just looks like such an address goes on, and of what tells who asks nothing is lost."""
    honest = {"User-Agent": "x/k/y", "Accept": "application/k/json", "X-Custom": "QUJD/k/REVG"}
    async with serve(fake.url, key_in_url=True) as service:
        headers = honest | {"Authorization": f"Bearer {SECRET}"}
        answer = await service.stranger.post(f"/k/{SECRET}/api/show", json={"model": "llama3"}, headers=headers)
    assert answer.status_code == 200
    assert {name: fake.requests[0].header(name) for name in honest} == honest


async def test_a_proxy_stays_a_proxy(serve: ServeFactory, fake: FakeOllama) -> None:
    """The placeholder key works from this machine only, also where the forwarding headers repeat it."""
    async with serve(fake.url, key_in_url=True, api_key=PLACEHOLDER_KEY) as service:
        for name in FORWARDING_HEADERS:
            headers = {name: PLACEHOLDER_KEY}
            answer = await service.stranger.get(f"/k/{PLACEHOLDER_KEY}/api/tags", headers=headers)
            assert answer.status_code == 403
