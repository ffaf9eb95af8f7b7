"""At which level the workers log: the parent does too, and remembers it for those who start later."""

from __future__ import annotations

from typing import Any, Final

from mlops_backend.services.other.log_level import BEGIN, SET
from mlops_backend.telemetry.level import Change, Level
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.hub import Hub

_WITHIN: Final = 2.0


class LogLevelOfWorkers:
    """The level of the parent, and so of all.

    Args:
        hub: leads to the workers.
        configured: `LOG_LEVEL`.
    """

    def __init__(self, hub: Hub, configured: str) -> None:
        self._hub = hub
        self._level = Level(configured)
        hub.handlers.on(BEGIN, self._begin)
        hub.handlers.on(SET, self._set, Change)

    def _begin(self, _: Channel, __: Any) -> Change | None:
        level = self._level
        return None if level.name == level.configured else (level.name, level.left)

    async def _set(self, _: Channel, change: Change) -> None:
        """Tell all, who asks too: so the last word is the same for each of them."""
        self._level.use(*change)
        await self._hub.ask(SET, change, within=_WITHIN)
