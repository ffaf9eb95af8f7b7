"""Replies that have ended, on their way into their conversations: their clients may be gone, and the database too."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Final

import structlog

from mlops_backend.errors import AppError, DatabaseBusy, DatabaseDown, NotFound
from mlops_backend.services.other.conversations.rows import Message
from mlops_backend.services.other.conversations.steps import Turn
from mlops_backend.services.other.conversations.turns import Turns

_AT_ONCE: Final = 200
_PATIENCE: Final = 60.0
_RETRY_AFTER: Final = 1.0
_MOST_WAITING: Final = 10_000
_MOST_WAITING_BYTES: Final = 64 * 1024 * 1024
_CLOSING_TIME: Final = 5.0
_NO_PROGRESS: Final = 1.5

log: Final = structlog.get_logger(__name__)


class KeptReplies:
    """Writes each in a task of its own, again and again for a minute while the database is away.

    Ten thousand may wait, and 64 MiB of them; those that come then are lost.

    `lost` counts those that could not be kept.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._keeping: set[asyncio.Task[int | None]] = set()
        self._waiting_bytes = 0
        self._closing = asyncio.Event()
        self._turn_to_write = asyncio.Semaphore(_AT_ONCE)
        self.lost = 0

    @property
    def waiting(self) -> int:
        """How many are not kept yet."""
        return len(self._keeping)

    async def open(self) -> None:
        """Nothing is needed before the first one."""

    async def aclose(self) -> None:
        """Let those that wait be kept, within five seconds and while it goes on; the log says what was lost."""
        self._closing.set()
        until, before = monotonic() + _CLOSING_TIME, len(self._keeping) + 1
        while self._keeping and len(self._keeping) < before and monotonic() < until:
            before = len(self._keeping)
            await asyncio.wait(self._keeping, timeout=_NO_PROGRESS)
        late = set(self._keeping)
        for task in late:
            task.cancel()
        for task in late:
            with suppress(asyncio.CancelledError, AppError):
                await task
        if late:
            self.lost += len(late)
            log.error("replies are lost: they could not be written before the end", lost=len(late))

    def keep(self, turn: Turn, reply: Message) -> asyncio.Task[int | None]:
        """Keep a reply; the task gives the version of the conversation with it, `None` when it is not in there."""
        task = asyncio.create_task(self._keep(turn, reply))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
        return task

    async def _keep(self, turn: Turn, reply: Message) -> int | None:
        self._waiting_bytes += reply.size
        try:
            return await self._patiently(turn, reply)
        except NotFound:
            return None  # the conversation was deleted meanwhile, and the reply with it
        except DatabaseDown:
            log.error("a reply is lost: it could not be written in time", conversation=turn.conversation_id)
        except Exception:
            log.exception("a reply is lost", conversation=turn.conversation_id)
        finally:
            self._waiting_bytes -= reply.size
        self.lost += 1
        return None

    async def _patiently(self, turn: Turn, reply: Message) -> int | None:
        until = monotonic() + _PATIENCE
        if self._is_crowded():
            raise DatabaseBusy("Too many replies wait to be kept.")
        while True:
            try:
                async with self._turn_to_write:
                    return await self._turns.keep(turn, reply)
            except DatabaseDown:
                if monotonic() > until or self._is_crowded():
                    raise
            await asyncio.sleep(_RETRY_AFTER / 10)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _RETRY_AFTER)

    def _is_crowded(self) -> bool:
        return len(self._keeping) > _MOST_WAITING or self._waiting_bytes > _MOST_WAITING_BYTES
