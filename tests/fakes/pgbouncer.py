"""A real PgBouncer before the tests' PostgreSQL, on a unix socket: each transaction gets any of its connections."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

import pytest

_PATIENCE = 10.0
_PORT = 6432
_KEEPS_STATEMENTS = (1, 21)
_CONFIGURATION = """\
[databases]
* = host={host} port=5432 user={user}
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 200
max_prepared_statements = 0
"""


def _program() -> str:
    """Debian's, which stands where an ordinary user's path does not lead; where there is none the test is skipped."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip("no PgBouncer here; Debian's package pgbouncer has it")
    return found


class PgBouncer:
    """It keeps no prepared statements: before 1.21 none did, and later ones are told not to.

    Args:
        database: the address of a database of `Postgres`.
        connections: how many there are to the database, for all clients together.
        user: whom the database takes it for.
    """

    def __init__(self, database: str, connections: int = 4, user: str = "postgres") -> None:
        parts = urlsplit(database)
        self._name = parts.path.removeprefix("/")
        [self._host] = parse_qs(parts.query)["host"]
        self._connections = connections
        self._user = user
        self._folder = Path(tempfile.mkdtemp(prefix="pgb-", dir="/tmp"))  # the path of a socket must be short
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the database behind it."""
        return f"postgresql://postgres@/{self._name}?host={self._folder}&port={_PORT}"

    def __enter__(self) -> PgBouncer:
        program, owner = _program(), os.stat(self._host)
        file = self._folder / "pgbouncer.ini"
        text = _CONFIGURATION.format(
            host=self._host, port=_PORT, folder=self._folder, connections=self._connections, user=self._user
        )
        version = subprocess.run([program, "--version"], capture_output=True, check=True, text=True).stdout
        if tuple(map(int, version.split()[1].split(".")[:2])) < _KEEPS_STATEMENTS:
            text = text.replace("max_prepared_statements = 0\n", "")
        file.write_text(text)
        user: int | None = None
        if os.getuid() == 0:  # it refuses to be root, as PostgreSQL does
            user = owner.st_uid
            os.chown(self._folder, user, owner.st_gid)
        self._process = subprocess.Popen(
            [program, "--quiet", str(file)], user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _PATIENCE
        while not self._listens():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError("PgBouncer does not start")
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._folder / f".s.PGSQL.{_PORT}"))
            except OSError:
                return False
            return True
