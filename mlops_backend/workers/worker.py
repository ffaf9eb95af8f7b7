"""A worker: a process that serves beside others, and lives no longer than its parent."""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
from contextlib import suppress
from functools import partial

from hypercorn.utils import LifespanFailureError, LifespanTimeoutError

from mlops_backend.config import ConfigError
from mlops_backend.event_loop import factory_of
from mlops_backend.memory import be_considerate, calm_garbage_collector
from mlops_backend.server import Server, refusal_of
from mlops_backend.shared import Shared
from mlops_backend.workers.board import Board
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.frames import ChannelError
from mlops_backend.workers.handlers import Handlers
from mlops_backend.workers.process import Briefing


def main(descriptor: int) -> int:
    """Serve until the parent says otherwise; the exit status.

    Args:
        descriptor: of the `Briefing`.
    """
    with os.fdopen(descriptor, "rb") as file:
        briefing: Briefing = pickle.load(file)  # noqa: S301 - our parent's, through memory that nobody else has
    be_considerate()
    with asyncio.Runner(loop_factory=factory_of(briefing.settings.event_loop)) as runner:
        return runner.run(_Work(briefing).run())


class _Work:
    """One worker's life."""

    def __init__(self, briefing: Briefing) -> None:
        self._briefing = briefing
        self._hears = Handlers()
        self._channel = Channel(self._hears, on_lost=self._lost)
        self._ending = False

    async def run(self) -> int:
        """Build the application, serve it, and tell the parent how that ends when it should not have."""
        status, words = 0, ""
        try:
            server = self._build()
        except ConfigError as error:
            status, words = 2, str(error)
        await self._channel.connect(socket.socket(fileno=self._briefing.channel))
        if not words:
            calm_garbage_collector()
            try:
                await server.run()
            except (LifespanFailureError, LifespanTimeoutError) as error:
                status, words = 1, refusal_of(error)
        self._ending = True
        with suppress(ChannelError):
            if words:
                await self._channel.ask("refused", [status, words])
            await self._channel.aclose()
        return status

    def _build(self) -> Server:
        told = self._briefing
        board = Board(told.board, told.settings.workers, told.index)
        server = Server(
            told.settings,
            socket.socket(fileno=told.listener),
            None if told.for_metrics is None else socket.socket(fileno=told.for_metrics),
            shared=Shared(told.index, self._channel, self._hears, told.engine),
            others=board,
            announce=partial(self._announce, board),
        )
        self._hears.on("drain", lambda _, __: server.stop())
        return server

    def _announce(self, board: Board, banner: str) -> None:
        board.enter()
        self._channel.tell("serves", banner)

    def _lost(self, _: Channel) -> None:
        """Without the parent nobody would stop this process, or count for it."""
        if not self._ending:
            os._exit(1)
