"""Responses whose time has passed."""

from __future__ import annotations

from typing import Final

import structlog

from mlops_backend.services.other.database import Database, Hourly
from mlops_backend.services.other.responses import writes

log: Final = structlog.get_logger(__name__)


class ExpiredResponses(Hourly):
    """Deletes them, some at a time; nobody is shown them before.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    async def sweep(self, now: float) -> int:
        """Delete those whose time has passed at `now`, in seconds since the epoch; how many there were.

        Raises:
            DatabaseDown: it cannot be reached; what was deleted by then is.
        """
        moment, deleted, some = int(now * 1000), 0, writes.AT_ONCE
        while some == writes.AT_ONCE and not self._closing.is_set():
            some = await self._database.transaction(lambda connection: writes.remove_expired(connection, moment))
            deleted += some
        return deleted

    def _tell(self, done: int) -> None:
        log.info("old responses are deleted", responses=done)

    def _tell_failed(self) -> None:
        log.exception("old responses cannot be deleted")
