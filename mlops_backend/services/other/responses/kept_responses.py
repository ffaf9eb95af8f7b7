"""Responses that have ended, on their way into the database: nobody waits for them but who continues one at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from mlops_backend.services.other.database import Database, PatientWrites
from mlops_backend.services.other.responses import writes
from mlops_backend.services.other.responses.rows import StoredResponse
from mlops_backend.services.other.responses.writes import Bounds

# How long one waits for a response that is just being written.
_PATIENCE: Final = 5.0

log: Final = structlog.get_logger(__name__)


class KeptResponses(PatientWrites[None]):
    """Writes responses patiently.

    Args:
        database: where they go.
        bounds: how much may be kept.
    """

    def __init__(self, database: Database, bounds: Bounds) -> None:
        super().__init__()
        self._database = database
        self._bounds = bounds
        self._by_id: dict[str, asyncio.Task[None]] = {}

    def keep(self, response: StoredResponse, used: Sequence[str]) -> None:
        """Keep a response, and for as long those that it continues, by their ids."""
        task = self.write(
            response.id,
            response.bytes,
            lambda: self._database.transaction(
                lambda connection: writes.keep(connection, response, used, self._bounds)
            ),
        )
        self._by_id[response.id] = task
        task.add_done_callback(lambda _: self._by_id.pop(response.id, None))

    async def written(self, response_id: str) -> None:
        """Wait for a response that is being written, but not for long."""
        if (task := self._by_id.get(response_id)) is not None:
            await asyncio.wait({task}, timeout=_PATIENCE)

    def _tell_late(self, lost: int) -> None:
        log.error("responses are lost: they could not be written before the end", lost=lost)

    def _tell_lost(self, named: str) -> None:
        log.error("a response is lost: it could not be written in time", response=named)

    def _tell_failed(self, named: str) -> None:
        log.exception("a response is lost", response=named)
