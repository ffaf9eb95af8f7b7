"""Whether the database can be read, and whether it can be written to: a full disk ends the one and not the other."""

from __future__ import annotations

from time import monotonic
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
        self.passing = False
        self._failed_at = 0.0

    def went_since(self, moment: float) -> bool:
        """Whether somebody found since then that nobody answers: who has waited until now need not find it again."""
        return self.passing and self._failed_at >= moment

    @property
    def trouble(self) -> str:
        """What is wrong, for the operator; empty when nothing is."""
        return "" if self.up else f"{self._lost}: {self.reason or 'it has not answered yet'}"

    def works(self) -> None:
        """It was done."""
        if self._missed:
            log.info(self._found)
        self.up, self._missed, self.passing, self.reason = True, False, False, ""

    def fails(self, reason: str, passing: bool = False) -> None:
        """It could not be done.

        Args:
            reason: what was said.
            passing: whether that is over with the next good connection, whatever it is for.
        """
        if not self._missed:
            log.error(self._lost, error=reason)
        self.up, self._missed, self.passing, self.reason = False, True, passing, reason
        self._failed_at = monotonic()
