"""What runs beside the requests while Redis keeps the counters: settlements, signs of life, and looking for Redis."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import Final

import structlog

from mlops_backend.redis_clients import REDIS_ERRORS
from mlops_backend.redis_link import Presence
from mlops_backend.services.other.limits.redis_store import RedisStore, Settlement

MOST_PENDING: Final = 100_000
_BATCH: Final = 500
_PAUSE: Final = 0.5
_HEARTBEAT: Final = 15.0
_LAST: Final = 2.0


class Upkeep:
    """Ends reservations in the order in which their owners did, and keeps alive those that are open.

    While Redis is down this alone looks for it, so that no request waits; settlements wait until it is back.
    """

    def __init__(self, store: RedisStore, *, heartbeat: float = _HEARTBEAT) -> None:
        self._store = store
        self._heartbeat = heartbeat
        self._pending: deque[Settlement] = deque()
        self._open: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._renew_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._presence = Presence("limits")
        self.dropped = 0

    @property
    def up(self) -> bool:
        """Whether Redis is asked at present."""
        return self._presence.up

    @property
    def trouble(self) -> str:
        """Why not, in words; empty while it is."""
        return self._presence.trouble

    @property
    def pending(self) -> int:
        """Settlements that Redis doesn't know of yet."""
        return len(self._pending)

    def opened(self, reservation: str, principal_id: str) -> None:
        """From now on say of a reservation that it lives."""
        self._open[reservation] = principal_id

    def ended(self, settlement: Settlement) -> None:
        """Tell Redis, soon; the newest is dropped where too many wait, and expires as if its process had died."""
        self._open.pop(settlement.id, None)
        if len(self._pending) >= MOST_PENDING:
            self.dropped += 1
            return
        self._pending.append(settlement)
        self._wake.set()

    def failed(self, error: BaseException) -> None:
        """Redis did not answer as it should: nobody asks it until it does again."""
        self._presence.failed(error)
        self._wake.set()

    async def start(self) -> None:
        """See whether Redis is there, and begin."""
        try:
            await self._store.probe()
        except REDIS_ERRORS as error:
            self.failed(error)
        self._renew_at = monotonic() + self._heartbeat
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Stop, with a last attempt at what is pending."""
        self._stopping = True
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(*REDIS_ERRORS):
            async with asyncio.timeout(_LAST):
                while self._pending:
                    await self._send()
        if self._pending:
            structlog.get_logger().warning("limits_settlements_lost", count=len(self._pending))

    async def _run(self) -> None:
        # redis-py waits with wait_for, which on Python 3.11 can lose a cancel: the flag ends what that should have
        while not self._stopping:
            if not self.up:
                await asyncio.sleep(_PAUSE)
            elif not self._pending:
                await self._woken()
            try:
                await self._turn()
            except Exception as error:  # the task must outlive whatever is wrong with Redis
                self.failed(error)
            else:
                self._presence.recovered()

    async def _woken(self) -> None:
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._renew_at - monotonic())):
                await self._wake.wait()

    async def _turn(self) -> None:
        if not self.up:
            await self._store.probe()
        await self._send()
        while self._pending and not self.up:
            await self._send()
        if not self.up or monotonic() >= self._renew_at:
            await self._renew()

    async def _send(self) -> None:
        batch = list(islice(self._pending, _BATCH))
        self.dropped += await self._store.settle(batch)
        for _ in batch:
            self._pending.popleft()

    async def _renew(self) -> None:
        by_principal: defaultdict[str, list[str]] = defaultdict(list)
        for reservation, principal_id in self._open.items():
            by_principal[principal_id].append(reservation)
        await self._store.renew(
            [
                (principal_id, ids[first : first + _BATCH])
                for principal_id, ids in by_principal.items()
                for first in range(0, len(ids), _BATCH)
            ]
        )
        self._renew_at = monotonic() + self._heartbeat
