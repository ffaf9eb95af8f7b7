"""The embedded engine: llama.cpp in a supervised child process on a Unix socket, serving one small real model."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

import structlog

from mlops_backend.config import environment_with_libraries
from mlops_backend.services.llm.embedded.files import (
    MODEL_NAME,
    MODEL_SHA256,
    RUNTIME_NAME,
    EngineFiles,
    EngineUnavailable,
    ModelFacts,
    WorkerClaim,
    check_model,
    claim_for_this_worker,
    locate_files,
    new_socket_path,
)
from mlops_backend.services.llm.embedded.process import EngineProcess

__all__ = ["EmbeddedEngine", "Engine", "EngineUnavailable"]

STABLE_AFTER: Final = 60.0
# Each computing thread spins while it waits for the others: on two busy processors two threads were measured at
# 1 to 26 tokens/s where one gave 51 to 78. So one processor is left to this service; more than 4 gain nothing here.
_MAX_THREADS: Final = 4
# Each connection holds one of the server's threads, waiting for a slot or not; health checks need one as well.
_HTTP_THREADS: Final = 256
# Beside the socket, where workers take turns by it.
TURN_NAME: Final = "turn"


class Turn(Protocol):
    """One text to embed at a time."""

    async def acquire(self) -> Any:
        """Wait for one's turn."""

    def release(self) -> None:
        """Let the next one in."""


class Engine(Protocol):
    """An engine that this process reaches, whoever runs it."""

    model: str
    batch: int
    version: str
    facts: ModelFacts

    @property
    def turn(self) -> Turn:
        """Of all who have a text embedded there."""

    @property
    def socket_path(self) -> Path:
        """Where it listens."""

    @property
    def api_key(self) -> str:
        """What it asks for."""

    @property
    def ready(self) -> bool:
        """Whether it is listening at this moment."""

    async def is_spared(self, *, others_serve: bool) -> bool:
        """Whether no engine is needed, since others serve."""

    async def start(self) -> None:
        """Have it run; raises `EngineUnavailable`."""

    async def stop(self) -> None:
        """End it, if it is this process's own."""


class EmbeddedEngine:
    """Starts the engine, restarts it when it dies, and leaves nothing behind.

    Args:
        slots: generations at once; more wait in the engine's own queue.
        context: tokens that each slot has for prompt and answer together.
        batch: tokens computed in one go. No input to embed can be longer; meanwhile the other slots wait, and a client
            that left is not noticed: at some 120 tokens/s, for 4 s at most.
        threads: for computing; when left out, one fewer than there are processors, within 1 and 4.
        restart_delays: seconds before the first restart after a death, and the most that doubling makes of it.
        locate: finds the packages; raises `EngineUnavailable`.
        sha256: what the model's file must have.
        changed: is called whenever `ready` may be another.
    """

    model: str = MODEL_NAME

    def __init__(
        self,
        *,
        slots: int = 4,
        context: int = 2048,
        batch: int = 512,
        threads: int | None = None,
        restart_delays: tuple[float, float] = (0.25, 30.0),
        locate: Callable[[], EngineFiles] = locate_files,
        sha256: str = MODEL_SHA256,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.socket_path = new_socket_path()
        self.api_key = secrets.token_hex(32)
        self.batch = batch
        self.version = ""
        self.turn: Turn = asyncio.Lock()
        self.facts = ModelFacts()
        self._limits = {"slots": slots, "context": context, "batch": batch, "http_threads": _HTTP_THREADS}
        self._threads = threads or max(1, min((os.cpu_count() or 1) - 1, _MAX_THREADS))
        self._restart_delays = restart_delays
        self._locate = locate
        self._sha256 = sha256
        self._changed = changed
        self._config: dict[str, Any] = {}
        self._link = self.socket_path.with_name(RUNTIME_NAME)
        self._runtime: Path | None = None
        self._child: EngineProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._claim: WorkerClaim | None = None

    @property
    def ready(self) -> bool:
        """Whether a child is listening at this moment."""
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """The child's process id while it is ready."""
        return self._child.pid if self._child else None

    async def is_spared(self, *, others_serve: bool) -> bool:
        """Whether no engine is needed, since others serve."""
        return others_serve

    async def start(self) -> None:
        """Check the model, start the child, and return when it listens.

        Raises:
            EngineUnavailable: a package is missing, the model is damaged, the child does not start, or another worker
                of the same server runs the engine already.
        """
        if self._supervisor is not None:
            return
        self._claim = claim_for_this_worker()
        try:
            files = self._locate()
            self.facts = await asyncio.to_thread(check_model, files.model, self._sha256)
            self.version = files.version
            self._config, self._runtime = self._configure(files), files.runtime
            self._child = await self._spawn()
        except BaseException:
            await self.stop()
            raise
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """End the child and remove the socket's directory; harmless when never started or already stopped."""
        supervisor, self._supervisor = self._supervisor, None
        try:
            if supervisor is not None:
                supervisor.cancel()
                await asyncio.gather(supervisor, return_exceptions=True)
        finally:
            await self._clear()

    async def _clear(self) -> None:
        child, self._child = self._child, None
        try:
            if child is not None:
                await child.stop()
        finally:
            shutil.rmtree(self.socket_path.parent, ignore_errors=True)
            if self._claim is not None:
                self._claim.release()
                self._claim = None

    def _configure(self, files: EngineFiles) -> dict[str, Any]:
        return {
            "site": str(files.site),
            "model": str(files.model),
            "alias": self.model,
            "socket": str(self.socket_path),
            "api_key": self.api_key,
            "threads": self._threads,
            "remove": [
                str(self._link),
                str(self.socket_path.with_name(TURN_NAME)),
                *([str(self._claim.path)] if self._claim else []),
            ],
            **self._limits,
        }

    async def _spawn(self) -> EngineProcess:
        try:
            self.socket_path.parent.mkdir(mode=0o700, exist_ok=True)
            return await EngineProcess.spawn(self._config, self._environment())
        except OSError as error:
            raise EngineUnavailable(f"The embedded engine cannot be started: {error}.") from error

    def _environment(self) -> dict[str, str] | None:
        """The child's variables: with the OpenMP runtime under the name that the engine asks for, if we have one."""
        if self._runtime is None:
            return None
        with suppress(FileExistsError):
            self._link.symlink_to(self._runtime)
        return environment_with_libraries(self._link.parent)

    async def _supervise(self) -> None:
        """Wait for the child's end and start the next one, again and again."""
        shortest, longest = self._restart_delays
        delay, started = shortest, monotonic()
        while True:
            if self._child is not None:
                code = await self._child.wait()
                delay = shortest if monotonic() - started > STABLE_AFTER else delay
                _log_death(self._child.last_words, exit_code=code, restart_in=delay)
                self._child = None
                self._changed()
            await asyncio.sleep(delay)
            delay, started = min(2 * delay, longest), monotonic()
            try:
                self._child = await self._spawn()
                self._changed()
            except EngineUnavailable as error:
                _log_death(str(error), restart_in=delay)


def _log_death(last_words: str, **facts: float) -> None:
    structlog.get_logger().error("embedded_engine_died", last_words=last_words, **facts)
