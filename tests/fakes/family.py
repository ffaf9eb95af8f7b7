"""The parent of several workers and their ends of its channels, in one loop."""

from __future__ import annotations

import asyncio
import socket

from mlops_backend.config import Settings
from mlops_backend.shared import Shared
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.common import Common
from mlops_backend.workers.handlers import Handlers
from mlops_backend.workers.hub import Hub


class Family:
    """What workers have in common, and each one's place; they speak once it is open.

    Args:
        settings: of the service.
        number: of workers.
    """

    def __init__(self, settings: Settings, number: int = 2) -> None:
        self.hub = Hub()
        self.common = Common(self.hub, settings)
        self.hub.handlers.on("hello", lambda worker, what: None)
        self.channels = [Channel(Handlers()) for _ in range(number)]
        self.workers = [Shared(index, channel, channel.handlers) for index, channel in enumerate(self.channels)]

    async def open(self) -> None:
        """Connect all."""
        for index, channel in enumerate(self.channels):
            ours, its = socket.socketpair()
            await self.hub.join(ours, f"worker {index}")
            await channel.connect(its)
            await channel.ask("hello")

    async def aclose(self) -> None:
        """Leave."""
        await asyncio.gather(*(channel.aclose() for channel in self.channels))
        await self.hub.aclose()
