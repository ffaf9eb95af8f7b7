"""Starts a real server, with a model made for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import free_port
from tests.servers.real.environments import environment
from tests.servers.real.kinds import Server
from tests.servers.real.processes import running
from tests.servers.real.systems import system


@dataclass(frozen=True)
class Missing:
    """Why a server cannot be had."""

    why: str


def interpreter(kind: Server) -> str | Missing:
    """The Python that has a server's packages, or the system that has it; installs them once."""
    if kind.debian:
        found = system(kind.debian)
        return Missing(found) if isinstance(found, str) else str(found)
    if not kind.needs:
        return sys.executable
    folder = environment(kind.folder, kind.needs, kind.without)
    return Missing(folder) if isinstance(folder, str) else str(folder / "bin" / "python")


@contextmanager
def started(kind: Server, python: str, home: Path) -> Iterator[tuple[str, str]]:
    """The server's address and what it calls its model, until the block ends."""
    kind.write(home / "model")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(kind.command(python, home / "model", port), home, kind.variables, url + kind.ready, kind.seconds):
        yield url, kind.model(home / "model")
