"""The service before a server that leads through the loop, and a driver's run before it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.loop_catalogue import Looping
from tests.clients.loop_play import SEEING, LoopingOpenAI
from tests.clients.loop_verdicts import judged_loop
from tests.clients.running import driven
from tests.clients.verdicts import Cell
from tests.databases import sqlite_template
from tests.service import ORDINARY_KEY, serving, settings_for


@dataclass(frozen=True)
class LoopStage:
    """Where the service is, and the server behind it."""

    url: str
    server: LoopingOpenAI

    def variables_of(self, mode: str) -> dict[str, str]:
        """What a driver is told."""
        return {"URL": self.url, "MODEL": str(SEEING["id"]), "KEY": ORDINARY_KEY, "MODE": mode}


@dataclass(frozen=True)
class _Run:
    """One way through the loop."""

    variables: dict[str, str]


@asynccontextmanager
async def loop_stage(folder: Path) -> AsyncIterator[LoopStage]:
    """Both, until the block ends; the database is in `folder`."""
    file = folder / "loops.db"
    file.write_bytes(await asyncio.to_thread(sqlite_template))
    async with LoopingOpenAI() as server:
        settings = settings_for(database_url=f"sqlite:///{file}", key_in_url=True, openai_backends=server.url)
        async with serving(settings) as service:
            yield LoopStage(service.url, server)


async def cells_of_loop(client: Looping, stage: LoopStage, folder: Path, home: Path) -> dict[str, Cell]:
    """Each way that a client has through the loop, in a process and a home of its own."""
    cells = {}
    stage.server.script = client.script
    for mode in client.modes:
        stage.server.bodies.clear()
        stage.server.refused.clear()
        own = home / re.sub(r"\W+", "-", mode)
        own.mkdir()
        told, complaint = await driven(client, _Run(stage.variables_of(mode)), folder, own)
        cells[mode] = judged_loop(client, mode, stage.server, told.get(mode), complaint)
    return cells
