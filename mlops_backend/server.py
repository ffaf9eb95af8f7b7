"""Our own way of serving: one process, a banner, and a drain that holds on every Python."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError, check_for_updates, files_to_watch

from mlops_backend.address import listen_twice_or_say
from mlops_backend.app import create_app
from mlops_backend.banner import banner
from mlops_backend.config import Settings
from mlops_backend.connections import Listener, Others, register_for, serve
from mlops_backend.event_loop import factory_of
from mlops_backend.memory import be_considerate, calm_garbage_collector
from mlops_backend.middleware.detached import DetachedRequests
from mlops_backend.middleware.drain import LiveAnswers
from mlops_backend.middleware.metrics_port import keep_metrics_apart
from mlops_backend.middleware.request_context import services_of
from mlops_backend.services.llm.backends import BackendPool, NamedBackends
from mlops_backend.services.llm.embedded import EngineUnavailable
from mlops_backend.services.llm.generation import Admission
from mlops_backend.services.other.database import Database, NewerDatabase, UnusableDatabase
from mlops_backend.services.other.limits import RouteLimiter
from mlops_backend.services.registry import Services
from mlops_backend.setting_backends import UnusableFile
from mlops_backend.shared import Shared
from mlops_backend.telemetry.logging import say

BACKLOG: Final = 2048
# Pieces of a body, of 64 KiB, that wait for the application; Hypercorn would keep ten for each connection.
WAITING_PIECES: Final = 2
# What comes after DRAIN_TIMEOUT: last frames (2 s, admission.py), last bytes, a close. Together well under the 10 s
# that `docker stop --time 40` leaves.
_LAST_BYTES: Final = 1.0
_CLOSING: Final = 6.0
_LAST_RESORT: Final = 4.0
_RELOAD_POLL: Final = 1.0
# A signal to the process group of `make run` comes twice, make passes its own on; systemd signals the group as well.
_ECHO: Final = 0.3
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_RELOAD: Final = signal.SIGHUP
# What keeps the service from starting is told in a line.
_REFUSALS: Final = (EngineUnavailable, NewerDatabase, UnusableDatabase, UnusableFile)


def hypercorn_config() -> Config:
    """What we ask of Hypercorn, however it is started; `hypercorn_conf.py` says the same."""
    config = Config()
    config.backlog = BACKLOG
    config.include_server_header = False
    config.accesslog = None
    config.max_app_queue_size = WAITING_PIECES
    config.alpn_protocols = ["http/1.1"]
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


def serve_forever(settings: Settings) -> int:
    """Serve until a signal, drain, and return the exit status; with `DEBUG`, start anew when a file changes."""
    if (bound := listen_twice_or_say(settings.host, settings.port, settings.metrics_port)) is None:
        return 1
    server = Server(settings, *bound)
    calm_garbage_collector()
    be_considerate()
    try:
        with asyncio.Runner(loop_factory=factory_of(settings.event_loop)) as runner:
            runner.run(server.run())
    except (LifespanFailureError, LifespanTimeoutError) as error:
        print(refusal_of(error), file=sys.stderr)
        return 1
    if server.reload:
        os.execv(sys.executable, [sys.executable, "-m", "mlops_backend"])  # noqa: S606 - our own command again
    return 0


class Server:
    """One serving of the application, from start-up to the end of its drain.

    Args:
        settings: of this process.
        bound: the listening socket.
        for_metrics: one for monitoring alone.
        shared: its place among several workers.
        others: the connections of the other workers.
        announce: takes the banner once clients are served.

    Raises:
        ConfigError: a setting that cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        bound: socket.socket,
        for_metrics: socket.socket | None = None,
        *,
        shared: Shared | None = None,
        others: Others | None = None,
        announce: Callable[[str], None] = say,
    ) -> None:
        self._settings = settings
        self._announce = announce
        self._register = register_for(settings, others)
        self._listener = Listener(bound, self._register)
        self._others = [] if for_metrics is None else [Listener(for_metrics, self._register)]
        self._port: int = bound.getsockname()[1]
        self._stop = asyncio.Event()
        self._drained = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._started = False
        self._echo_until = 0.0
        self._app = create_app(settings, shared)
        if for_metrics is not None:
            keep_metrics_apart(self._app, for_metrics.getsockname()[1])
        self._app.logger.addFilter(_is_news)
        self._services: Services = services_of(self._app.extensions)
        self._services.get(Database).steps_apart = True
        self.reload = False

    async def run(self) -> None:
        """Serve, drain when told to, and come back even when something will not end."""
        _on_signals(self._signalled, self._services.get(NamedBackends).reread if self._settings.backends_file else None)
        if self._stop.is_set():
            return
        config = hypercorn_config()
        config.graceful_timeout = _CLOSING
        self._serving = serving = asyncio.create_task(
            serve(self._app, config, self._listener, self._register, self._until_drained, *self._others)
        )
        drained = asyncio.create_task(self._drained.wait())
        await asyncio.wait({serving, drained}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        await asyncio.wait({serving}, timeout=_CLOSING)
        if not serving.done():
            structlog.get_logger().warning("closing_took_too_long")
            serving.cancel()
            _exit_within(_LAST_RESORT)
        elif not serving.cancelled():
            serving.result()

    async def _until_drained(self) -> None:
        """Called once clients can come; `serve` stops when it returns."""
        self._started = True
        watcher = asyncio.create_task(self._watch_files(files_to_watch())) if self._settings.debug else None
        probes = await self._services.get(BackendPool).probe()
        troubles = self._services.get(Database).trouble, self._services.get(RouteLimiter).trouble
        self._announce(banner(self._settings, self._port, probes, *troubles))
        await self._stop.wait()
        if watcher is not None:
            watcher.cancel()
        if not self.reload:
            await self._leave(self._settings.shutdown_delay)
        await self._drain(self._settings.drain_timeout)
        self._drained.set()

    async def _leave(self, seconds: float) -> None:
        """Serve as before and say that one is not ready, until those who send requests have noticed."""
        if seconds:
            structlog.get_logger().info("leaving", seconds=seconds)
            self._services.get(Admission).leaving = True
            await asyncio.sleep(seconds)

    async def _drain(self, seconds: float) -> None:
        structlog.get_logger().info("draining", seconds=seconds)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        await self._services.get(Admission).drain(seconds)
        await self._services.get(DetachedRequests).finish(_LAST_BYTES)
        await self._services.get(LiveAnswers).finish(max(deadline - loop.time(), _LAST_BYTES))
        self._register.stop()
        for listener in (self._listener, *self._others):
            loop.call_later(_LAST_BYTES, listener.cut)

    def _signalled(self) -> None:
        """Drain; a second signal ends the process at once."""
        if self._stop.is_set() and asyncio.get_running_loop().time() > self._echo_until:
            os._exit(1)
        self.stop()

    def stop(self) -> None:
        """Drain; before anybody is served, end."""
        if self._stop.is_set():
            return
        # A worker may be told by its parent before the signal comes that both were sent.
        self._echo_until = asyncio.get_running_loop().time() + _ECHO
        self._stop.set()
        self._register.others.leave()
        if self._serving is not None and not self._started:
            self._serving.cancel()

    async def _watch_files(self, files: dict[Path, float]) -> None:
        while not check_for_updates(files):
            await asyncio.sleep(_RELOAD_POLL)
        structlog.get_logger().info("reloading")
        self.reload = True
        self._stop.set()


def _exit_within(seconds: float) -> None:
    """End the process though something neither ends nor can be cancelled, as a driver's thread before a locked file."""
    timer = threading.Timer(seconds, os._exit, [1])
    timer.daemon = True
    timer.start()


def _on_signals(stop: Callable[[], Any], reload: Callable[[], Any] | None) -> None:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    if reload is not None:  # else it ends the process, as a terminal that is closed wants it
        loop.add_signal_handler(_RELOAD, reload)
    # A worker is started with these waiting, so that none finds it without a handler.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_SIGNALS, _RELOAD))


def _is_news(entry: logging.LogRecord) -> bool:
    """Whether an entry is more than the stack trace of a refusal to start, which `serve_forever` tells in a line."""
    return entry.exc_info is None or not isinstance(entry.exc_info[1], _REFUSALS)


def refusal_of(error: Exception) -> str:
    """Why the start-up failed, in its own words, without Hypercorn's around them."""
    reason = str(error).removeprefix("Lifespan failure in startup. ").strip("'")
    return f"The service cannot start: {reason}"
