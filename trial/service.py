"""The service under trial: the built one, as a process of its own, with its own folder and environment."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bench.processes import ROOT, free_port
from trial import proc, wire

DRAIN = 3
STOP_TIME = DRAIN + 10.0
START_TIME = 30.0
ADMIN = "administrator-of-the-trial-0123456789abcdef"
NAMES = ("neighbour", "one", "two", "three", "four", "five", "marked")
KEYS = {name: f"{name}-key-of-the-trial-0123456789abcdef" for name in NAMES}


@dataclass(frozen=True)
class Stage:
    """How a case wants the service started.

    `output` says where its log goes: `file`, `gone` (a pipe without a reader), `unread` (one that nobody reads) or
    `full` (a full disk). `small_disk` is so many KiB for the database's folder, 0 for an ordinary one.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    output: str = "file"
    log_begins_at: int = 0
    small_disk: int = 0


class Service:
    """One service process."""

    def __init__(self, stage: Stage, folder: Path, backend_port: int) -> None:
        self._stage = stage
        self.folder = folder
        self.disk = folder / "disk"
        self.database = self.disk / "ledger.db"
        self.log = folder / "log"
        self._errors = folder / "errors"
        self.port = free_port()
        self._backend = f"http://{wire.HOST}:{backend_port}"
        self._reader: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The status that it ended with, if it has."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start the process; see `answers`."""
        bounds = [f"{name}={most}" for name, most in self._stage.limits.items()]
        command = [sys.executable, "-m", "trial.launch", *bounds, "--", sys.executable, "-m", "mlops_backend"]
        with self._output() as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self._environment(), stdout=output, stderr=errors
            )

    async def answers(self) -> None:
        """Wait until it answers.

        Raises:
            RuntimeError: it does not, in time.
        """
        deadline = time.monotonic() + START_TIME
        request = wire.head("GET", "/health", {"Connection": "close"})
        while (await wire.ask(self.port, request, 2.0)).status != 200:
            if self.ended is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service does not start: {self.log_text()[-500:]}")
            await asyncio.sleep(0.05)
        if self._stage.output == "gone":
            self._close_reader()

    async def stop(self) -> tuple[float, bool]:
        """Send SIGTERM; return after how many seconds it ended, and whether it did so by itself."""
        assert self._process is not None
        begun = time.monotonic()
        if self.ended is not None:
            return 0.0, False
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, STOP_TIME)
        except subprocess.TimeoutExpired:
            return STOP_TIME, False
        return time.monotonic() - begun, True

    def clean(self) -> None:
        """End it if it still runs."""
        self._close_reader()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used; 0 of one that has ended."""
        try:
            return proc.cpu_seconds(self.pid)
        except OSError:
            return 0.0

    def log_size(self) -> int:
        """Return how many bytes it has logged, on both outputs, to files."""
        return sum(path.stat().st_size for path in (self.log, self._errors) if path.exists())

    def log_text(self) -> str:
        """Return what it has logged, on both outputs, to files."""
        found = [path.read_bytes() for path in (self.log, self._errors) if path.exists()]
        return b"".join(found).lstrip(b"\0").decode(errors="replace")

    def _output(self) -> IO[bytes]:
        if self._stage.output == "file":
            with self.log.open("wb") as log:
                log.truncate(self._stage.log_begins_at)
            return self.log.open("ab")
        if self._stage.output == "full":
            return open("/dev/full", "wb", buffering=0)
        self._reader, end = os.pipe()
        return os.fdopen(end, "wb", buffering=0)

    def _close_reader(self) -> None:
        if self._reader is not None:
            with suppress(OSError):
                os.close(self._reader)
            self._reader = None

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOST": wire.HOST,
            "PORT": str(self.port),
            "API_KEY": ADMIN,
            "API_KEYS": ",".join(f"{name}:{key}" for name, key in KEYS.items()),
            "OLLAMA_BASE_URL": self._backend,
            "DATABASE_URL": f"sqlite:///{self.database}",
            "EMBEDDED_ENGINE": "off",
            "DRAIN_TIMEOUT": str(DRAIN),
            "LOG_FORMAT": "json",
            **self._stage.settings,
        }
