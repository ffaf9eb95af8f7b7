"""What takes part: the service in its own processes, three fake backends and a real one, a database and Redis."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from chaos.backends import ChaosOllama
from chaos.real import KEY_VARIABLE, Real, real_backend
from tests.databases import Postgres
from tests.e2e.server_process import KEY, ServerProcess, serving_process
from tests.fakes.redis_server import RedisServer

T = TypeVar("T")

MOST = 16


class Stage:
    """All of it."""

    def __init__(self, folder: Path, backends: list[ChaosOllama]) -> None:
        self.folder = folder
        self.file = folder / "backends.toml"
        self.backends = backends
        self.real: Real | None = None
        self.postgres: Postgres | None = None
        self.database_url = ""
        self.redis: RedisServer | None = None
        self.service: ServerProcess
        self.killed_workers = 0
        self.away: list[RedisServer | Postgres] = []
        self._sound = list(backends)
        # PostgreSQL's starter holds a lock of the thread that it was taken in.
        self.thread = ThreadPoolExecutor(1, "postgres")

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run what starts or stops a database."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, function)

    @asynccontextmanager
    async def broken(self, dice: random.Random) -> AsyncIterator[ChaosOllama]:
        """One that is sound, to be broken until the end of the block; one of three stays sound."""
        if len(self._sound) < 2:
            yield ChaosOllama()  # nobody asks it
            return
        backend = dice.choice(self._sound)
        self._sound.remove(backend)
        try:
            yield backend
        finally:
            self._sound.append(backend)

    def workers(self) -> list[psutil.Process]:
        """The service's workers, where it has any."""
        try:
            children = psutil.Process(self.service.pid).children()
            return [each for each in children if "worker" in " ".join(each.cmdline())]
        except psutil.Error:
            return []

    def write_backends(self, dice: random.Random | None = None) -> None:
        """Put the file there, or another one in its place at once."""
        backends = list(self.backends)
        if dice is not None:
            dice.shuffle(backends)
        text = "".join(
            f'[[backend]]\nname = "{backend.port}"\nurl = "{backend.url}"\nkind = "ollama"\n'
            f"max_concurrency = {MOST}\nweight = {1 if dice is None else dice.choice((1, 2))}\n\n"
            for backend in backends
        )
        text += "" if self.real is None else self.real.table
        new = self.file.with_suffix(".new")
        new.write_text(text, "utf-8")
        new.rename(self.file)


@asynccontextmanager
async def staged(*, workers: int, postgres: bool, redis: bool, real: bool) -> AsyncIterator[Stage]:
    """Start all of it, and end all of it."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backends = [await stack.enter_async_context(ChaosOllama()) for _ in range(3)]
        stage = Stage(folder, backends)
        if real:
            stage.real = await stack.enter_async_context(real_backend(folder / "real"))
        stage.write_backends()
        variables = {
            "WORKERS": str(workers),
            "BACKENDS_FILE": str(stage.file),
            KEY_VARIABLE: KEY,
            "FIRST_BYTE_TIMEOUT": "3",
            "IDLE_TIMEOUT": "3",
            "LOG_LEVEL": "ERROR",
            "MAX_CONNECTIONS_PER_ADDRESS": "4000",
        }
        if postgres:
            place = tempfile.mkdtemp(prefix="pg", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
            stack.callback(shutil.rmtree, place, ignore_errors=True)
            stage.postgres = await stage.in_thread(partial(Postgres, place))
            stack.push_async_callback(stage.in_thread, stage.postgres.cleanup)
            stage.database_url = variables["DATABASE_URL"] = await stage.in_thread(stage.postgres.fresh)
        if redis:
            stage.redis = stack.enter_context(RedisServer())
            variables["REDIS_URL"] = f"unix://{stage.redis.socket}"
        stage.service = await stack.enter_async_context(serving_process(folder, **variables))
        yield stage
