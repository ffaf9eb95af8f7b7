"""The service itself: what it says of itself, and what is open."""

from __future__ import annotations

import asyncio

import pytest

from mlops_backend import __version__
from mlops_backend.banner import banner
from mlops_backend.services.other.database import Database
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ORDINARY_KEY, Service, settings_for

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
JSON = {"Accept": "application/json"}


async def test_the_root_describes_the_service(service: Service) -> None:
    """Whose key comes with an `Accept` for JSON is given name, version and links; it varies by `Accept`."""
    answer = await service.client.get("/", headers=JSON)
    assert answer.headers["vary"].startswith("Accept")
    assert answer.json()["name"] == "mlops_backend"
    assert answer.json()["version"] == __version__
    for path in answer.json()["links"].values():
        assert (await service.client.get(path)).status_code in (200, 405)


@pytest.mark.parametrize("accept", [None, "*/*", "text/plain", "application/x-ndjson"])
async def test_the_root_is_ollamas_to_its_clients(service: Service, accept: str | None) -> None:
    """With a key, and an `Accept` that names neither JSON nor HTML: the text that clients of Ollama look for."""
    for client, status in ((service.client, 200), (service.stranger, 401)):
        asked = client.build_request("GET", "/", headers={"Accept": accept or ""})
        if accept is None:
            del asked.headers["Accept"]
        answer = await client.send(asked)
        assert answer.status_code == status
        if status == 200:
            assert answer.content == b"Ollama is running"
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            assert answer.headers["vary"].startswith("Accept")


@pytest.mark.parametrize("accept", ["*/*", "application/json", BROWSER["Accept"]])
async def test_the_base_address_with_a_key_in_it_is_ollamas(serve: ServeFactory, fake: FakeOllama, accept: str) -> None:
    """`/k/<key>/` says so whatever is accepted, with a slash at its end or without; a wrong key is 401."""
    async with serve(fake.url, key_in_url=True) as service:
        for path in (f"/k/{ORDINARY_KEY}", f"/k/{ORDINARY_KEY}/"):
            answer = await service.stranger.get(path, headers={"Accept": accept})
            assert (answer.status_code, answer.text) == (200, "Ollama is running")
            head = await service.stranger.head(path, headers={"Accept": accept})
            assert (head.status_code, head.content) == (200, b"")
            assert [head.headers[name] for name in ("content-type", "content-length")] == [
                answer.headers[name] for name in ("content-type", "content-length")
            ]
        assert (await service.stranger.get("/k/wrong/", headers={"Accept": accept})).status_code == 401


@pytest.mark.parametrize(("console", "page"), [(True, "console/"), (False, "docs")])
async def test_a_browser_is_sent_to_a_page(serve: ServeFactory, fake: FakeOllama, console: bool, page: str) -> None:
    """A browser without a key is redirected before any key is asked for, to the console if there is one."""
    async with serve(fake.url, console_enabled=console) as service:
        answer = await service.stranger.get("/", headers=BROWSER)
        assert (answer.status_code, answer.headers["location"]) == (302, page)
        assert "Accept" in answer.headers["vary"]
        assert (await service.stranger.get("/", headers=JSON)).status_code == 401


async def test_head_of_the_root_is_open(service: Service) -> None:
    """Ollama's own command line asks `HEAD /` before everything."""
    answer = await service.stranger.head("/")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_without_docs_nothing_of_them_is_there(serve: ServeFactory, fake: FakeOllama) -> None:
    """`DOCS_ENABLED=false`: 401 for strangers, 404 with a key, and bodies are still checked."""
    async with serve(fake.url, docs_enabled=False, console_enabled=False) as service:
        for path in ("/docs", "/openapi.json", "/docs/assets/swagger-ui.css"):
            assert (await service.stranger.get(path)).status_code == 401
            assert (await service.client.get(path)).status_code == 404
        assert (await service.stranger.get("/", headers=BROWSER)).status_code == 401
        assert (await service.client.get("/", headers=BROWSER)).status_code == 200
        assert (await service.client.post("/api/llm/generate", json={"prompt": 1})).status_code == 422
        assert (await service.client.post("/api/llm/generate", json={"prompt": "Hi"})).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/docs/assets/../../app.py", "/docs/assets/%2e%2e/%2e%2e/app.py", "/docs/assets/x", "/docs/assets/" + "a" * 300],
)
async def test_assets_are_files_of_one_folder(service: Service, path: str) -> None:
    """No asset address leaves Swagger UI's folder."""
    request = service.stranger.build_request("GET", service.url)
    request.url = request.url.copy_with(raw_path=path.encode())
    answer = await service.stranger.send(request)
    assert answer.status_code in (401, 404)


async def test_strangers_cannot_flood_a_backend_through_readiness(service: Service, fake: FakeOllama) -> None:
    """Many readiness checks share one look at the backend, and one that hangs does not hang them."""
    for _ in range(20):
        assert (await service.stranger.get("/health/ready")).status_code == 200
    assert sum(request.path == "/api/tags" for request in fake.requests) <= 2


async def test_a_service_without_its_database_is_ready_and_says_what_it_cannot(
    serve: ServeFactory, fake: FakeOllama
) -> None:
    """It serves, so it is ready; strangers are not told where the database is, and whoever started the service is."""
    async with serve(fake.url, database_url="postgresql://someone:secret-word@127.0.0.1:1/none") as service:
        answer = await service.stranger.get("/health/ready")
        trouble = service.services.get(Database).trouble
    assert answer.status_code == 200
    assert set(answer.json()) == {"status", "degraded"}
    assert answer.json()["status"] == "ready"
    assert "127.0.0.1" not in answer.text
    (line,) = [line for line in banner(settings_for(), 8000, [], trouble).splitlines() if "database" in line]
    assert line.startswith("  database  DATABASE_URL: the database is away: ")
    assert "127.0.0.1" in line
    assert "secret-word" not in line


async def test_a_service_with_its_database_says_nothing_of_it(service: Service) -> None:
    """Neither to who asks nor to who starts it."""
    assert (await service.stranger.get("/health/ready")).json() == {"status": "ready"}
    assert service.services.get(Database).trouble == ""
    assert "DATABASE_URL" not in banner(settings_for(), 8000, [])


async def test_a_hung_backend_does_not_hang_health(serve: ServeFactory, fake: FakeOllama) -> None:
    """A backend that answers nothing is reported as unreachable within `CONNECT_TIMEOUT`."""
    fake.probe_mode = Mode.HANG_BEFORE_HEADERS
    async with serve(fake.url, connect_timeout=0.1) as service:
        answer = await service.client.get("/api/llm/health")
        assert answer.status_code == 503
        assert answer.json()["backends"][0]["error"]


async def test_a_hung_backend_does_not_slow_the_other(serve: ServeFactory, fake: FakeOllama) -> None:
    """With one of two backends hung, generations for the other, and readiness, do not wait for it."""
    async with FakeOllama(probe_mode=Mode.HANG_BEFORE_HEADERS) as hung, serve(hung.url, fake.url) as service:
        async with asyncio.timeout(2):
            assert (await service.stranger.get("/health/ready")).status_code == 200
            for _ in range(3):
                answer = await service.client.post("/api/llm/generate", json={"model": "llama3", "prompt": "Hi"})
                assert answer.status_code == 200


async def test_two_applications_live_side_by_side(serve: ServeFactory, fake: FakeOllama) -> None:
    """`create_app` twice in one process gives two whole applications."""
    async with serve(fake.url) as one, serve(fake.url) as two:
        for service in (one, two):
            paths = (await service.stranger.get("/openapi.json")).json()["paths"]
            assert "/api/llm/stream" in paths
            assert (await service.client.post("/api/llm/generate", json={"prompt": "Hi"})).status_code == 200


async def test_a_websocket_is_refused(service: Service) -> None:
    """There is no websocket route, and no way round the keys by asking for one."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    answer = await service.stranger.get("/api/llm/models", headers=headers)
    assert answer.status_code == 401
