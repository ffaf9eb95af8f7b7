"""Starts a real server, with a model made for it, and the server behind it, if it passes requests on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import free_port
from tests.servers.real.environments import environment
from tests.servers.real.kinds import WORKER, Server
from tests.servers.real.processes import running
from tests.servers.real.systems import system


@dataclass(frozen=True)
class Missing:
    """Why a server cannot be had."""

    why: str


@dataclass(frozen=True)
class Running:
    """A server that serves.

    Attributes:
        url: its address.
        model: what it calls its model.
        process: the head of its own group of processes.
        worker: the server behind it.
    """

    url: str
    model: str
    process: subprocess.Popen[bytes]
    worker: Running | None = None


def interpreter(kind: Server) -> str | Missing:
    """The Python that has a server's packages, or the system that has it; installs them once, the one behind it too."""
    if kind.worker and isinstance(missing := interpreter(kind.worker), Missing):
        return missing
    if kind.debian:
        found = system(kind.debian)
        return Missing(found) if isinstance(found, str) else str(found)
    if not kind.needs:
        return sys.executable
    folder = environment(kind.folder, kind.needs, kind.without)
    return Missing(folder) if isinstance(folder, str) else str(folder / "bin" / "python")


@contextmanager
def started(kind: Server, python: str, home: Path) -> Iterator[Running]:
    """The server, until the block ends."""
    with ExitStack() as stack:
        worker = stack.enter_context(_behind(kind.worker, home / "worker")) if kind.worker else None
        if worker is None:
            kind.write(home / "model")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [
            worker.url if worker and part == WORKER else part for part in kind.command(python, home / "model", port)
        ]
        process = stack.enter_context(running(command, home, kind.variables, url + kind.ready, kind.seconds))
        yield Running(url, worker.model if worker else kind.model(home / "model"), process, worker)


@contextmanager
def _behind(kind: Server, home: Path) -> Iterator[Running]:
    python = interpreter(kind)
    assert isinstance(python, str), python.why
    home.mkdir()
    with started(kind, python, home) as worker:
        yield worker
