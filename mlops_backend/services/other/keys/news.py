"""What changes of the keys through one of several workers, told to the others at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlops_backend.errors import Unavailable
from mlops_backend.services.other.keys.cache import KeyCache
from mlops_backend.shared import Shared

CHANGED: Final = "keys.changed"


class KeyNews:
    """Between the keys of this worker and its parent, which passes on what is told.

    Args:
        cache: the keys of this worker.
        shared: leads to the parent.
    """

    def __init__(self, cache: KeyCache, shared: Shared) -> None:
        self._cache = cache
        self._parent = shared.parent
        shared.hears.on(CHANGED, self._told, list[dict[str, Any]])

    async def changed(self, rows: Sequence[Mapping[Any, Any]]) -> None:
        """A key was changed through this worker: come back when all hold it as it is.

        A worker that cannot hear just now reads it as if another service had changed it, within a second.
        """
        await self._cache.changed(rows)
        try:
            await self._parent.ask(CHANGED, [dict(row) for row in rows])
        except Unavailable:
            return

    def _told(self, _: object, rows: list[dict[str, Any]]) -> None:
        self._cache.told(rows)
