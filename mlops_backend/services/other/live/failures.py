"""The generations that failed last, of each key and of all; those before the service started are in the ledger."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mlops_backend.errors import Unavailable
from mlops_backend.services.other.usage import Noted
from mlops_backend.shared import Shared

LISTED: Final = "failures.listed"
# Under this name are those of all keys: no key is called so.
ALL: Final = ""
# What is the client's own doing is none: refusals, and that it left or ended it.
_FAILED: Final = frozenset({"error", "timeout", "drained"})
MOST: Final = 50
_MOST_OF_KEY: Final = 20
_MOST_KEYS: Final = 500

Failure = dict[str, Any]


class Failures:
    """Those of this process; so many, and of so many keys, that memory is bounded."""

    def __init__(self) -> None:
        self._all: deque[Failure] = deque(maxlen=MOST)
        self._of_key: OrderedDict[str, deque[Failure]] = OrderedDict()

    def note(self, generation: Noted) -> None:
        """Remember one that has ended, if it failed."""
        if generation.outcome not in _FAILED:
            return
        told = _told(generation)
        self._all.append(told)
        of_key = self._of_key.setdefault(generation.key_id, deque(maxlen=_MOST_OF_KEY))
        self._of_key.move_to_end(generation.key_id)
        of_key.append(told)
        if len(self._of_key) > _MOST_KEYS:
            self._of_key.popitem(last=False)

    async def listed(self, keys: Sequence[str]) -> Mapping[str, Sequence[Failure]]:
        """Those of each of these keys, and of all under `ALL`; the newest first."""
        return _newest_first([self._here(keys)], keys)

    def _here(self, keys: Sequence[str]) -> dict[str, list[Failure]]:
        return {key: [*(self._all if key == ALL else self._of_key.get(key, ()))] for key in keys}


class FailuresOfWorkers(Failures):
    """Those of all workers of a service.

    Args:
        shared: leads to the others.
    """

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self._parent = shared.parent
        shared.hears.on(LISTED, lambda _, keys: self._here(keys), list[str])

    async def listed(self, keys: Sequence[str]) -> Mapping[str, Sequence[Failure]]:
        """See `Failures.listed`; a worker that cannot be asked just now is left out."""
        try:
            theirs = await self._parent.ask(LISTED, list(keys))
        except Unavailable:
            theirs = []
        return _newest_first([self._here(keys), *theirs], keys)


def _newest_first(lists: Sequence[Mapping[str, Sequence[Failure]]], keys: Sequence[str]) -> dict[str, list[Failure]]:
    merged = {key: [failure for each in lists for failure in each.get(key, ())] for key in keys}
    for found in merged.values():
        found.sort(key=lambda failure: str(failure["ended_at"]), reverse=True)
    return {key: found[:MOST] for key, found in merged.items()}


def _told(generation: Noted) -> Failure:
    ended = datetime.fromtimestamp(generation.started_at / 1000 + generation.total, UTC)
    return {
        "id": generation.id,
        "request_id": generation.request_id,
        "ended_at": ended.isoformat(timespec="milliseconds"),
        "key_id": generation.key_id,
        "route": generation.route,
        "model": generation.model,
        "backend": generation.backend,
        "outcome": generation.outcome,
        "status": generation.status,
        "error": generation.error,
        "total_ms": round(generation.total * 1000),
    }
