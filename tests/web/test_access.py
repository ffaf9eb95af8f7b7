"""The table of routes against the application's own map: every route, every method, every kind of key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pytest
from quart import Quart

from mlops_backend.app import create_app
from mlops_backend.middleware.access import TABLE, Access
from mlops_backend.principal import ORDINARY, Scope
from mlops_backend.schemas.keys import CreateKeyRequest
from mlops_backend.services.other.keys.service import ApiKeys
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service, settings_for

Asked = tuple[str, str]
VALUES = {
    "<stream_id>": "unknown",
    "<path:filename>": "start.js",
    "<build>": "unknown",
    "<digest>": "sha256:" + "0" * 64,
    "<key>": "a-key",
    "<path:name>": "unknown",
    "<model>": "llama3",
    "<key_id>": "key_unknown",
    "<generation_id>": "unknown",
    "<conversation_id>": "0" * 32,
    "<image_hash>": "0" * 64,
}
# Streams that do not end by themselves.
ENDLESS = {"/api/console/events"}
BODY: dict[str, Any] = {
    "model": "llama3",
    "prompt": "Hi",
    "input": "Hi",
    "messages": [{"role": "user", "content": "Hi"}],
    "max_tokens": 8,
    "stream": False,
}
OPEN_TO_STRANGERS = {Access.OPEN, Access.DOCS}
WITH_ANY_KEY = {*OPEN_TO_STRANGERS, Access.SERVICE}
OPENED_BY: Mapping[Scope, set[Access]] = {
    Scope.INFERENCE: {Access.INFERENCE, Access.BESIDE_INFERENCE},
    Scope.MODELS_READ: {Access.MODELS_READ},
    Scope.MODELS_WRITE: {Access.MODELS_WRITE},
    Scope.USAGE_READ: {Access.USAGE_READ},
    Scope.METRICS_READ: {Access.METRICS_READ},
    Scope.ADMIN: set(Access) - {Access.ACCOUNT},
}
ORDINARY_OPENS = WITH_ANY_KEY.union(*(OPENED_BY[scope] for scope in ORDINARY))
KEYS = {"nobody": {}, "wrong": {"X-API-Key": "wrong"}, "ordinary": {"X-API-Key": ORDINARY_KEY}}
ADMIN = {"X-API-Key": ADMIN_KEY}


def asked_of(app: Quart) -> Iterator[Asked]:
    """Every route with each of its methods, as the application's own map has them."""
    for rule in app.url_map.iter_rules():
        yield from ((rule.rule, method) for method in sorted(rule.methods or ()))


def access_of(asked: Asked) -> Access | None:
    """What the table says; nothing of OPTIONS, and nothing of a HEAD that Quart adds to a GET."""
    return TABLE[asked[0]].get(asked[1])


def expected(app: Quart, allowed: Callable[[Access], bool], otherwise: int) -> Mapping[Asked, int | str]:
    """What each request is answered: `allowed`, or a status."""
    answers: dict[Asked, int | str] = {}
    for asked in asked_of(app):
        access = access_of(asked)
        if access is not None:
            answers[asked] = "allowed" if allowed(access) else otherwise
        elif otherwise == 401:
            answers[asked] = 401
        else:
            answers[asked] = "allowed" if asked[1] == "OPTIONS" else 405
    return answers


async def told(
    service: Service, headers: Mapping[str, str], without: Collection[Asked] = ()
) -> Mapping[Asked, int | str]:
    """What every request is really answered: neither 401 nor 403 is `allowed`, a 405 is told where none is meant."""
    answers: dict[Asked, int | str] = {}
    for asked in asked_of(service.app):
        if asked in without:
            continue
        path, method = asked
        for name, value in VALUES.items():
            path = path.replace(name, value)
        body = BODY if method in {"POST", "PATCH", "DELETE"} else None
        async with service.stranger.stream(method, path, json=body, headers=headers) as answer:
            if path not in ENDLESS or answer.status_code != 200:
                await answer.aread()
        refused = answer.status_code in {401, 403} or (answer.status_code == 405 and access_of(asked) is None)
        answers[asked] = answer.status_code if refused else "allowed"
        assert answer.status_code < 500, f"{method} {path}: {answer.text}"
    return answers


def test_the_table_is_the_map() -> None:
    """Each route has its entry and each entry its route, method by method, but for OPTIONS and Quart's own HEAD."""
    app = create_app(settings_for())
    served: dict[str, set[str]] = {}
    for rule, method in asked_of(app):
        served.setdefault(rule, set()).add(method)
    assert served.keys() == TABLE.keys()
    for rule, methods in TABLE.items():
        added = {"OPTIONS", "HEAD"} if "GET" in methods else {"OPTIONS"}
        assert methods.keys() <= served[rule] <= methods.keys() | added


@pytest.mark.parametrize("key", ["nobody", "wrong"])
async def test_a_stranger_reaches_what_is_open(service: Service, fake: FakeOllama, key: str) -> None:
    """Without a key, or with a wrong one, everything but the open routes and the documentation is 401."""
    wanted = expected(service.app, lambda access: access in OPEN_TO_STRANGERS, 401)
    assert await told(service, KEYS[key]) == wanted
    assert {asked.path for asked in fake.requests} <= {"/api/version", "/api/tags"}, "more than the health check asks"


@pytest.mark.parametrize("account_routes", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_an_ordinary_key_infers_and_reads(serve: ServeFactory, fake: FakeOllama, account_routes: bool) -> None:
    """It may do everything but manage models and act as the owner, whether or not the owner's routes are open."""
    async with serve(fake.url, allow_account_routes=account_routes) as service:
        wanted = expected(service.app, lambda access: access in ORDINARY_OPENS, 403)
        assert await told(service, KEYS["ordinary"]) == wanted
    managing = {Access.MODELS_WRITE, Access.ADMIN, Access.ACCOUNT}
    for asked in fake.requests:
        for rule, methods in TABLE.items():
            if rule == asked.path or ("<" in rule and asked.path.startswith(rule.partition("<")[0])):
                assert methods.get(asked.method) not in managing


@pytest.mark.parametrize("scope", Scope)
async def test_a_scope_opens_its_routes(service: Service, scope: Scope) -> None:
    """A key of the database with one scope may do what that is for and nothing else; `admin` may do everything."""
    _, key = await service.services.get(ApiKeys).create(CreateKeyRequest(name=scope, scopes={scope}))
    opened = WITH_ANY_KEY | OPENED_BY[scope]
    wanted = expected(service.app, lambda access: access in opened, 403)
    assert await told(service, {"X-API-Key": key}) == wanted


async def test_the_administrator_manages_models(service: Service) -> None:
    """Its key opens everything but the owner's routes, which are 403 to all."""
    wanted = expected(service.app, lambda access: access is not Access.ACCOUNT, 403)
    assert await told(service, ADMIN) == wanted


async def test_the_administrator_acts_as_the_owner_where_allowed(serve: ServeFactory, fake: FakeOllama) -> None:
    """With ALLOW_ACCOUNT_ROUTES its key opens everything."""
    async with serve(fake.url, allow_account_routes=True) as service:
        assert await told(service, ADMIN) == expected(service.app, lambda access: True, 403)


async def test_without_auth_anybody_is_ordinary(serve: ServeFactory, fake: FakeOllama) -> None:
    """`AUTH_ENABLED=false`: nobody may manage anything but the administrator; a wrong key stays wrong."""
    async with serve(fake.url, auth_enabled=False, allow_account_routes=True) as service:
        app = service.app
        assert await told(service, KEYS["nobody"]) == expected(app, lambda access: access in ORDINARY_OPENS, 403)
        assert await told(service, KEYS["wrong"]) == expected(app, lambda access: access in OPEN_TO_STRANGERS, 401)
        assert await told(service, ADMIN) == expected(app, lambda access: True, 403)


async def test_docs_follow_their_switch(serve: ServeFactory, fake: FakeOllama) -> None:
    """With DOCS_ENABLED=false the documentation's routes are gone, and a stranger is asked for a key there."""
    docs = [rule for rule, methods in TABLE.items() if Access.DOCS in methods.values()]
    async with serve(fake.url, docs_enabled=False, console_enabled=False) as service:
        assert not {rule for rule, _ in asked_of(service.app)} & set(docs)
        for rule in docs:
            path = rule.replace("<path:filename>", VALUES["<path:filename>"])
            assert (await service.stranger.get(path)).status_code == 401
            assert (await service.client.get(path)).status_code == 404
        browser = {"Accept": "text/html"}
        assert (await service.stranger.get("/", headers=browser)).status_code == 401


async def test_a_route_that_is_let_through_needs_a_key(serve: ServeFactory, fake: FakeOllama) -> None:
    """PASSTHROUGH_ROUTES are for any key and for nobody without one, by their own method only."""
    async with serve(fake.url, passthrough_routes="POST /v1/systemone") as service:
        assert (await service.stranger.post("/v1/systemone", json=BODY)).status_code == 401
        assert fake.requests == []
        assert (await service.client.post("/v1/systemone", json=BODY)).content == b"404 page not found"
        assert (await service.client.get("/v1/systemone")).status_code == 405
    assert [(asked.method, asked.path) for asked in fake.requests] == [("POST", "/v1/systemone")]
