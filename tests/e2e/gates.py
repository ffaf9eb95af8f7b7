"""Turnstiles for the fake Ollama: `fake.gate = AfterFirstLine()`."""

from __future__ import annotations

import asyncio

from tests.fakes.gate import Gate

_STALLED = 0.25


class AfterFirstLine(Gate):
    """Lets the first line of every stream leave, and the others when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self._begun: set[object] = set()
        self.hold()

    async def step(self) -> None:
        """Pass, when it is allowed."""
        stream = asyncio.current_task()
        if stream in self._begun:
            await super().step()
        self._begun.add(stream)


class CountingGate(Gate):
    """Counts the lines that leave, and tells when no more do: the service has stopped reading."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def step(self) -> None:
        """Pass, and be counted."""
        await super().step()
        self.count += 1

    async def stalled(self, timeout: float = 10) -> int:
        """Wait until nothing has left for a while, after something has; returns how many lines left."""
        async with asyncio.timeout(timeout):
            seen = -1
            while not self.count or seen != self.count:
                seen = self.count
                await asyncio.sleep(_STALLED)
        return seen
