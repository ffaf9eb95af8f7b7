"""What the parent remembers of the backends, for the workers that ask them: it asks none itself."""

from __future__ import annotations

from typing import Any, Final

from mlops_backend.workers.channel import Channel
from mlops_backend.workers.hub import Hub

# The names by which the workers hear of this; the module that has them too would bring the clients of backends.
BEGIN: Final = "backends.begin"
DRAIN: Final = "backends.drain"
GOOD: Final = "backends.good"
REREAD: Final = "backends.reread"
_WITHIN: Final = 2.0
_MOST_DRAINED: Final = 1000


class BackendsOfWorkers:
    """Which backends are drained, and the last file of backends that a worker could use.

    Args:
        hub: leads to the workers.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._drained: dict[str, None] = {}
        self._text = ""
        hub.handlers.on(BEGIN, self._begin)
        hub.handlers.on(DRAIN, self._drain, tuple[str, bool])
        hub.handlers.on(GOOD, self._good, str)

    def reread(self) -> None:
        """Have every worker read the file."""
        self._hub.tell(REREAD)

    def _begin(self, _: Channel, __: Any) -> tuple[list[str], str]:
        return list(self._drained), self._text

    def _good(self, _: Channel, text: str) -> None:
        self._text = text

    async def _drain(self, _: Channel, change: tuple[str, bool]) -> None:
        """Tell all, who asks too: so the last word is the same for each of them."""
        name, drained = change
        self._drained.pop(name, None)
        if drained:
            self._drained[name] = None
            if len(self._drained) > _MOST_DRAINED:
                del self._drained[next(iter(self._drained))]
        await self._hub.ask(DRAIN, change, within=_WITHIN)
