"""The parent of several workers: binds the address, starts and restarts them, and ends them together."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack, suppress
from time import monotonic
from typing import Final

import structlog

from mlops_backend.address import listen_twice_or_say
from mlops_backend.config import ConfigError, Settings
from mlops_backend.event_loop import factory_of
from mlops_backend.telemetry.logging import configure_logging, finish_log, say
from mlops_backend.workers.board import Board, new_board
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.common import Common
from mlops_backend.workers.hub import Hub
from mlops_backend.workers.parts import engine_may_run, part_of
from mlops_backend.workers.process import RELOAD, SIGNALS, Bound, Worker, start
from mlops_backend.workers.tally import Tally, answers

_SHORTEST: Final = 0.25
_LONGEST: Final = 30.0
_SCARCE: Final = 1.0
# Who has served for so long dies of something new.
_STABLE_AFTER: Final = 60.0
# A signal to a process group may come twice; see `server.py`.
_ECHO: Final = 0.3
# What a worker may take beyond the delay and the drain; it has last resorts of its own, which take less.
_ENDING: Final = 20.0


def serve_together(settings: Settings) -> int:
    """Serve with several workers until a signal, have them drain, and return the exit status.

    Raises:
        ConfigError: there can be one process alone.
    """
    if settings.debug:
        raise ConfigError("WORKERS: with DEBUG=true there is one, which starts anew when a file changes")
    if (bound := listen_twice_or_say(settings.host, settings.port, settings.metrics_port)) is None:
        return 1
    configure_logging(settings)
    with asyncio.Runner(loop_factory=factory_of(settings.event_loop)) as runner:
        status = runner.run(Supervisor(settings, bound).run())
    finish_log()
    return status


class Supervisor:
    """Keeps the workers.

    The first one starts alone: it brings the tables up to date and chooses the backends, and what keeps it from
    starting ends the service. Whoever dies later is started again.

    Args:
        settings: of the whole service.
        bound: the listening socket, and that of monitoring.
    """

    def __init__(self, settings: Settings, bound: Bound) -> None:
        self._settings = settings
        self._bound = bound
        self._hub = Hub()
        self._tally = Tally()
        self._memory = new_board(settings.workers)
        self._board = Board(self._memory, settings.workers)
        self._workers: dict[Channel, Worker] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._up: set[int] = set()
        self._stop = asyncio.Event()
        self._echo_until = 0.0
        self._banner = ""
        self._status = 0
        self._engine: tuple[str, str] | None = None

    async def run(self) -> int:
        """Serve to the end of every worker; the exit status."""
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._signalled)
        hears = self._hub.handlers
        hears.on("serves", self._serves, str)
        hears.on("refused", self._refused, tuple[int, str])
        hears.on("numbers", self._numbers)
        hears.on("state", self._state)
        self._hub.when_one_leaves(self._tally.lose)
        common = Common(self._hub, self._settings)
        if self._settings.backends_file:
            asyncio.get_running_loop().add_signal_handler(RELOAD, common.backends.reread)
        async with AsyncExitStack() as parts:
            parts.push_async_callback(self._hub.aclose)
            if engine_may_run(self._settings):
                # With its house come the clients of backends, which the parent can do without.
                from mlops_backend.services.llm.embedded import EngineOfWorkers

                engine = EngineOfWorkers(hears, self._hub.tell)
                parts.push_async_callback(engine.aclose)
                self._engine = engine.place
            await self._keep_all()
        return self._status

    async def _keep_all(self) -> None:
        """Start the first worker, and come back when the last one has ended."""
        self._keepers.append(asyncio.create_task(self._keep(0)))
        try:
            await self._stop.wait()
            for bound in filter(None, self._bound):
                bound.close()
            patience = self._settings.shutdown_delay + self._settings.drain_timeout + _ENDING
            await asyncio.wait(self._keepers, timeout=patience)
        finally:
            for worker in self._workers.values():
                worker.kill()
            await asyncio.gather(*self._keepers)

    async def _keep(self, index: int) -> None:
        """Have one worker, and another one when that has died."""
        delay = _SHORTEST
        while not self._stop.is_set():
            began = monotonic()
            settings = part_of(self._settings, index)
            try:
                worker = await start(self._hub, settings, index, self._engine, self._bound, self._memory)
            except OSError as error:  # there is no room for another process, or no descriptor
                structlog.get_logger().error("worker_cannot_start", worker=index, error=str(error), again_in=_SCARCE)
                await self._wait(_SCARCE)
                continue
            self._workers[worker.channel] = worker
            status = await worker.ended()
            del self._workers[worker.channel]
            self._board.clear(index)
            if self._stop.is_set():
                self._status = self._status or (1 if status else 0)
            elif not (worker.serves.is_set() or self._is_complete):
                self._refuse(worker, status)
            else:
                delay = _SHORTEST if monotonic() - began > _STABLE_AFTER else delay
                await self._mourn(worker, status, delay if status else 0.0)
                delay = min(2 * delay, _LONGEST)

    async def _mourn(self, worker: Worker, status: int, restart_in: float) -> None:
        reason = {"reason": worker.refusal[1]} if worker.refusal else {}
        log = structlog.get_logger()
        log.error("worker_died", worker=worker.index, pid=worker.pid, status=status, restart_in=restart_in, **reason)
        await self._wait(restart_in)

    async def _wait(self, seconds: float) -> None:
        """For so long, unless the service ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    def _refuse(self, worker: Worker, status: int) -> None:
        """Give up the start, since one of the first workers cannot."""
        if worker.refusal is not None:
            status, words = worker.refusal
            print(words, file=sys.stderr)
        else:
            told = {"worker": worker.index, "pid": worker.pid, "status": status}
            structlog.get_logger().error("worker_died", **told, reason="It did not come to serve: the service ends.")
        self._end(status if status > 0 else 1)

    @property
    def _is_complete(self) -> bool:
        """Whether each worker has come to serve."""
        return len(self._up) == self._settings.workers

    def _serves(self, channel: Channel, banner: str) -> None:
        """A worker serves: the first one has the others started, the last one the banner printed."""
        worker = self._workers[channel]
        worker.serves.set()
        if self._stop.is_set():
            channel.tell("drain")
        if self._stop.is_set() or self._is_complete:
            return
        self._banner = self._banner or banner
        if not self._up:
            others = range(1, self._settings.workers)
            self._keepers.extend(asyncio.create_task(self._keep(index)) for index in others)
        self._up.add(worker.index)
        if self._is_complete:
            say(self._banner)

    def _refused(self, channel: Channel, refusal: tuple[int, str]) -> None:
        self._workers[channel].refusal = refusal

    async def _numbers(self, _: Channel, __: object) -> dict[str, float]:
        return await self._tally.numbers(self._serving)

    async def _state(self, _: Channel, __: object) -> tuple[bool, bool]:
        """Whether nobody serves who does not stop, and whether anybody misses a part."""
        told = (await answers(self._serving, "state")).values()
        stopping = self._stop.is_set() or all(stops for stops, _ in told)
        return stopping, any(degraded for _, degraded in told)

    @property
    def _serving(self) -> list[Channel]:
        return [channel for channel, worker in self._workers.items() if worker.serves.is_set()]

    def _signalled(self) -> None:
        """Have all workers drain; a second signal ends them, and this process, at once."""
        now = asyncio.get_running_loop().time()
        if not self._stop.is_set():
            self._echo_until = now + _ECHO
            self._end()
        elif now > self._echo_until:
            for worker in self._workers.values():
                worker.kill()
            os._exit(1)

    def _end(self, status: int = 0) -> None:
        self._status = self._status or status
        self._stop.set()
        self._hub.tell("drain")  # who is only starting hears it before anything else
