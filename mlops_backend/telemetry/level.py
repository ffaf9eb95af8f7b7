"""The level of this process's log, which may be another one than the configured one for a while."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

import structlog

from mlops_backend.telemetry.logging import use_level

# What a level is changed to, and for how many seconds: `None` for as long as nobody changes it again.
Change = tuple[str, float | None]

log: Final = structlog.get_logger(__name__)


class Level:
    """The level, as it is at present.

    Args:
        configured: `LOG_LEVEL`, to which it goes back.
    """

    def __init__(self, configured: str) -> None:
        self.configured = configured
        self.name = configured
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def left(self) -> float | None:
        """In how many seconds it goes back; `None`: it does not by itself."""
        return None if self._until is None else max(0.0, self._until - monotonic())

    def use(self, name: str, seconds: float | None) -> None:
        """Log at this level from now on, or for so long."""
        self.forget()
        self.name = name
        use_level(name)
        if seconds is not None:
            self._until = monotonic() + seconds
            self._timer = asyncio.get_running_loop().call_later(seconds, self._back)
        log.info("log_level", now=name, seconds=seconds)

    def forget(self) -> None:
        """It does not go back any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._until = None

    def _back(self) -> None:
        self.use(self.configured, None)
