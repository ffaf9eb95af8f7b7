"""The embedded engine: llama.cpp in a supervised child process on a Unix socket, serving one small real model."""

from __future__ import annotations

import asyncio
import fcntl
import multiprocessing
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final

import structlog

from mlops_backend.services.llm.embedded_files import (
    MODEL_NAME,
    MODEL_SHA256,
    EngineFiles,
    EngineUnavailable,
    ModelFacts,
    check_model,
    locate_files,
)
from mlops_backend.services.llm.embedded_process import EngineProcess

__all__ = ["EmbeddedEngine", "EngineUnavailable"]

STABLE_AFTER: Final = 60.0
_MAX_THREADS: Final = 8
# A kept-alive connection holds one of the server's threads, and health checks need one as well.
_HTTP_THREADS: Final = 128
# sun_path has 104 bytes on macOS and 108 on Linux, the last one a zero.
_MAX_SOCKET_PATH: Final = 103


class EmbeddedEngine:
    """Starts the engine, restarts it when it dies, and leaves nothing behind.

    Args:
        slots: generations at once; more wait in the engine's own queue.
        context: tokens that each slot has for prompt and answer together.
        threads: for computing; all processors but no more than 8 when left out.
        restart_delays: seconds before the first restart after a death, and the most that doubling makes of it.
        locate: finds the packages; raises `EngineUnavailable`.
        sha256: what the model's file must have.
    """

    model: Final = MODEL_NAME

    def __init__(
        self,
        *,
        slots: int = 4,
        context: int = 2048,
        threads: int | None = None,
        restart_delays: tuple[float, float] = (0.25, 30.0),
        locate: Callable[[], EngineFiles] = locate_files,
        sha256: str = MODEL_SHA256,
    ) -> None:
        self.socket_path = _socket_path()
        self.api_key = secrets.token_hex(32)
        self.version = ""
        self.facts: ModelFacts | None = None
        self._limits = {"slots": slots, "context": context, "http_threads": _HTTP_THREADS}
        self._threads = threads or min(os.cpu_count() or 1, _MAX_THREADS)
        self._restart_delays = restart_delays
        self._locate = locate
        self._sha256 = sha256
        self._config: dict[str, Any] = {}
        self._child: EngineProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._claim: int | None = None

    @property
    def ready(self) -> bool:
        """Whether a child is listening at this moment."""
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """The child's process id while it is ready."""
        return self._child.pid if self._child else None

    async def start(self) -> None:
        """Check the model, start the child, and return when it listens.

        Raises:
            EngineUnavailable: a package is missing, the model is damaged, the child does not start, or another worker
                of the same server runs the engine already.
        """
        if self._supervisor is not None:
            return
        self._claim = _claim_for_this_worker()
        try:
            files = self._locate()
            self.facts = await asyncio.to_thread(check_model, files.model, self._sha256)
            self.version = files.version
            self._config = self._configure(files)
            child = await self._spawn()
        except BaseException:
            await self.stop()
            raise
        self._supervisor = asyncio.create_task(self._supervise(child))

    async def stop(self) -> None:
        """End the child and remove the socket's directory; harmless when never started or already stopped."""
        supervisor, self._supervisor = self._supervisor, None
        try:
            if supervisor is not None:
                supervisor.cancel()
                await asyncio.gather(supervisor, return_exceptions=True)
        finally:
            self._child = None
            shutil.rmtree(self.socket_path.parent, ignore_errors=True)
            if self._claim is not None:
                os.close(self._claim)
                self._claim = None

    def _configure(self, files: EngineFiles) -> dict[str, Any]:
        return {
            "site": str(files.site),
            "model": str(files.model),
            "alias": self.model,
            "socket": str(self.socket_path),
            "api_key": self.api_key,
            "threads": self._threads,
            **self._limits,
        }

    async def _spawn(self) -> EngineProcess:
        if len(os.fsencode(self.socket_path)) > _MAX_SOCKET_PATH:
            raise EngineUnavailable(f"The path of the embedded engine's socket is too long: {self.socket_path}.")
        try:
            self.socket_path.parent.mkdir(mode=0o700, exist_ok=True)
            return await EngineProcess.spawn(self._config)
        except OSError as error:
            raise EngineUnavailable(f"The embedded engine cannot be started: {error}.") from error

    async def _supervise(self, child: EngineProcess) -> None:
        """Watch one child after the other; when cancelled, end the one that runs."""
        shortest, longest = self._restart_delays
        delay = shortest
        while True:
            self._child, started = child, monotonic()
            try:
                code = await child.wait()
            finally:
                self._child = None
                await child.stop()
            delay = shortest if monotonic() - started > STABLE_AFTER else delay
            _log_death(child.last_words, exit_code=code, restart_in=delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, longest)
            child = await self._respawn(delay, longest)

    async def _respawn(self, delay: float, longest: float) -> EngineProcess:
        while True:
            try:
                return await self._spawn()
            except EngineUnavailable as error:
                _log_death(str(error), restart_in=delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, longest)


def _log_death(last_words: str, **facts: float) -> None:
    structlog.get_logger().error("embedded_engine_died", last_words=last_words, **facts)


def _socket_path() -> Path:
    """A name nobody can guess; a temporary directory that is missing or has too long a name is replaced by /tmp."""
    inside = Path(f"mlops-{secrets.token_hex(8)}", "engine.sock")
    try:
        path = tempfile.gettempdir() / inside
    except OSError:
        path = inside
    fits = path.is_absolute() and len(os.fsencode(path)) <= _MAX_SOCKET_PATH
    return path if fits else "/tmp" / inside  # noqa: S108 - the name within is random, the directory made 0700


def _claim_for_this_worker() -> int | None:
    """In a worker of a server with several: a lock that one of them gets, held until it is closed or the worker ends.

    Raises:
        EngineUnavailable: another worker has it.
    """
    server = multiprocessing.parent_process()
    if server is None:
        return None
    path = Path(tempfile.gettempdir(), f"mlops-engine-{os.getuid()}-{server.pid}.lock")
    try:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EngineUnavailable(f"The lock of the embedded engine cannot be made: {error}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise EngineUnavailable("The embedded engine runs in one worker only, and another one has it.") from None
    return lock
