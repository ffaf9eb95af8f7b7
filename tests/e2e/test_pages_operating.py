"""The blocks of the pages for operators: run as they stand, but for addresses, ids and what stands for Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx
import pytest
import pytest_asyncio

from mlops_backend.services.other.database import Database, current
from mlops_backend.services.other.database.tables import HEAD
from mlops_backend.setting_stores import database_url
from tests.databases import Postgres, postgres_programs
from tests.e2e.newcomer import Newcomer, make_home, need
from tests.e2e.page_blocks import read_blocks
from tests.e2e.processes import free_port
from tests.e2e.server_process import running
from tests.e2e.test_pages import until_it_answers
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, Service, serving, settings_for

BLOCKS: Final = read_blocks()
KEY: Final = {"X-API-Key": ADMIN_KEY}


@pytest_asyncio.fixture
async def operated(tmp_path: Path) -> AsyncIterator[tuple[Service, Newcomer]]:
    """A service before a fake Ollama, its database where its commands look for it, and its operator."""
    make_home(tmp_path)
    database = f"sqlite:///{tmp_path}/data/mlops_backend.db"
    async with FakeOllama() as fake, serving(settings_for(fake.url, database_url=database)) as service:
        yield service, Newcomer(tmp_path, ADMIN_KEY, service.url.removeprefix("http://"))


async def test_a_key_is_handed_out_and_ended(operated: tuple[Service, Newcomer]) -> None:
    """The operator's four commands make a key, show the bill, change the budget and revoke the key."""
    service, operator = operated
    first, *rest = operator.text_of(BLOCKS["operate-keys"]).splitlines()
    assert (await operator.shell(first)).startswith("mlb_")
    (made,) = (await service.client.get("/api/admin/keys", headers=KEY)).json()["keys"]
    printed = await operator.shell("\n".join(rest).replace("key_…", made["id"]))
    assert '"tokens_per_day":200000' in printed
    (ended,) = (await service.client.get("/api/admin/keys?revoked=true", headers=KEY)).json()["keys"]
    assert ended["state"] == "revoked"


async def test_the_bill_of_a_month(operated: tuple[Service, Newcomer]) -> None:
    """The bill has rows and a total."""
    assert {"rows", "total"} <= json.loads(await operated[1].shell(operated[1].text_of(BLOCKS["usage-month"]))).keys()


async def test_the_level_of_the_log_is_changed(operated: tuple[Service, Newcomer]) -> None:
    """The command of the page has the service log at another level, for as long as it says."""
    told = json.loads(await operated[1].shell(operated[1].text_of(BLOCKS["log-level"])))
    assert (told["level"], told["configured"]) == ("DEBUG", "INFO")
    assert 290 < told["seconds_left"] <= 300


async def test_a_page_has_a_key_of_its_own(operated: tuple[Service, Newcomer]) -> None:
    """The command for the example's key prints a key."""
    assert (await operated[1].shell(BLOCKS["example-key"].text)).startswith("mlb_")


async def test_the_example_is_served(tmp_path: Path) -> None:
    """The command serves the example as a page."""
    (tmp_path / "docs").symlink_to(Path(__file__).parents[2] / "docs")
    port = str(free_port())
    command = BLOCKS["example-serve"].text.replace("python", "python3", 1).replace("3000", f"{port} --bind 127.0.0.1")
    async with running(tmp_path, command.split(), {}, path=()) as process:
        await until_it_answers(f"http://127.0.0.1:{port}/conversation.html", process)


async def test_limits_are_told_as_the_page_shows() -> None:
    """The page's two headers have the form of those that a limited key is sent."""
    limits = {"requests": "60/minute", "tokens_per_day": 100_000, "concurrent": 4}
    async with FakeOllama() as fake, serving(settings_for(fake.url)) as service:
        made = (await service.client.post("/api/admin/keys", json={"name": "a", "limits": limits}, headers=KEY)).json()
        answer = await service.client.post(
            "/api/llm/generate", json={"prompt": "Hi"}, headers={"X-API-Key": made["key"]}
        )
    for line in BLOCKS["limits-headers"].text.splitlines():
        name, _, shown = line.partition(": ")
        sent = answer.headers[name]
        assert sent == shown if name.endswith("Policy") else re.sub(r"\d+", "0", sent) == re.sub(r"\d+", "0", shown)


async def test_replicas_stand_behind_nginx(operated: tuple[Service, Newcomer], tmp_path: Path) -> None:
    """Nginx takes the page's configuration, passes requests on and keeps `/metrics` to itself."""
    need("nginx")
    operator = operated[1]
    port = free_port()
    servers = re.sub(r"\b(one|two):8000", operator.host, BLOCKS["replicas-nginx"].text)
    paths = "".join(
        f"{name}_temp_path {tmp_path}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    http = f"error_log stderr; access_log off; {paths} {servers.replace('listen 80', f'listen 127.0.0.1:{port}')}"
    (tmp_path / "nginx.conf").write_text(f"daemon off; pid {tmp_path}/pid; events {{}} http {{ {http} }}")
    command = (shutil.which("nginx") or "", "-p", str(tmp_path), "-e", "stderr", "-c", "nginx.conf")
    async with running(tmp_path, command, {}, path=()) as process, httpx.AsyncClient(trust_env=False) as client:
        await until_it_answers(f"http://127.0.0.1:{port}/health", process)
        assert (await client.get(f"http://127.0.0.1:{port}/metrics", headers=KEY)).status_code == 404
        assert (await client.get(f"http://127.0.0.1:{port}/api/llm/streams/none")).status_code in {204, 404}


@pytest.mark.parametrize("line", [0, 1], ids=["sqlite3", "docker"])
async def test_sqlite_is_backed_up_and_restored(line: int, tmp_path: Path) -> None:
    """Each command copies a database in use; with the service stopped, those to restore put the copy in its place."""
    make_home(tmp_path)
    operator = Newcomer(tmp_path, ADMIN_KEY, "")
    settings = settings_for("http://127.0.0.1:1", database_url=f"sqlite:///{tmp_path}/data/mlops_backend.db")
    command = BLOCKS["backup-sqlite"].text.splitlines()[line]
    if line == 0:
        need("sqlite3")
    async with serving(settings) as service:
        await service.client.post("/api/admin/keys", json={"name": "kept"}, headers=KEY)
        inside = command.replace("docker exec mlops_backend python", ".venv/bin/python")
        await operator.shell(inside.replace("'/data/backup.db'", "'backup.db'").replace("/data/", "data/"))
        await service.client.post("/api/admin/keys", json={"name": "made later"}, headers=KEY)
    await operator.shell(BLOCKS["restore-sqlite"].text)
    with closing(sqlite3.connect(operator.home / "data" / "mlops_backend.db")) as database:
        assert database.execute("SELECT name FROM api_keys").fetchall() == [("kept",)]


@pytest.fixture(name="address")
def _address(postgres: Postgres) -> str:
    return postgres.fresh()


async def test_postgresql_is_backed_up_and_restored(address: str, tmp_path: Path) -> None:
    """The commands write a dump, and put it in the place of what is there now."""
    script = BLOCKS["backup-postgresql"].text.replace("postgresql://mlops@db.example/mlops", f"'{address}'")
    operator = Newcomer(tmp_path, ADMIN_KEY, "")
    await operator.run("sh", "-euc", script, PATH=f"{postgres_programs()}:{os.environ['PATH']}")
    database = Database(database_url(address))
    try:
        async with database.migrating() as connection:
            assert await current(connection) == HEAD
    finally:
        await database.aclose()


@pytest.fixture(name="empty")
def _empty(postgres: Postgres) -> str:
    return postgres.empty()


async def test_all_is_copied_into_postgresql(empty: str, operated: tuple[Service, Newcomer]) -> None:
    """The command carries the keys over, and tells how many rows each table got."""
    service, operator = operated
    await service.client.post("/api/admin/keys", json={"name": "carried"}, headers=KEY)
    script = BLOCKS["db-copy"].text.replace("postgresql://mlops@db.example/mlops", f"'{empty}'")
    rows = dict(line.split("\t") for line in (await operator.shell(script)).splitlines())
    assert rows["api_keys"] == "1"


async def test_tables_go_back_a_step(operated: tuple[Service, Newcomer], tmp_path: Path) -> None:
    """The commands print the step of the tables, and then the one they went back to."""
    printed = (await Newcomer(tmp_path, ADMIN_KEY, "").shell(BLOCKS["downgrade"].text)).split()
    assert printed == [HEAD, "0001"]
