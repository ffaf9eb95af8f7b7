"""A browser's session: as good as its key, for our own page only, and over when either is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest

from mlops_backend.app import create_app
from mlops_backend.middleware.access import TABLE
from mlops_backend.principal import Scope
from mlops_backend.schemas.keys import CreateKeyRequest
from mlops_backend.services.other.console.sessions import MAX_SESSIONS, ConsoleSessions
from mlops_backend.services.other.keys.service import ApiKeys
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service, settings_for
from tests.web.test_access import told

SESSION = "/api/console/session"
CHAT = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}], "stream": False}


@asynccontextmanager
async def signed_in(service: Service, key: str = ORDINARY_KEY, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser: it has the cookie, and the token that our page would send; the key is forgotten."""
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=service.url, timeout=20, trust_env=False, limits=limits) as browser:
        answer = await browser.post(SESSION, headers={"X-API-Key": key, **headers})
        assert answer.status_code == 201, answer.text
        browser.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        yield browser


def cookie_in(answer: httpx.Response) -> Any:
    """What the answer has the browser keep."""
    return SimpleCookie(answer.headers["set-cookie"])["mlops_console"]


async def new_key(service: Service, *scopes: Scope) -> tuple[str, str]:
    """A key of the database: its id and its secret."""
    key, secret = await service.services.get(ApiKeys).create(CreateKeyRequest(name="one", scopes=set(scopes)))
    return key.id, secret


async def test_a_key_is_exchanged_for_a_session(service: Service) -> None:
    """The cookie is no script's and no other site's; the answer tells who it is, and is nowhere kept."""
    answer = await service.client.post(SESSION)
    told_of = answer.json()
    cookie = cookie_in(answer)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/", "")
    assert cookie["expires"]
    assert ORDINARY_KEY not in answer.text + answer.headers["set-cookie"]
    assert (told_of["signed_in"], told_of["admin"]) == (True, False)
    headers = {"Cookie": f"mlops_console={cookie.value}"}
    assert (await service.stranger.get(SESSION, headers=headers)).json() == told_of
    assert (await service.stranger.get("/api/key", headers=headers)).json()["name"] == told_of["name"]
    assert (await service.stranger.get(SESSION)).status_code == 401
    by_key = (await service.client.get(SESSION)).json()
    assert (by_key["signed_in"], by_key["csrf_token"], by_key["id"]) == (False, None, told_of["id"])


async def test_over_tls_the_cookie_goes_over_tls_only(service: Service) -> None:
    """A proxy may end TLS before us; the browser's own `Origin` tells."""
    answer = await service.client.post(SESSION, headers={"Origin": "https://llm.example.org"})
    assert cookie_in(answer)["secure"] is True


async def test_under_a_path_the_cookie_is_for_that_path(serve: ServeFactory, fake: FakeOllama) -> None:
    """With ROOT_PATH other services of the host do not get it."""
    async with serve(fake.url, root_path="/llm") as service:
        assert cookie_in(await service.client.post(f"/llm{SESSION}"))["path"] == "/llm/"


@pytest.mark.parametrize("key", [ORDINARY_KEY, pytest.param(ADMIN_KEY, marks=pytest.mark.long)])
async def test_a_session_may_what_its_key_may(service: Service, key: str) -> None:
    """Every route and method, called by hand, is as allowed, or as refused, as with the key itself."""
    ending = {(SESSION, "DELETE"), ("/api/console/sessions", "DELETE")}
    wanted = await told(service, {"X-API-Key": key}, without=ending)
    async with signed_in(service, key) as browser:
        token, csrf = browser.cookies["mlops_console"], browser.headers["X-CSRF-Token"]
    headers = {"Cookie": f"mlops_console={token}", "X-CSRF-Token": csrf}
    assert await told(service, headers, without=ending) == wanted
    assert (SESSION, "POST") in wanted


async def test_a_generation_by_session_is_the_keys(service: Service) -> None:
    """It is counted and billed as the key's own."""
    async with signed_in(service) as browser:
        answer = await browser.post("/api/chat", json=CHAT)
        assert answer.status_code == 200, answer.text
        async with asyncio.timeout(30):
            while (await service.client.get("/api/usage")).json()["rows"][0]["generations"] != 1:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nothing_is_changed_without_the_token(service: Service, fake: FakeOllama, method: str) -> None:
    """What another page makes the browser send has the cookie, and not the token: no route takes it."""
    routes = [route for route, methods in TABLE.items() if method in methods and "streams/<" not in route]
    async with signed_in(service, ADMIN_KEY) as browser:
        seen = len(fake.requests)
        for wrong in ("", "wrong", "mlops_console"):
            browser.headers["X-CSRF-Token"] = wrong
            for route in routes:
                answer = await browser.request(method, route.replace("<", "").replace(">", ""), json={})
                assert answer.status_code == 403, (route, answer.text)
                assert "csrf_token_missing" in answer.text or "X-CSRF-Token" in answer.text
        assert (await browser.get(SESSION)).status_code == 200
    assert {asked.path for asked in fake.requests[seen:]} <= {"/api/version", "/api/tags"}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_page_of_another_origin_gets_nothing(service: Service, site: str) -> None:
    """Where a browser says whose page asks, even reading is refused, and the right token helps nobody."""
    async with signed_in(service) as browser:
        for method, path in (("GET", "/api/key"), ("GET", SESSION), ("POST", "/api/chat")):
            answer = await browser.request(method, path, headers={"Sec-Fetch-Site": site})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        own = await browser.get("/api/key", headers={"Sec-Fetch-Site": "same-origin"})
        assert own.status_code == 200


async def test_a_key_counts_for_more_than_a_cookie(service: Service) -> None:
    """Whoever presents a key stands on it alone: a wrong one is 401, a right one needs no token."""
    async with signed_in(service, ADMIN_KEY) as browser:
        del browser.headers["X-CSRF-Token"]
        assert (await browser.get("/api/key", headers={"X-API-Key": "wrong"})).status_code == 401
        assert (await browser.post("/api/admin/keys", headers={"X-API-Key": ORDINARY_KEY})).status_code == 403
        assert (await browser.post("/api/chat", json=CHAT, headers={"X-API-Key": ORDINARY_KEY})).status_code == 200


async def test_who_signs_out_is_out(service: Service) -> None:
    """The cookie is taken back, and worth nothing for whoever has copied it; other sessions stay."""
    async with signed_in(service) as one, signed_in(service) as other:
        copied = {"Cookie": f"mlops_console={one.cookies['mlops_console']}"}
        gone = await one.delete(SESSION)
        assert (gone.status_code, cookie_in(gone).value) == (204, "")
        assert "mlops_console" not in one.cookies
        ended = await service.stranger.get("/api/key", headers=copied)
        assert (ended.status_code, ended.json()["code"]) == (401, "unauthorized")
        assert (await other.get("/api/key")).status_code == 200


async def test_all_sessions_of_a_key_are_ended(service: Service) -> None:
    """By itself or by an administrator; another key's are not."""
    key_id, secret = await new_key(service, Scope.INFERENCE)
    async with signed_in(service, secret) as one, signed_in(service, secret) as two, signed_in(service) as other:
        assert (await one.delete("/api/console/sessions")).status_code == 204
        assert [(await each.get("/api/key")).status_code for each in (one, two, other)] == [401, 401, 200]
    async with signed_in(service, secret) as one, signed_in(service) as other:
        path = f"/api/admin/keys/{key_id}/sessions"
        assert (await service.stranger.delete(path, headers={"X-API-Key": ADMIN_KEY})).status_code == 204
        assert [(await each.get("/api/key")).status_code for each in (one, other)] == [401, 200]


@pytest.mark.parametrize("change", ["disable", "revoke", "rotate", "narrow"])
async def test_a_session_follows_its_key(service: Service, change: str) -> None:
    """It ends with the secret it was begun with, and has the scopes that the key has now."""
    key_id, secret = await new_key(service, Scope.INFERENCE, Scope.USAGE_READ)
    keys = service.services.get(ApiKeys)
    admin = {"X-API-Key": ADMIN_KEY}
    async with signed_in(service, secret) as browser:
        assert (await browser.get("/api/usage")).status_code == 200
        path = f"/api/admin/keys/{key_id}"
        if change == "disable":
            await service.stranger.patch(path, json={"enabled": False}, headers=admin)
        elif change == "revoke":
            await keys.revoke(key_id)
        elif change == "rotate":
            await keys.rotate(key_id)
        else:
            await service.stranger.patch(path, json={"scopes": ["inference"]}, headers=admin)
        assert (await browser.get("/api/usage")).status_code == (403 if change == "narrow" else 401)


async def test_a_session_ends_by_itself(serve: ServeFactory, fake: FakeOllama) -> None:
    """However busy it is; and the table does not keep it."""
    async with serve(fake.url, console_session_seconds=60) as service:
        sessions, now = service.services.get(ConsoleSessions), [1_800_000_000.0]
        sessions._clock = lambda: now[0]
        async with signed_in(service) as browser:
            now[0] += 59
            assert (await browser.get("/api/key")).status_code == 200
            now[0] += 1
            assert (await browser.get("/api/key")).status_code == 401


async def test_a_key_has_so_many_sessions(service: Service) -> None:
    """Whoever signs in once more ends the oldest."""
    tokens = [cookie_in(await service.client.post(SESSION)).value for _ in range(MAX_SESSIONS + 2)]
    status = [
        (await service.stranger.get("/api/key", headers={"Cookie": f"mlops_console={token}"})).status_code
        for token in (tokens[0], tokens[-1])
    ]
    assert status == [401, 200]


async def test_a_key_signs_in_so_often(service: Service) -> None:
    """Each time a row is written: who does nothing else is told when to come again; another key is not."""
    status: list[int] = []
    while len(status) < 200 and 429 not in status:  # one more is let in for each second that this takes
        status.append((await service.client.post(SESSION)).status_code)
    assert status[:60] == [201] * 60
    assert status[-1] == 429
    assert (await service.stranger.post(SESSION, headers={"X-API-Key": ADMIN_KEY})).status_code == 201


@pytest.mark.parametrize("token", ["", "x", "x" * 64, "x" * 4000, "é", '"', "a; mlops_console=b"])
async def test_a_made_up_token_is_nobodys(service: Service, token: str) -> None:
    """And takes nothing down."""
    headers = {"Cookie": f"mlops_console={token}".encode()}
    assert (await service.stranger.get("/api/key", headers=headers)).status_code == 401  # type: ignore[arg-type]
    assert (await service.stranger.get("/health", headers=headers)).status_code == 200  # type: ignore[arg-type]


async def test_signing_in_needs_a_key(serve: ServeFactory, fake: FakeOllama) -> None:
    """A session makes no other; without authentication nobody needs one, and is told who they are."""
    async with serve(fake.url, auth_enabled=False) as service:
        assert (await service.stranger.post(SESSION)).status_code == 409
        assert (await service.stranger.get(SESSION)).json()["id"] == "anonymous"
        async with signed_in(service, ADMIN_KEY) as browser:
            assert (await browser.post(SESSION)).status_code == 409
            assert (await browser.get(SESSION)).json()["admin"]


async def test_without_a_console_nothing_of_it_is_there(serve: ServeFactory, fake: FakeOllama) -> None:
    """No page, no session, and a cookie is nothing; no module of it is imported, but for what the gate knows of it."""
    async with serve(fake.url, console_enabled=False) as service:
        for path in ("/console", "/console/", "/console/assets/x/app.js", SESSION):
            assert (await service.client.get(path)).status_code == 404
            assert (await service.stranger.get(path, headers={"Cookie": "mlops_console=x"})).status_code == 401
    code = (
        "import sys\nfrom mlops_backend.app import create_app\nfrom tests.service import settings_for\n"
        "create_app(settings_for(console_enabled=False))\n"
        "print([name for name in sys.modules if name.startswith('mlops_backend') and ('.console' in name or "
        "'.other.live' in name) and not name.endswith('middleware.console_session')])"
    )
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await run.communicate()
    assert (run.returncode, out.decode().splitlines()[-1]) == (0, "[]")


def test_the_console_is_served_by_default() -> None:
    """So it is found by whoever starts the service for the first time."""
    assert "/console/" in {rule.rule for rule in create_app(settings_for()).url_map.iter_rules()}
