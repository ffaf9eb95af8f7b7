"""Turns at what there is little of, so that nobody who asks much keeps it from the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from random import Random
from typing import Final

# Who is asked for in this task: a principal's id; empty for what the service does of itself.
ASKING: Final[ContextVar[str]] = ContextVar("asking", default="")


# Who came together is not refused together, which would be one long turn of the event loop.
_SOONEST: Final = 0.5
_CHANCE: Final = Random()  # noqa: S311 - no secret is made of it


class NoTurn(Exception):
    """It did not come to this one in time."""


class Shares:
    """So many at once, and of each who asks fewer.

    Args:
        most: at once.
        each: at once of one.
        patience: seconds to wait for a turn.
    """

    def __init__(self, most: int, each: int, patience: float) -> None:
        self._turns = asyncio.Semaphore(most)
        self._most, self._each = most, each
        self._patience = patience
        self._of: dict[str, tuple[asyncio.Semaphore, list[None]]] = {}

    @asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """A turn until the end of the block; whoever is at their share waits for themselves first.

        What the service does of itself has no share of its own.

        Raises:
            NoTurn: it took too long.
        """
        own, users = self._of.setdefault(who, (asyncio.Semaphore(self._each if who else self._most), []))
        users.append(None)
        try:
            try:
                async with asyncio.timeout(self._patience * _CHANCE.uniform(_SOONEST, 1)):
                    await own.acquire()
                    try:
                        await self._turns.acquire()
                    except BaseException:
                        own.release()
                        raise
            except TimeoutError:
                raise NoTurn from None
            try:
                yield
            finally:
                self._turns.release()
                own.release()
        finally:
            users.pop()
            if not users:
                del self._of[who]
