"""The real backend: the service once more, in a process of its own, before the embedded engine and its model."""

import asyncio
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from tests.e2e.real_ollama import NO_ENGINE, engine_is_installed
from tests.e2e.server_process import ServerProcess, serving_process

NAME = "real"
# Where the service finds its key.
KEY_VARIABLE = "REAL_BACKEND_KEY"
# It computes: what it is given is little, and short.
MOST = 2
TOKENS = 16
# Of the requests one in so many is for its model, while no more than so many are.
ONE_IN = 100
MOST_ASKING = 4
NONE = f"no real backend: {NO_ENGINE}"


class Real:
    """It; `asking` counts the clients that wait for its model."""

    def __init__(self, folder: Path, service: ServerProcess) -> None:
        self.url = service.url
        self.asking = 0
        self._folder = folder
        self._service = service

    def is_asked(self, number: int) -> bool:
        """Whether a request is for its model."""
        return number % ONE_IN == 0 and self.asking < MOST_ASKING

    @property
    def table(self) -> str:
        """What the file of backends says of it."""
        said = f'name = "{NAME}"\nurl = "{self.url}"\nkind = "ollama"\napi_key_env = "{KEY_VARIABLE}"\n'
        return f"[[backend]]\n{said}max_concurrency = {MOST}\n\n"

    async def running(self) -> int:
        """How many generations it has."""
        async with self._service.client() as client:
            return int((await client.get("/api/llm/generations")).json()["count"])

    async def ended(self) -> int:
        """Have it end; its exit status."""
        self._service.signal(signal.SIGTERM)
        return await self._service.ended()

    def answered(self) -> Counter[str]:
        """How often it answered each request whole, by its own ledger; it has ended."""
        with closing(sqlite3.connect(self._folder / "data" / "mlops_backend.db")) as database:
            question = "SELECT request_id FROM generations WHERE outcome = 'done'"
            return Counter(name for (name,) in database.execute(question))


@asynccontextmanager
async def real_backend(folder: Path) -> AsyncIterator[Real | None]:
    """One until the block ends; none where its packages are not installed."""
    if not await asyncio.to_thread(engine_is_installed):
        yield None
        return
    folder.mkdir()
    async with serving_process(folder, EMBEDDED_ENGINE="on", LOG_LEVEL="ERROR", WORKERS="1") as service:
        yield Real(folder, service)
