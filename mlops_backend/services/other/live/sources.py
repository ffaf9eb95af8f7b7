"""Where it is looked, and what each look finds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from mlops_backend.services.llm.backends import BackendDesk
from mlops_backend.services.llm.generation import Running
from mlops_backend.services.llm.leases import Lessor, View
from mlops_backend.services.other.live.failures import ALL, Failures

T = TypeVar("T")

# Of so many that run all are told; of more each key's own are asked for.
MOST_RUNNING: Final = 1000
# Backends are asked so often, and no more, what they have loaded.
ASK_BACKENDS_EVERY: Final = 5.0
# What takes longer is told with a later look.
_PATIENCE: Final = 0.5

log: Final = structlog.get_logger(__name__)


class Looks(Protocol):
    """Looks at everything once, for all who listen."""

    async def look(self, keys: Sequence[str]) -> Found:
        """What there is now."""

    async def aclose(self) -> None:
        """Look no more."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is now; `None` where nobody knows yet.

    `running` and `failures` are lists by keys, and of all under `ALL`; what runs is told of all alone where that is
    everything. `models` are those of all backends, each with
    whether one has it loaded.
    """

    queue: View | None = None
    max_waiting: int = 0
    running: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    failures: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    backends: Mapping[str, Any] | None = None
    models: Sequence[tuple[Mapping[str, Any], bool]] | None = field(default=None, repr=False)


class _Source(Generic[T]):
    """Something that is asked now and then, by one at a time; what it said last counts until it says something else."""

    def __init__(self, name: str, every: float = 0.0) -> None:
        self._name, self._every = name, every
        self._due = 0.0
        self._asked: asyncio.Task[None] | None = None
        self._fails = False
        self.last: T | None = None

    def ask(self, question: Callable[[], Awaitable[T]]) -> asyncio.Task[None] | None:
        """Begin to ask, unless that goes on already, or is not due; what goes on."""
        now = monotonic()
        if (self._asked is None or self._asked.done()) and now >= self._due:
            self._due = now + self._every
            self._asked = asyncio.create_task(self._ask(question))
        return self._asked

    async def aclose(self) -> None:
        """Ask no more."""
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.gather(self._asked, return_exceptions=True)

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> None:
        try:
            self.last = await question()
            self._fails = False
        except Exception as error:  # whatever it is, the others are told
            if not self._fails:
                reason = str(error) or type(error).__name__
                log.warning("the console is not told of something", source=self._name, reason=reason)
            self._fails = True


class Sources:
    """The queue, what runs, the backends and what failed.

    Args:
        leases: have the queue.
        running: what runs.
        desk: of the backends.
        failures: what failed last.
    """

    def __init__(self, leases: Lessor, running: Running, desk: BackendDesk, failures: Failures) -> None:
        self._leases, self._running, self._desk, self._failures = leases, running, desk, failures
        self._queue = _Source[View]("queue")
        self._runs = _Source[Mapping[str, Sequence[Mapping[str, Any]]]]("generations")
        self._failed = _Source[Mapping[str, Sequence[Mapping[str, Any]]]]("errors")
        self._backends = _Source[Any]("backends", ASK_BACKENDS_EVERY)

    async def look(self, keys: Sequence[str]) -> Found:
        """What there is now; a source that is late, or fails, is as it was.

        Args:
            keys: whose own are told, beside what is told of all.
        """
        asked = [
            self._queue.ask(lambda: self._leases.view(None)),
            self._runs.ask(lambda: self._listed(keys)),
            self._failed.ask(lambda: self._failures.listed([ALL, *keys])),
            self._backends.ask(self._desk.listed),
        ]
        await asyncio.wait([task for task in asked if task is not None], timeout=_PATIENCE)
        known = self._backends.last is not None
        return Found(
            self._queue.last,
            self._leases.bounds.waiting,
            self._runs.last,
            self._failed.last,
            self._desk.known() if known else None,
            list(self._desk.models()) if known else None,
        )

    async def aclose(self) -> None:
        """Look no more."""
        for source in (self._queue, self._runs, self._failed, self._backends):
            await source.aclose()

    async def _listed(self, keys: Sequence[str]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        everything = await self._running.listed(None)
        own = keys if len(everything) >= MOST_RUNNING else ()
        return {ALL: everything, **{key: await self._running.listed(key) for key in own}}
