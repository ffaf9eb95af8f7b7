"""The generations that run, or wait to: seen by those whose they are, and ended from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import time
from typing import Any, Final

from mlops_backend.errors import GenerationCancelled, Unavailable
from mlops_backend.services.llm.generation.admission import Admission, Generation
from mlops_backend.shared import Bus, Shared
from mlops_backend.telemetry.record import RequestRecord

LISTED: Final = "generations.listed"
ENDED: Final = "generations.ended"
# More than anybody reads.
_MOST: Final = 1000


class Running:
    """The generations of this process.

    Args:
        admission: what runs.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def listed(self, key_id: str | None) -> list[dict[str, Any]]:
        """Those of a key, or of all with `None`; the oldest first, a thousand at most."""
        return self._here(key_id)

    async def end(self, request_id: str, key_id: str | None) -> int:
        """End those of a request, if they are of that key, or whosever they are with `None`; how many they were.

        The backend is let go of at once; the client is told that it was ended.
        """
        return self._end_here(request_id, key_id)

    def _here(self, key_id: str | None) -> list[dict[str, Any]]:
        found = sorted(self._of(key_id), key=lambda generation: generation.record.at)
        return [_shown(generation) for generation in found[:_MOST]]

    def _end_here(self, request_id: str, key_id: str | None) -> int:
        meant = [generation for generation in self._of(key_id) if generation.record.id == request_id]
        for generation in meant:
            generation.watch.interrupt(GenerationCancelled("This generation was ended by request."))
        return len(meant)

    def _of(self, key_id: str | None) -> Iterator[Generation]:
        for generation in self._admission.generations:
            caller = generation.record.caller
            if generation.record.generates and (key_id is None or (caller is not None and caller.id == key_id)):
                yield generation


class RunningOfWorkers(Running):
    """Those of all workers of a service.

    Args:
        admission: what runs in this one.
        shared: leads to the others.
    """

    def __init__(self, admission: Admission, shared: Shared) -> None:
        super().__init__(admission)
        self._parent = shared.parent
        shared.hears.on(LISTED, lambda _, key_id: self._here(key_id), str | None)
        shared.hears.on(ENDED, lambda _, asked: self._end_here(*asked), tuple[str, str | None])

    async def listed(self, key_id: str | None) -> list[dict[str, Any]]:
        """See `Running.listed`; a worker that cannot be asked just now is left out."""
        found = self._here(key_id)
        for theirs in await self._others(LISTED, key_id):
            found += theirs
        return sorted(found, key=lambda generation: str(generation["started_at"]))[:_MOST]

    async def end(self, request_id: str, key_id: str | None) -> int:
        """See `Running.end`."""
        return self._end_here(request_id, key_id) + sum(map(int, await self._others(ENDED, (request_id, key_id))))

    async def _others(self, name: str, payload: Any) -> list[Any]:
        try:
            return list(await self._parent.ask(name, payload))
        except Unavailable:
            return []


class RunningEverywhere(Running):
    """Those of all processes that have the same Redis, whichever machine they are on.

    Args:
        admission: what runs in this one.
        near: those of this process and of its fellow workers, which is all that is seen while Redis is away.
        bus: leads to the others, who have half a second for an answer.
    """

    def __init__(self, admission: Admission, near: Running, bus: Bus) -> None:
        super().__init__(admission)
        self._near, self._bus = near, bus
        bus.on(LISTED, lambda _, key_id: self._here(key_id), str | None)
        bus.on(ENDED, lambda _, asked: self._end_here(*asked), tuple[str, str | None])

    async def listed(self, key_id: str | None) -> list[dict[str, Any]]:
        """See `Running.listed`; a process that does not answer in time is left out."""
        answers = await self._bus.ask(LISTED, key_id)
        if answers is None:
            return await self._near.listed(key_id)
        found = [*self._here(key_id), *(each for theirs in answers for each in theirs)]
        return sorted(found, key=lambda generation: str(generation["started_at"]))[:_MOST]

    async def end(self, request_id: str, key_id: str | None) -> int:
        """See `Running.end`."""
        answers = await self._bus.ask(ENDED, (request_id, key_id))
        if answers is None:
            return await self._near.end(request_id, key_id)
        return self._end_here(request_id, key_id) + sum(map(int, answers))


def _shown(generation: Generation) -> dict[str, Any]:
    record = generation.record
    return {
        "id": record.id,
        "key_id": "" if record.caller is None else record.caller.id,
        "key_name": "" if record.caller is None else record.caller.name,
        "route": record.route,
        "model": record.model,
        "backend": record.backend,
        "class": "batch" if record.gives_way else "interactive",
        "state": state_of(record),
        "started_at": record.at,
        "seconds": round(time() - record.at, 3),
        "bytes_out": record.bytes_out,
    }


def told_generation(generation: Mapping[str, Any], *, everything: bool) -> dict[str, Any]:
    """One of those that are listed as JSON tells it; its backend is for administrators, who are told `everything`."""
    at = datetime.fromtimestamp(generation["started_at"], UTC).isoformat(timespec="milliseconds")
    told = {**generation, "started_at": at}
    if not everything:
        del told["backend"]
    return told


def state_of(record: RequestRecord) -> str:
    """Where a generation is, in a word: `queued`, `asked` (its backend loads or reads the prompt) or `answering`."""
    if record.first_byte is not None:
        return "answering"
    return "queued" if record.waits or not record.upstream_url else "asked"
