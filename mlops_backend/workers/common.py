"""What the workers of one service have in common: their parent keeps it, and each of them asks for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final

from mlops_backend.config import Settings
from mlops_backend.days import Calendar
from mlops_backend.errors import LimitsUnavailable
from mlops_backend.services.llm.leases import LeasesForWorkers, queue_bounds
from mlops_backend.services.other.journals import JournalsForWorkers, build_journals_of_parent
from mlops_backend.services.other.limits import USED, ParentCounters, ParentFailedKeys
from mlops_backend.workers.backends import BackendsOfWorkers
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.frames import ChannelError
from mlops_backend.workers.hub import Hub
from mlops_backend.workers.log_level import LogLevelOfWorkers

# The names by which houses that the parent has no use for hear of this; their modules would bring their libraries.
WRITE: Final = "ledger.write"
KEY_CHANGED: Final = "keys.changed"
TRIPPED: Final = "breakers.tripped"
# What is asked of all others, each of whom has its own.
ASKED_OF_OTHERS: Final = ("generations.listed", "generations.ended", "failures.listed")
_WITHIN: Final = 2.0
# A worker's own clock for its ledger is shorter.
_LEDGER_WITHIN: Final = 8.0


class Common:
    """The parent's side of all of it; it is there for as long as the hub is.

    Args:
        hub: leads to the workers.
        settings: of the whole service. With `REDIS_URL` the counters of limits and the journals are not here.
    """

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub = hub
        self.backends = BackendsOfWorkers(hub)
        LogLevelOfWorkers(hub, settings.log_level)
        for name in (WRITE, KEY_CHANGED):
            hub.handlers.on(name, partial(self._pass_on, name))
        for name in ASKED_OF_OTHERS:
            hub.handlers.on(name, partial(self._asked_of_others, name))
        hub.handlers.on(TRIPPED, lambda worker, told: hub.tell(TRIPPED, told, but=worker))
        leases = LeasesForWorkers(hub.handlers, queue_bounds(settings))
        hub.when_one_leaves(leases.lose)
        if settings.auth_failure_limit:
            ParentFailedKeys(hub.handlers, self._others, settings.auth_failure_limit)
        if not settings.redis_url.get_secret_value():
            ledger = LedgerOfWorkers(hub)
            choices: dict[str, Any] = {"budgets_fail_open": settings.budgets_fail_open}
            counters = ParentCounters(hub.handlers, ledger, calendar=Calendar(settings.timezone), **choices)
            hub.when_one_leaves(counters.lose)
            journals = JournalsForWorkers(hub.handlers, build_journals_of_parent(settings))
            hub.when_one_leaves(journals.lose)

    async def _pass_on(self, name: str, worker: Channel, payload: Any) -> None:
        """Tell the others, and come back when they have heard."""
        await self._others(name, payload, worker)

    async def _asked_of_others(self, name: str, worker: Channel, payload: Any) -> list[Any]:
        """What each of the others answers."""
        return await self._hub.ask(name, payload, but=worker, within=_WITHIN)

    async def _others(self, name: str, payload: Any, worker: Channel) -> None:
        await self._hub.ask(name, payload, but=worker, within=_WITHIN)


class LedgerOfWorkers:
    """What the ledger knows of the past, asked of any worker that can tell."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def used(self, principal_id: str, since: datetime) -> int:
        """Tokens of the generations that a key started since then, once every worker has written those that it knows.

        Raises:
            AppError: no worker can tell.
        """
        await self._hub.ask(WRITE, within=_WITHIN)
        start = round(since.timestamp()) * 1_000_000
        for channel in self._hub.channels:
            if channel.was_heard:
                with suppress(ChannelError, TimeoutError):
                    async with asyncio.timeout(_LEDGER_WITHIN):
                        return int(await channel.ask(USED, (principal_id, start)))
        raise LimitsUnavailable("The budget of this key cannot be checked at present: no worker can tell.")
