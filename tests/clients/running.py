"""Runs a driver before a service, and reads what it tells."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from tests.clients.catalogue import Client
from tests.clients.environments import Packages
from tests.clients.play import NOTE, NOTE_FILE, PICTURE, PICTURE_FILE
from tests.clients.stages import Stage
from tests.clients.verdicts import Cell, Verdict, judged, steps_of
from tests.e2e.newcomer import node_program
from tests.e2e.processes import clean_environment, free_port

DRIVERS: Final = Path(__file__).with_name("drivers")
LONGEST: Final = 400.0
_TAIL: Final = 300

Told = dict[str, dict[str, Any]]


class Driven(Protocol):
    """What has a driver, and what the driver is made of."""

    @property
    def driver(self) -> str:
        """The program in `drivers`."""

    @property
    def packages(self) -> Packages:
        """What it needs."""


class Place(Protocol):
    """Where a driver runs."""

    @property
    def variables(self) -> dict[str, str]:
        """What the driver is told."""


async def cells_of(client: Client, stage: Stage, folder: Path, home: Path) -> dict[str, Cell]:
    """Run a client's steps before a service; `folder` has its packages, `home` is an empty one."""
    (home / NOTE_FILE).write_text(NOTE, "utf-8")
    (home / PICTURE_FILE).write_bytes(b64decode(PICTURE))
    stage.begin(client.agent, home)
    told, complaint = await driven(client, stage, folder, home)
    if client.agent and "chat" in told:
        told["stream"] = told["chat"]
    cells = {}
    for step in steps_of(client):
        cells[step] = judged(client, stage, step, told.get(step))
        if step not in told and complaint:
            cells[step] = Cell(Verdict.FAILS, complaint)
    return cells


async def driven(client: Driven, stage: Place, folder: Path, home: Path) -> tuple[Told, str]:
    """What the driver told of each step, and its last complaint if it did not come to its end."""
    process = await asyncio.create_subprocess_exec(
        *command(client, folder, home),
        cwd=home,
        env=environment(stage, folder, home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(LONGEST):
            output, errors = await process.communicate()
    except TimeoutError:
        return {}, f"not done within {LONGEST:.0f} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    complaint = " ".join(errors.decode(errors="replace").split())[-_TAIL:] if process.returncode else ""
    return read(output.decode()), complaint


def read(output: str) -> Told:
    """The lines of a driver, by their step; what a client prints itself is no such line."""
    told: Told = {}
    for line in output.splitlines():
        with suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and "step" in said:
                told[said["step"]] = said
    return told


def command(client: Driven, folder: Path, home: Path) -> list[str]:
    """The driver's command; Node finds packages from where the driver lies, so it is laid among them."""
    driver = DRIVERS / client.driver
    if driver.suffix == ".mjs":
        place = folder / "drivers"
        shutil.copytree(DRIVERS, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        return [node_program(), "--no-warnings", str(place / client.driver)]
    python = sys.executable if client.packages.of_npm else str(folder / "bin" / "python")
    return [python, "-W", "ignore", str(driver)]


def environment(stage: Place, folder: Path, home: Path) -> dict[str, str]:
    """A clean one: no developer's settings, no proxy; the programs of the client and Node come first."""
    places = (folder / "bin", folder / "node_modules" / ".bin", Path(node_program()).parent)
    path = os.pathsep.join([*map(str, places), os.environ["PATH"]])
    added = {
        **stage.variables,
        "FREE_PORT": str(free_port()),
        "HOME": str(home),
        "PATH": path,
        "NO_PROXY": "*",
        "no_proxy": "*",
    }
    return clean_environment(**added, PACKAGES=str(folder))
