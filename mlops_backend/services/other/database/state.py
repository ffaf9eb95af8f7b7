"""Whether the database can be read, and whether it can be written to: a full disk ends the one and not the other."""

from __future__ import annotations

from typing import Final

import structlog

log: Final = structlog.get_logger(__name__)


class State:
    """One of the two; its changes are told once each.

    Args:
        lost: how the log tells that it cannot be done any more.
        found: how it tells that it can be done again.
    """

    def __init__(self, lost: str, found: str) -> None:
        self._lost = lost
        self._found = found
        self._missed = False
        self.up = False
        self.reason = ""

    @property
    def trouble(self) -> str:
        """What is wrong, for the operator; empty when nothing is."""
        return "" if self.up else f"{self._lost}: {self.reason or 'it has not answered yet'}"

    def works(self) -> None:
        """It was done."""
        if self._missed:
            log.info(self._found)
        self.up, self._missed, self.reason = True, False, ""

    def fails(self, reason: str) -> None:
        """It could not be done."""
        if not self._missed:
            log.error(self._lost, error=reason)
        self.up, self._missed, self.reason = False, True, reason
