"""Keys over HTTP: an administrator hands them out, and every worker on the same database knows them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.databases import Postgres
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.test_status_table import assert_error

KEYS = "/api/admin/keys"
ADMIN = {"X-API-Key": ADMIN_KEY}
PROMPT = {"model": "llama3", "prompt": "Hi"}


async def manage(service: Service, method: str, path: str = "", body: Any = None, **more: Any) -> httpx.Response:
    """Ask as the administrator."""
    return await service.stranger.request(method, KEYS + path, json=body, headers=ADMIN, **more)


async def make(service: Service, **fields: Any) -> dict[str, Any]:
    """A new key, as it is answered."""
    answer = await manage(service, "POST", body={"name": "one", **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def status_of(service: Service, key: str, path: str = "/api/key") -> int:
    """What a key is answered."""
    return (await service.stranger.get(path, headers={"X-API-Key": key})).status_code


async def until(service: Service, key: str, status: int, seconds: float) -> None:
    """Wait until a key is answered so."""
    async with asyncio.timeout(seconds):
        while await status_of(service, key) != status:
            await asyncio.sleep(0.02)


def contents_of(folder: Path) -> bytes:
    """The bytes of all files in a folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


@asynccontextmanager
async def two_workers(serve: ServeFactory, fake: FakeOllama, url: str) -> AsyncIterator[tuple[Service, Service]]:
    """Two services on one database."""
    async with serve(fake.url, database_url=url) as one, serve(fake.url, database_url=url) as two:
        yield one, two


async def test_a_key_is_shown_once(
    serve: ServeFactory, fake: FakeOllama, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its secret is in the answer that made it, not to be cached; no later one, log line or database has it."""
    file = tmp_path / "keys.db"
    async with serve(fake.url, database_url=f"sqlite:///{file}") as service:
        answer = await manage(service, "POST", body={"name": "laptop", "owner": "alice"})
        made = answer.json()
        secret = made.pop("key")
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["location"] == f"{KEYS}/{made['id']}"
        assert (await manage(service, "GET", f"/{made['id']}")).json() == made
        listed = (await manage(service, "GET")).json()
        assert (listed["keys"], listed["next"]) == ([made], None)
        assert await status_of(service, secret) == 200
        renewed = (await manage(service, "POST", f"/{made['id']}/rotate")).json()["key"]
        stored = contents_of(tmp_path)
    stored += contents_of(tmp_path)
    assert b"laptop" in stored
    logged = capsys.readouterr().out
    for shown in (secret, renewed):
        assert shown.encode() not in stored
        assert shown[4:].encode() not in stored
        assert shown not in logged


async def test_a_key_works_at_once_and_ends_at_once(service: Service) -> None:
    """What a worker changes itself it knows before it answers: a key is good, disabled, enabled, revoked."""
    made = await make(service)
    key, path = made["key"], f"/{made['id']}"
    assert (await service.stranger.post("/api/llm/generate", json=PROMPT, headers={"X-API-Key": key})).is_success
    assert await status_of(service, key, KEYS) == 403
    disabled = await manage(service, "PATCH", path, {"enabled": False})
    assert (disabled.status_code, disabled.json()["state"]) == (200, "disabled")
    assert await status_of(service, key) == 401
    await manage(service, "PATCH", path, {"enabled": True, "name": "two"})
    assert await status_of(service, key) == 200
    for _ in range(2):
        revoked = await manage(service, "DELETE", path)
        assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    assert await status_of(service, key) == 401
    assert_error(await manage(service, "PATCH", path, {"enabled": True}), 409, "conflict")
    assert_error(await manage(service, "POST", f"{path}/rotate"), 409, "conflict")
    assert (await manage(service, "GET")).json()["keys"] == []
    assert (await manage(service, "GET", "?revoked=true")).json()["keys"] == [revoked.json()]


async def test_a_database_key_may_administrate(service: Service) -> None:
    """A key with the scope `admin` hands out keys as the environment's administrator does, and manages models."""
    key = (await make(service, scopes=["admin"]))["key"]
    answer = await service.stranger.post(KEYS, json={"name": "two"}, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 201
    copied = {"source": "llama3", "destination": "mine"}
    assert (await service.stranger.post("/api/copy", json=copied, headers={"X-API-Key": key})).is_success


async def test_a_list_of_models_binds(service: Service) -> None:
    """A key for certain models is refused others, in whatever spelling, and is shown its own only."""
    key = (await make(service, models=["LLAMA3", "qwen*"]))["key"]
    headers = {"X-API-Key": key}
    for model, status in (("library/llama3:latest", 200), ("other", 403)):
        answer = await service.stranger.post("/api/llm/generate", json={**PROMPT, "model": model}, headers=headers)
        assert answer.status_code == status, answer.text
    told = (await service.stranger.get("/api/key", headers=headers)).json()
    assert told["models"] == ["llama3:latest", "qwen*"]


async def test_rotation_over_http(service: Service) -> None:
    """The old secret works while the overlap lasts; without one it is unknown at once."""
    made = await make(service)
    path = f"/{made['id']}/rotate"
    answer = await manage(service, "POST", path, {"overlap_seconds": 1})
    second = answer.json()["key"]
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert await status_of(service, made["key"]) == await status_of(service, second) == 200
    await until(service, made["key"], 401, 1.5)
    third = (await manage(service, "POST", path)).json()["key"]
    assert await status_of(service, second) == 401
    assert await status_of(service, third) == 200


async def test_another_worker_knows_within_a_second(serve: ServeFactory, fake: FakeOllama, database_url: str) -> None:
    """A key that one worker makes is good at another, and one that it revokes is good nowhere, within a second."""
    async with two_workers(serve, fake, database_url) as (one, two):
        made = await make(one)
        await until(two, made["key"], 200, 1)
        await manage(one, "DELETE", f"/{made['id']}")
        await until(two, made["key"], 401, 1)


async def test_a_restart_keeps_the_keys(serve: ServeFactory, fake: FakeOllama, database_url: str) -> None:
    """What was handed out works after a restart, from the first request on."""
    async with serve(fake.url, database_url=database_url) as service:
        key = (await make(service))["key"]
    async with serve(fake.url, database_url=database_url) as service:
        assert await status_of(service, key) == 200


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["name"]),
        ({"name": "a", "limits": {"requests": "often"}}, ["limits", "requests"]),
        ({"name": "a", "limits": {"speed": 1}}, ["limits", "speed"]),
        ({"name": "a", "priority": "urgent"}, ["priority"]),
        ({"name": "a", "weight": 0}, ["weight"]),
        ({"name": "a", "scope": ["admin"]}, ["scope"]),
        ({"name": "a", "scopes": ["root"]}, ["scopes", 0]),
        ({"name": "a", "expires_at": "2001-01-01T00:00:00Z"}, ["expires_at"]),
    ],
)
async def test_422_names_the_field(service: Service, body: Any, loc: list[Any]) -> None:
    """A misspelt or unreadable field of a new key is named."""
    error = assert_error(await manage(service, "POST", body=body), 422, "validation_error")
    assert [detail["loc"] for detail in error["details"]] == [loc]


async def test_what_is_asked_wrongly(service: Service) -> None:
    """A bad query, overlap or body is 422 or 400; an unknown key is 404."""
    for query in ("limit=0", "limit=201", "limit=x", "after=key_unknown", "order=name"):
        error = assert_error(await manage(service, "GET", f"?{query}"), 422, "validation_error")
        assert error["details"][0]["loc"] == [query.partition("=")[0]]
    made = await make(service)
    for overlap in (-1, 30 * 86400 + 1, "1h"):
        answer = await manage(service, "POST", f"/{made['id']}/rotate", {"overlap_seconds": overlap})
        assert_error(answer, 422, "validation_error")
    assert_error(await manage(service, "POST"), 400, "invalid_json")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        assert_error(await manage(service, method, f"/key_unknown{path}"), 404, "not_found")
    assert_error(await manage(service, "PATCH", "/key_unknown", {}), 404, "not_found")


async def test_a_key_may_look_at_itself(serve: ServeFactory, fake: FakeOllama) -> None:
    """`/api/key` tells of any key its id, scopes, models, the limits in force and its end."""
    async with serve(
        fake.url, rate_limit_requests="60/minute", concurrent_generations=2, auth_enabled=False
    ) as service:
        fields = {"limits": {"requests": None}, "expires_at": "2099-01-01T00:00:00Z", "scopes": ["usage:read"]}
        made = await make(service, **fields, priority="batch", weight=0.5, end_user_limits={"requests": "5/minute"})
        none = dict.fromkeys(("requests", "tokens", "tokens_per_day", "tokens_per_month", "concurrent"))
        ordinary = ["inference", "models:read", "usage:read"]
        limits = {**none, "requests": "60/minute", "concurrent": 2}
        wanted: dict[str | None, tuple[Any, ...]] = {
            made["key"]: (
                made["id"],
                "one",
                ["usage:read"],
                {**none, "concurrent": 2},
                "2099-01-01T00:00:00.000+00:00",
            ),
            ORDINARY_KEY: ("settings:tester", "tester", ordinary, limits, None),
            ADMIN_KEY: ("admin", "admin", ["admin"], none, None),
            None: ("anonymous", "anonymous", ordinary, limits, None),
        }
        for key, (key_id, name, scopes, own, end) in wanted.items():
            told = (await service.stranger.get("/api/key", headers={"X-API-Key": key} if key else {})).json()
            expected = {"id": key_id, "name": name, "scopes": scopes, "models": [], "limits": own, "expires_at": end}
            turns = ("batch", 0.5) if key == made["key"] else ("interactive", 1)
            of_people = {**none, "requests": "5/minute"} if key == made["key"] else none
            expected |= {"priority": turns[0], "weight": turns[1], "end_user_limits": of_people, "cache": False}
            assert told == expected


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL that this test alone stops and starts."""
    folder = tempfile.mkdtemp(prefix="pg")
    server = Postgres(folder)
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stopped(own_postgres: Postgres) -> tuple[Postgres, str]:
    """A PostgreSQL that is away, and the address of an empty database in it."""
    url = own_postgres.empty()
    own_postgres.stop()
    return own_postgres, url


async def test_the_database_may_be_away(serve: ServeFactory, fake: FakeOllama, stopped: tuple[Postgres, str]) -> None:
    """The service starts without it, for the environment's keys; what it is needed for is 503 till it comes, and again
    when it goes, but for the keys that are known."""
    postgres, url = stopped
    strange = "mlb_" + "A" * 43
    async with serve(fake.url, database_url=url) as service:
        assert (await service.client.post("/api/llm/generate", json=PROMPT)).status_code == 200
        assert_error(await manage(service, "GET"), 503, "database_down")
        answer = await service.stranger.get("/api/key", headers={"X-API-Key": strange})
        assert_error(answer, 503, "database_down")
        assert answer.headers["retry-after"]
        assert await status_of(service, "wrong") == 401
        await asyncio.to_thread(postgres.start)
        await until(service, strange, 401, 20)
        made = await make(service)
        await asyncio.to_thread(postgres.stop)
        await until(service, strange, 503, 20)
        assert await status_of(service, made["key"]) == 200
        assert_error(await manage(service, "DELETE", f"/{made['id']}"), 503, "database_down")
        await asyncio.to_thread(postgres.start)
        await until(service, strange, 401, 20)
        assert await status_of(service, made["key"]) == 200


async def test_a_raised_rate_lets_its_key_in_at_once(serve: ServeFactory, fake: FakeOllama) -> None:
    """A key that has used up its day's one request goes on by the new rate, not tomorrow."""
    async with serve(fake.url) as service:
        made = await make(service, limits={"requests": "1/day"})

        async def ask() -> httpx.Response:
            return await service.stranger.post("/api/generate", json=PROMPT, headers={"X-API-Key": made["key"]})

        assert (await ask()).status_code == 200
        locked = await ask()
        assert locked.status_code == 429
        assert int(locked.headers["Retry-After"]) > 86_000
        await manage(service, "PATCH", f"/{made['id']}", {"limits": {"requests": "100/minute"}})
        raised = await ask()
        assert (raised.status_code, raised.headers["Retry-After"]) == (429, "1")
        async with asyncio.timeout(20):
            while (await ask()).status_code != 200:
                await asyncio.sleep(0.05)


async def test_what_is_left_of_a_keys_limits_is_told(serve: ServeFactory, fake: FakeOllama) -> None:
    """To the administrator of any key, to a key of itself alone; the service's defaults count as its own."""
    async with serve(fake.url, concurrent_generations=2) as service:
        made = await make(service, limits={"requests": "2/hour", "tokens_per_day": 1000})
        mine = {"X-API-Key": made["key"]}
        await service.stranger.post("/api/generate", json={**PROMPT, "stream": False}, headers=mine)
        path = f"/{made['id']}/limits"
        told = await manage(service, "GET", path)
        assert told.status_code == 200, told.text
        left = {one["name"]: one for one in told.json()["limits"]}
        assert list(left) == ["requests", "tokens_per_day", "concurrent"]
        assert [left["requests"][name] for name in ("limit", "most", "remaining")] == ["2/hour", 2, 1]
        assert 0 < left["tokens_per_day"]["remaining"] < 1000
        assert left["concurrent"] == {
            "name": "concurrent",
            "limit": 2,
            "most": 2,
            "remaining": 2,
            "reset_seconds": None,
        }
        own = await service.stranger.get("/api/key/limits", headers=mine)
        assert own.json()["key_id"] == made["id"]
        assert [one["remaining"] for one in own.json()["limits"]] == [one["remaining"] for one in left.values()]
        assert (await service.stranger.get(f"{KEYS}{path}", headers=mine)).status_code == 403
        await manage(service, "PATCH", f"/{made['id']}", {"enabled": False})
        assert [one["name"] for one in (await manage(service, "GET", path)).json()["limits"]] == list(left)
        assert_error(await manage(service, "GET", "/key_unknown00000/limits"), 404, "not_found")
        listed = (await manage(service, "GET")).json()
        assert listed["configured"] == [{"id": "settings:tester", "name": "tester"}]
        of_settings = (await manage(service, "GET", "/settings:tester/limits")).json()
        assert [one["name"] for one in of_settings["limits"]] == ["concurrent"]
        assert (await service.stranger.get("/api/key/limits", headers=ADMIN)).json()["limits"] == []
