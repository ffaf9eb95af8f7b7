"""One embedded engine for several workers: their parent runs it, and each reaches it over its socket."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mlops_backend.services.llm.embedded.engine import TURN_NAME, EmbeddedEngine, Turn
from mlops_backend.services.llm.embedded.files import MODEL_NAME, EngineUnavailable, ModelFacts
from mlops_backend.shared import Hears, Parent, Shared

_NAME: Final = "engine"
# How often a worker looks whether the others have had their turn; a text takes some milliseconds at least.
_LOOK: Final = 0.005


class TurnOfWorkers:
    """One text to embed at a time, whichever worker has it: a lock of a file, which the end of its holder gives back.

    Args:
        path: of the file, in the engine's own folder; while that is not there, nothing can be embedded either.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = asyncio.Lock()
        self._file: int | None = None

    async def acquire(self) -> None:
        """Wait for one's turn, in this process and then among the workers."""
        await self._own.acquire()
        try:
            with suppress(FileNotFoundError):
                self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                while not _locked(self._file):
                    await asyncio.sleep(_LOOK)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let the next one in."""
        descriptor, self._file = self._file, None
        if descriptor is not None:
            os.close(descriptor)
        self._own.release()


def _locked(descriptor: int) -> bool:
    """Whether the lock is this process's now."""
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


class EngineOfParent:
    """The engine as a worker sees it: started when it asks, watched by what the parent tells.

    Args:
        shared: its place among the workers.
    """

    model: str = MODEL_NAME

    def __init__(self, shared: Shared) -> None:
        assert shared.engine is not None  # noqa: S101 - a programming error
        path, self.api_key = shared.engine
        self.socket_path = Path(path)
        self.batch = 0
        self.version = ""
        self.turn: Turn = TurnOfWorkers(self.socket_path.with_name(TURN_NAME))
        self.facts = ModelFacts()
        self.ready = False
        self._parent: Parent = shared.parent
        self._told: asyncio.Future[None] | None = None
        self._failure: tuple[str, str] | None = None
        shared.hears.on(_NAME, lambda _, state: self._learn(state))

    async def is_spared(self, *, others_serve: bool) -> bool:
        """What the first worker found that asked: all have the same backends, also one that starts much later."""
        return bool(await self._parent.ask("engine_is_spared", others_serve))

    async def start(self) -> None:
        """Have the parent start it, and return when it listens.

        Raises:
            EngineUnavailable: it cannot run here.
        """
        self._told = asyncio.get_running_loop().create_future()
        await self._parent.ask("engine_wanted")
        await self._told
        if self._failure is not None:
            raise EngineUnavailable(*self._failure)

    async def stop(self) -> None:
        """Do nothing: it serves the others."""

    def _learn(self, state: dict[str, Any]) -> None:
        self.ready, self.batch, self.version = state["ready"], state["batch"], state["version"]
        self.facts = ModelFacts(**state["facts"])
        self._failure = tuple(state["failure"]) if state["failure"] else None
        if self._told is not None and not self._told.done():
            self._told.set_result(None)


class EngineOfWorkers:
    """The engine as the parent has it: started once, when the first worker asks.

    Args:
        hears: takes what workers ask.
        tell: tells all workers.
        make: makes the engine; `changed` is to be called when it has come or gone.
    """

    def __init__(
        self, hears: Hears, tell: Callable[[str, Any], None], make: Callable[..., EmbeddedEngine] = EmbeddedEngine
    ) -> None:
        self._engine = make(changed=self._changed)
        self._tell = tell
        self._spared: bool | None = None
        self._starting: asyncio.Task[None] | None = None
        self._failure: EngineUnavailable | None = None
        hears.on("engine_is_spared", lambda _, others_serve: self._is_spared(others_serve), bool)
        hears.on("engine_wanted", lambda asker, _: self._wanted(asker))

    @property
    def place(self) -> tuple[str, str]:
        """Its socket and its key."""
        return str(self._engine.socket_path), self._engine.api_key

    async def aclose(self) -> None:
        """End it."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._engine.stop()

    def _is_spared(self, others_serve: bool) -> bool:
        self._spared = others_serve if self._spared is None else self._spared
        return self._spared

    def _wanted(self, asker: Parent) -> None:
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        elif self._starting.done():
            asker.tell(_NAME, self._state())

    async def _start(self) -> None:
        try:
            await self._engine.start()
        except EngineUnavailable as error:
            self._failure = error
        asyncio.get_running_loop().call_soon(self._changed)

    def _changed(self) -> None:
        self._tell(_NAME, self._state())

    def _state(self) -> dict[str, Any]:
        engine, failure = self._engine, self._failure
        return {
            "ready": engine.ready,
            "batch": engine.batch,
            "version": engine.version,
            "facts": asdict(engine.facts),
            "failure": [str(failure), failure.details] if failure else None,
        }
