"""The level of the service's log, whichever of its processes is asked."""

from __future__ import annotations

from typing import Any, Final

from mlops_backend.shared import Shared
from mlops_backend.telemetry.level import Change, Level

BEGIN: Final = "log_level.begin"
SET: Final = "log_level.set"


class LogLevel:
    """The level, for administrators; where there are several workers, their parent remembers it for all.

    Args:
        configured: `LOG_LEVEL`.
        shared: its place among several workers.
    """

    def __init__(self, configured: str, shared: Shared | None) -> None:
        self._level = Level(configured)
        self._shared = shared
        self._heard = False
        if shared is not None:
            shared.hears.on(SET, lambda _, change: self._told(*change), Change)

    async def open(self) -> None:
        """Take over what holds in the others: one that takes another's place logs as that one did."""
        if self._shared is None:
            return
        change = await self._shared.parent.ask(BEGIN)
        if change is not None and not self._heard:  # what was heard meanwhile is as new, or newer
            self._level.use(*change)

    async def aclose(self) -> None:
        """Change nothing any more."""
        self._level.forget()

    def shown(self) -> dict[str, Any]:
        """The level that holds, the configured one, and in how many seconds the one becomes the other."""
        left = self._level.left
        return {
            "level": self._level.name,
            "configured": self._level.configured,
            "seconds_left": None if left is None else round(left, 3),
        }

    async def change(self, name: str, seconds: float | None) -> dict[str, Any]:
        """Log at another level from now on, or for so long; come back when it holds in all processes.

        Raises:
            Unavailable: the other workers cannot be told at present.
        """
        if self._shared is None:
            self._level.use(name, seconds)
        else:
            await self._shared.parent.ask(SET, (name, seconds))
        return self.shown()

    def _told(self, name: str, seconds: float | None) -> None:
        self._heard = True
        self._level.use(name, seconds)
