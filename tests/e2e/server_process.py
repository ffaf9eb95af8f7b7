"""The service as its users run it: a process of its own, in an empty directory, with a clean environment."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from tests.databases import sqlite_template
from tests.e2e.processes import REPOSITORY, clean_environment

KEY = "key-of-the-process-tests"
COMMAND = (sys.executable, "-m", "mlops_backend")
# How many processes the service has; fixtures of modules whose tests hold for any number set it.
WORKERS = "1"
_ADDRESS = re.compile(r"^ +address +(http://\S+)$", re.MULTILINE)
_STARTED = re.compile(r"^ +key +.*$", re.MULTILINE)


class ServerProcess:
    """A running command, what it has printed so far, and how it ends."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.output = ""
        self.errors = ""
        self._process = process
        self._changed = asyncio.Event()
        self._readers = [
            asyncio.create_task(self._read(process.stdout, "output")),
            asyncio.create_task(self._read(process.stderr, "errors")),
        ]

    @property
    def pid(self) -> int:
        """The process's id, and that of its group."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The address that the banner tells."""
        found = _ADDRESS.search(self.output)
        assert found, self.report()
        return found[1]

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client that carries the key, and keeps no connection for later."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        headers = {"X-API-Key": KEY, **headers}
        return httpx.AsyncClient(
            base_url=self.url, headers=headers, limits=limits, timeout=60, trust_env=False, verify=False
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self._process.send_signal(number)

    async def printed(self, pattern: str | re.Pattern[str], seconds: float = 90) -> None:
        """Wait until standard output matches."""
        try:
            async with asyncio.timeout(seconds):
                while not re.search(pattern, self.output):
                    assert not all(reader.done() for reader in self._readers), "it ended"
                    self._changed.clear()
                    await self._changed.wait()
        except (TimeoutError, AssertionError) as error:
            raise AssertionError(f"{pattern} was not printed ({error!r}):\n{self.report()}") from None

    async def ended(self, seconds: float = 60) -> int:
        """Wait for the end, and for the last of what was printed; returns the exit status."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*self._readers)
                return await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"still running after {seconds} s:\n{self.report()}") from None

    def left_something(self) -> bool:
        """Whether some process of the group is still there."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    async def kill(self) -> None:
        """Leave nothing behind, whatever the test came to."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)

    def report(self) -> str:
        """What was printed, cut to a bearable length."""
        return f"{self.output[-3000:]}\n--- stderr\n{self.errors[-3000:]}"

    async def _read(self, stream: asyncio.StreamReader, name: str) -> None:
        try:
            while data := await stream.read(65536):
                setattr(self, name, getattr(self, name) + data.decode())
                self._changed.set()
        finally:
            self._changed.set()


@asynccontextmanager
async def running(
    folder: Path, command: Sequence[str], variables: Mapping[str, str], path: Sequence[Path] = (REPOSITORY,)
) -> AsyncIterator[ServerProcess]:
    """Run a command in `folder` until the block ends; it sees the modules of `path` and no developer's settings."""
    # Reading all whom the system trusts takes a good part of a start; a test whose backend speaks TLS names its own.
    trusted = {"SSL_CERT_FILE": os.devnull, **variables}
    environment = clean_environment(PYTHONPATH=os.pathsep.join(map(str, path)), **trusted)
    process = ServerProcess(
        await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
    )
    try:
        yield process
    finally:
        await process.kill()


@asynccontextmanager
async def serving_process(folder: Path, *backends: str, **variables: str) -> AsyncIterator[ServerProcess]:
    """`python -m mlops_backend` on a free port, its banner already printed, until the block ends."""
    settings = {
        "HOST": "127.0.0.1",
        "PORT": "0",
        "API_KEY": KEY,
        "EMBEDDED_ENGINE": "off",
        "OLLAMA_BASE_URL": ",".join(backends),
        "WORKERS": WORKERS,
        # What leaks, or is never awaited, shows on standard error.
        "PYTHONWARNINGS": "always::RuntimeWarning,always::ResourceWarning",
        **variables,
    }
    if "DATABASE_URL" not in variables:
        put_tables(folder / "data" / "mlops_backend.db")
    async with running(folder, COMMAND, settings) as process:
        await process.printed(_STARTED)
        yield process


def put_tables(file: Path) -> None:
    """As the first start would leave them, which takes a second interpreter a second; a file that is there stays."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.write_bytes(sqlite_template())
        file.chmod(0o600)
