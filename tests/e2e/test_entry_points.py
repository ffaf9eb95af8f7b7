"""Every way to start the service: what it prints, what it refuses, and that it serves."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from mlops_backend import __version__
from mlops_backend.__main__ import main
from tests.conftest import ServeFactory
from tests.databases import Postgres
from tests.e2e.processes import REPOSITORY, free_port
from tests.e2e.server_process import COMMAND, KEY, ServerProcess, put_tables, running, serving_process
from tests.fakes.ollama import FakeOllama
from tests.service import Service, serving, settings_for

HYPERCORN = (sys.executable, "-m", "hypercorn")
CONFIGURED = (*HYPERCORN, "-c", f"file:{REPOSITORY / 'hypercorn_conf.py'}", "wsgi:app")
QUART = (sys.executable, "-m", "quart", "run")
SECRET = "hunter2-secret"
# How our own command begins the line that says why it does not serve.
OURS = "The service cannot start: "
# What a module map holds for a package that cannot be imported.
NO_ENGINE = "import sys\nsys.modules['xllamacpp'] = None\n"


async def until_it_answers(url: str, seconds: float = 15) -> httpx.Response:
    """The answer of `/health`, as soon as there is one: other servers print no banner to wait for."""
    async with asyncio.timeout(seconds), httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                return await client.get(f"{url}/health")
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def one_line_of_refusal(process: ServerProcess, status: int) -> str:
    """The one line on standard error that a command ends with, and nothing else printed."""
    assert await process.ended() == status, process.report()
    assert process.output == ""
    (line,) = process.errors.splitlines()
    return line


async def test_banner_tells_what_a_newcomer_needs(fake: FakeOllama, tmp_path: Path) -> None:
    """The banner names address, backend, where the key is, the console and the docs; no secret is ever printed."""
    backend = fake.url.replace("//", f"//user:{SECRET}@")
    async with serving_process(tmp_path, backend, DEFAULT_MODEL="llama3") as service, service.client() as client:
        assert (await client.get("/api/llm/models")).status_code == 200
        assert (await client.get("/docs")).status_code == 200
        masked = fake.url.replace("//", "//***@")
        banner = f"""
mlops_backend {__version__}
  address   {service.url}
  backend   {masked} (ollama API): llama3:latest
  model     llama3, unless a request names another
  key       API_KEY in the environment; send it as X-API-Key
  console   {service.url}/console
  docs      {service.url}/docs
"""
        assert banner in f"\n{service.output}"
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0
        for secret in (KEY, SECRET):
            assert secret not in service.output + service.errors


@pytest.mark.long
async def test_banner_tells_when_the_key_is_in_the_file(fake: FakeOllama, tmp_path: Path) -> None:
    """With the key in `.env` the banner says so; without docs it names none."""
    settings = f"API_KEY={SECRET}\nOLLAMA_BASE_URL={fake.url}\nHOST=127.0.0.1\nPORT=0\nDOCS_ENABLED=false\n"
    (tmp_path / ".env").write_text(settings, "utf-8")
    async with running(tmp_path, COMMAND, {}) as service:
        await service.printed(r"  key       API_KEY in \.env; send it as X-API-Key\n")
        await until_it_answers(service.url)
        assert "/docs" not in service.output
        assert SECRET not in service.output


async def test_taken_port_is_told_in_one_line(fake: FakeOllama, tmp_path: Path) -> None:
    """A port that somebody else has: exit status 1 and one line that names it, no stack trace."""
    settings = {"HOST": "127.0.0.1", "PORT": str(fake.port), "EMBEDDED_ENGINE": "off"}
    async with running(tmp_path, COMMAND, settings) as service:
        line = await one_line_of_refusal(service, 1)
        assert line == f"HOST, PORT: cannot listen on 127.0.0.1:{fake.port}: Address already in use"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "65536"),
        ("API_KEY", ""),
        ("API_KEY", f"{SECRET} with a space"),
        ("API_KEYS", SECRET),
        ("API_KEYS", f"name:{SECRET},:{SECRET}"),
        ("OLLAMA_BASE_URL", f"ftp://user:{SECRET}@x"),
        ("OLLAMA_BASE_URL", "http://one:11434,two:11434"),
        ("CONNECT_TIMEOUT", "-1"),
        ("IDLE_TIMEOUT", "inf"),
        ("LOG_LEVEL", "loud"),
        ("TRUSTED_PROXIES", "x"),
        ("EMBEDDED_ENGINE", "maybe"),
        ("DEBUG", "perhaps"),
        ("EVENT_LOOP", "fast"),
    ],
)
def test_wrong_setting_is_named_in_one_line(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that cannot be used: status 2 and one line that names the variable and shows no secret."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    assert main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"{name}: ")
    assert SECRET not in line


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (COMMAND, 2),
        pytest.param(CONFIGURED, 1, marks=pytest.mark.long),
        pytest.param((*QUART, "--port", "0"), 1, marks=pytest.mark.long),
    ],
)
async def test_wrong_setting_stops_every_entry_point(tmp_path: Path, command: tuple[str, ...], status: int) -> None:
    """Whatever the command, a wrong setting ends it with one line and a status that is not 0."""
    async with running(tmp_path, command, {"QUART_APP": "wsgi:app", "API_KEY": ""}) as process:
        line = await one_line_of_refusal(process, status)
        assert line.startswith("API_KEY: must not be empty")


@pytest.mark.parametrize(
    ("name", "value", "command", "status"),
    [
        ("PASSTHROUGH_ROUTES", "POST /api/chat", COMMAND, 2),
        pytest.param("PASSTHROUGH_ROUTES", "POST /v1/a,POST /v1/a", CONFIGURED, 1, marks=pytest.mark.long),
        pytest.param("DEFAULT_MODEL", "gpt-oss:120b-cloud", COMMAND, 2, marks=pytest.mark.long),
        ("DEFAULT_MODEL", "gpt-oss:120b-cloud", (*QUART, "--port", "0"), 1),
    ],
)
async def test_what_only_the_application_can_tell_stops_every_entry_point(
    tmp_path: Path, name: str, value: str, command: tuple[str, ...], status: int
) -> None:
    """So does a route to let through that is there already, and a model that may not be used."""
    settings = {"QUART_APP": "wsgi:app", "API_KEY": KEY, "PORT": "0", name: value}
    async with running(tmp_path, command, settings) as process:
        line = await one_line_of_refusal(process, status)
        assert line.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "words", "command", "before"),
    [
        ("garbage.db", "cannot be used: file is not a database", COMMAND, OURS),
        pytest.param("folder", "is a directory", CONFIGURED, "", marks=pytest.mark.long),
        pytest.param(
            "garbage.db/x.db",
            "cannot be made: {folder}/garbage.db is no folder",
            COMMAND,
            OURS,
            marks=pytest.mark.long,
        ),
    ],
)
async def test_a_file_that_is_no_database_stops_start_up(
    tmp_path: Path, name: str, words: str, command: tuple[str, ...], before: str
) -> None:
    """Status 1 and one line that names the setting and says what is wrong, no stack trace."""
    (tmp_path / "garbage.db").write_bytes(os.urandom(4096))
    (tmp_path / "folder").mkdir()
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/{name}", "API_KEY": KEY, "HOST": "127.0.0.1", "PORT": "0"}
    async with running(tmp_path, command, {**settings, "EMBEDDED_ENGINE": "off"}) as process:
        line = await one_line_of_refusal(process, 1)
        assert line == f"{before}DATABASE_URL: {tmp_path}/{name} {words.format(folder=tmp_path)}"


@pytest.fixture
def refusing_postgres(postgres: Postgres) -> str:
    """The address of a PostgreSQL with a role that may not make tables."""
    role = f"role_{uuid4().hex}"
    postgres.execute(f"CREATE ROLE {role} LOGIN")
    return postgres.empty().replace("postgres@", f"{role}@")


@pytest.mark.parametrize(("command", "before"), [(COMMAND, OURS), pytest.param(CONFIGURED, "", marks=pytest.mark.long)])
async def test_a_postgresql_that_refuses_the_tables_stops_start_up(
    tmp_path: Path, refusing_postgres: str, command: tuple[str, ...], before: str
) -> None:
    """In the same way: status 1, the setting, the cause and what to do, and no stack trace."""
    settings = {"DATABASE_URL": refusing_postgres, "API_KEY": KEY, "HOST": "127.0.0.1", "PORT": "0"}
    async with running(tmp_path, command, {**settings, "EMBEDDED_ENGINE": "off"}) as process:
        line = await one_line_of_refusal(process, 1)
    assert line.startswith(f"{before}DATABASE_URL: PostgreSQL refuses the tables: permission denied for schema public;")


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
async def test_hypercorn_serves_with_its_configuration(fake: FakeOllama, tmp_path: Path, workers: int) -> None:
    """`hypercorn -c file:hypercorn_conf.py wsgi:app` serves by the same settings, with several workers as well."""
    settings = {"HOST": "127.0.0.1", "PORT": str(free_port()), "OLLAMA_BASE_URL": fake.url, "API_KEY": KEY}
    put_tables(tmp_path / "data" / "mlops_backend.db")
    async with running(tmp_path, [*CONFIGURED, "-w", str(workers)], settings) as process:
        url = f"http://127.0.0.1:{settings['PORT']}"
        answer = await until_it_answers(url)
        assert answer.json() == {"status": "ok", "version": __version__}
        assert "server" not in answer.headers
        async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": KEY}, trust_env=False) as client:
            answer = await client.post("/api/llm/stream", json={"prompt": "Hi"})
            assert answer.text.splitlines()[-1].count('"done":true') == 1
        children = psutil.Process(process.pid).children(recursive=True)
        assert sum("spawn_main" in str(child.cmdline()) for child in children) == workers
        process.signal(signal.SIGTERM)
        await process.ended()
        assert not psutil.wait_procs(children, timeout=20)[1]
        assert process.errors == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which libraries a process has loaded")
@pytest.mark.parametrize(
    ("command", "loop"),
    [
        pytest.param(COMMAND, "asyncio", id="our own-asyncio"),
        pytest.param(COMMAND, "uvloop", id="our own-uvloop", marks=pytest.mark.long),
        pytest.param(CONFIGURED, "asyncio", id="Hypercorn's-asyncio", marks=pytest.mark.long),
        pytest.param(CONFIGURED, "uvloop", id="Hypercorn's-uvloop", marks=pytest.mark.long),
    ],
)
async def test_the_loop_that_is_named_serves(
    fake: FakeOllama, tmp_path: Path, command: tuple[str, ...], loop: str
) -> None:
    """Whoever starts it."""
    port = str(free_port())
    settings = {"HOST": "127.0.0.1", "PORT": port, "OLLAMA_BASE_URL": fake.url, "API_KEY": KEY, "EVENT_LOOP": loop}
    put_tables(tmp_path / "data" / "mlops_backend.db")
    async with running(tmp_path, command, settings) as process:
        assert (await until_it_answers(f"http://127.0.0.1:{port}", 30)).status_code == 200
        started = psutil.Process(process.pid)
        loaded = [found.path for each in (started, *started.children()) for found in each.memory_maps()]
        assert any("uvloop" in path for path in loaded) is (loop == "uvloop")


async def test_bare_quart_run_serves(fake: FakeOllama, tmp_path: Path) -> None:
    """A bare `quart run` serves, for `.env` names the application and the port."""
    port = free_port()
    example = (REPOSITORY / ".env.example").read_text("utf-8")
    assert re.search(r"^QUART_APP=wsgi:app$", example, re.MULTILINE)
    text = re.sub(r"^QUART_RUN_PORT=.*$", f"QUART_RUN_PORT={port}", example, flags=re.MULTILINE)
    (tmp_path / ".env").write_text(f"{text}\nOLLAMA_BASE_URL={fake.url}\n", "utf-8")
    async with running(tmp_path, QUART, {}) as process:
        answer = await until_it_answers(f"http://127.0.0.1:{port}")
        assert answer.json()["status"] == "ok"
        process.signal(signal.SIGINT)
        await process.ended()


@pytest.mark.long
async def test_debug_restarts_when_a_source_changes(fake: FakeOllama, tmp_path: Path) -> None:
    """With DEBUG=true a changed source file restarts the service at the same address."""
    package = tmp_path / "source" / "mlops_backend"
    shutil.copytree(REPOSITORY / "mlops_backend", package, ignore=shutil.ignore_patterns("__pycache__"))
    settings = {"HOST": "127.0.0.1", "PORT": str(free_port()), "OLLAMA_BASE_URL": fake.url, "DEBUG": "true"}
    async with running(tmp_path, COMMAND, settings, [package.parent]) as service:
        await service.printed(r"  docs  ")
        source = package / "__init__.py"
        source.write_text(source.read_text("utf-8").replace(f'"{__version__}"', '"9.9.9"'), "utf-8")
        await service.printed(r"mlops_backend 9\.9\.9\n(?:.*\n)*  docs  ")
        assert (await until_it_answers(service.url)).json()["version"] == "9.9.9"
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0
        assert service.errors == ""


async def test_missing_engine_is_told_with_its_cure(tmp_path: Path) -> None:
    """EMBEDDED_ENGINE=on without its packages: status 1 and one line with the command that installs them."""
    (tmp_path / "sitecustomize.py").write_text(NO_ENGINE, "utf-8")
    settings = {"HOST": "127.0.0.1", "PORT": "0", "API_KEY": KEY, "EMBEDDED_ENGINE": "on"}
    settings["DATABASE_URL"] = os.environ["DATABASE_URL"]  # whose tables are there, so that there is nothing to tell
    async with running(tmp_path, COMMAND, settings, [tmp_path, REPOSITORY]) as service:
        assert await service.ended() == 1
        (line,) = service.errors.splitlines()
        assert line.startswith("The service cannot start: The embedded engine needs")
        assert re.search(r"-m pip install \S.* -r requirements-embedded\.txt$", line)
        assert service.output == ""


async def test_two_applications_in_one_process(serve: ServeFactory, fake: FakeOllama) -> None:
    """`create_app` builds applications that do not share anything, their documentation included."""
    async with AsyncExitStack() as scope:
        one: Service = await scope.enter_async_context(serve(fake.url))
        two: Service = await scope.enter_async_context(serving(settings_for(fake.url, docs_enabled=True)))
        assert one.admission is not two.admission
        described = [await service.stranger.get("/openapi.json") for service in (one, two)]
        assert described[0].json() == described[1].json()
        assert len(described[0].json()["paths"]) >= 10
        for service in (one, two):
            answer = await service.client.post("/api/llm/generate", json={"prompt": "Hi"})
            assert answer.json()["done"] is True
