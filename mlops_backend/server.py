"""Our own way of serving: one process, a banner, and a drain that holds on every Python."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import structlog
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError, check_for_updates, files_to_watch

from mlops_backend import __version__
from mlops_backend.app import create_app
from mlops_backend.config import PLACEHOLDER_KEY, Settings, key_source
from mlops_backend.middleware.drain import LiveRequests
from mlops_backend.middleware.request_context import services_of
from mlops_backend.services.llm.admission import Admission
from mlops_backend.services.llm.routing import BackendPool
from mlops_backend.services.registry import Services

BACKLOG: Final = 2048
KEEP_ALIVE: Final = 75
_LAST_BYTES: Final = 1.0
_CLOSING: Final = 8.0
_RELOAD_POLL: Final = 1.0


def hypercorn_config() -> Config:
    """What we ask of Hypercorn, however it is started; `hypercorn_conf.py` says the same."""
    config = Config()
    config.backlog = BACKLOG
    config.keep_alive_timeout = KEEP_ALIVE
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


def serve_forever(settings: Settings) -> int:
    """Serve until a signal, drain, and return the exit status; with `DEBUG`, start anew when a file changes."""
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        print(f"HOST, PORT: cannot listen on {settings.host}:{settings.port}: {error.strerror}", file=sys.stderr)
        return 1
    server = Server(settings, listener)
    try:
        asyncio.run(server.run())
    except LifespanFailureError as error:
        print(f"The service cannot start: {error}", file=sys.stderr)
        return 1
    if server.reload:
        os.execv(sys.executable, [sys.executable, "-m", "mlops_backend"])  # noqa: S606 - our own command again
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A listening address; bound before anything is started, so that a taken port costs nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


class Server:
    """One serving of the application, from start-up to the end of its drain."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._port: int = listener.getsockname()[1]
        self._stop = asyncio.Event()
        self._drained = asyncio.Event()
        self._app = create_app(settings)
        self._services: Services = services_of(self._app.extensions)
        self.reload = False

    async def run(self) -> None:
        """Serve, drain when told to, and come back even when a client will not let go."""
        config = hypercorn_config()
        config.bind = [f"fd://{self._listener.detach()}"]
        serving = asyncio.create_task(serve(self._app, config, shutdown_trigger=self._until_drained, mode="asgi"))
        drained = asyncio.create_task(self._drained.wait())
        await asyncio.wait({serving, drained}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        if not serving.done():
            await asyncio.wait({serving}, timeout=_CLOSING)
        if not serving.done():
            structlog.get_logger().warning("connections_left_open")
            serving.cancel()
            return
        serving.result()

    async def _until_drained(self) -> None:
        """Hypercorn calls this once it listens, and stops when it returns."""
        _on_signals(self._signalled)
        print(self._banner(), flush=True)
        watcher = asyncio.create_task(self._watch_files()) if self._settings.debug else None
        await self._stop.wait()
        if watcher is not None:
            watcher.cancel()
        structlog.get_logger().info("draining", seconds=self._settings.drain_timeout)
        await self._services.get(Admission).drain(self._settings.drain_timeout)
        await self._services.get(LiveRequests).cut(_LAST_BYTES)
        self._drained.set()

    def _signalled(self) -> None:
        if self._stop.is_set():
            os._exit(1)
        self._stop.set()

    async def _watch_files(self) -> None:
        files = files_to_watch()
        while not check_for_updates(files):
            await asyncio.sleep(_RELOAD_POLL)
        structlog.get_logger().info("reloading")
        self.reload = True
        self._stop.set()

    def _banner(self) -> str:
        settings = self._settings
        address = f"http://{_shown(settings.host)}:{self._port}"
        lines = [f"mlops_backend {__version__}", f"  address   {address}"]
        lines += [f"  backend   {text}" for text in self._backends()]
        lines.append(f"  key       {_describe_key(settings)}")
        if settings.docs_enabled:
            lines.append(f"  docs      {address}/docs")
        return "\n".join(lines)

    def _backends(self) -> list[str]:
        model = self._settings.default_model
        named = f", DEFAULT_MODEL {model}" if model else ""
        return [f"{backend.kind} at {backend.address}{named}" for backend in self._services.get(BackendPool).backends]


def _on_signals(handler: Callable[[], Any]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handler)


def _shown(host: str) -> str:
    if host in {"0.0.0.0", "::", ""}:
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _describe_key(settings: Settings) -> str:
    if settings.api_key.get_secret_value() == PLACEHOLDER_KEY:
        return "API_KEY is the placeholder, which works from this machine only; set a secret one"
    return f"API_KEY {key_source()}; send it as X-API-Key"
