"""Routing: which backend serves a request, and what is known of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from time import monotonic, perf_counter
from typing import Any, Final

from mlops_backend.errors import AppError, NoUsableBackend
from mlops_backend.services.llm.backends.backend import Backend
from mlops_backend.services.llm.backends.statuses import NoList
from mlops_backend.services.llm.model_names import canonical

PROBE_LIFE: Final = 2.0
KNOWN_LIFE: Final = 30.0
# How long anybody waits for a backend that may well not answer; a healthy one takes milliseconds.
PATIENCE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Probe:
    """What one look at a backend found; `latency` in seconds, `error` and `note` for the operator.

    `lists` is false for one that is there and fails to tell its models: then they are those that it told last.
    `aliases` are names by which it is asked, and that no list has.
    """

    backend: Backend
    reachable: bool
    version: str = ""
    latency: float = 0.0
    models: tuple[dict[str, Any], ...] = ()
    error: str = ""
    lists: bool = True
    note: str = ""
    aliases: frozenset[str] = frozenset()


@dataclass(slots=True)
class Candidates:
    """The backends to ask, best first; `complete` when no other one can have the model.

    `left` are those that were not asked yet. `late` are those that nothing was known of yet, for the first that needs
    them.
    """

    left: list[Backend]
    complete: bool = True
    late: Callable[[], Awaitable[Sequence[Backend]]] | None = None

    async def pass_over(self, backend: Backend) -> bool:
        """Leave out one that is of no use, which may be said twice; whether there is another one."""
        self.left = [other for other in self.left if other is not backend]
        if not self.left and self.late is not None:
            late, self.late = self.late, None
            self.left += await late()
        return bool(self.left)


class _Look:
    """The last probe of one backend, the last that found it there, and the one under way."""

    def __init__(self, backend: Backend, timeout: float) -> None:
        self.backend = backend
        self._timeout = timeout
        self._last: Probe | None = None
        self._last_good: Probe | None = None
        self._at = 0.0
        self._task: asyncio.Task[Probe] | None = None

    @property
    def last(self) -> Probe:
        """The last probe, however old; there must have been one."""
        assert self._last is not None  # noqa: S101 - a programming error
        return self._last

    @property
    def seen(self) -> bool:
        """Whether it ever answered."""
        return self._last_good is not None

    @property
    def absent(self) -> bool:
        """Whether it did not answer last time: the next probe may take its whole time to find the same."""
        return self._last is not None and not self._last.reachable

    def had(self, model: str) -> bool:
        """Whether it listed `model` when it last answered."""
        return self._last_good is not None and _has(self._last_good, model)

    def known(self, life: float) -> Probe | None:
        """The last probe, unless it is older than `life` seconds."""
        return self._last if monotonic() - self._at <= life else None

    def refresh(self) -> asyncio.Task[Probe]:
        """A probe at most `PROBE_LIFE` seconds old; all who ask meanwhile share it."""
        fresh = self._task is not None and (not self._task.done() or self.known(PROBE_LIFE) is not None)
        if self._task is None or not fresh:
            self._task = asyncio.create_task(self._probe())
        return self._task

    async def close(self) -> None:
        """End the probe under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _probe(self) -> Probe:
        probe = await self._ask()
        self._last, self._at = probe, monotonic()
        self._last_good = probe if probe.reachable else self._last_good
        return probe

    async def _ask(self) -> Probe:
        started, version, latency = perf_counter(), "", 0.0
        try:
            async with asyncio.timeout(self._timeout):
                version = await self.backend.version()
                latency = perf_counter() - started
                models = await self.backend.tags()
        except TimeoutError:
            return Probe(self.backend, reachable=False, error="The backend did not answer in time.")
        except AppError as error:
            if version and isinstance(error, NoList):
                last = self._last_good or Probe(self.backend, reachable=True)
                told, aliases = last.models, last.aliases
                return Probe(self.backend, True, version, latency, told, error.message, lists=False, aliases=aliases)
            return Probe(self.backend, reachable=False, error=error.message)
        note, aliases = self.backend.note, self.backend.aliases()
        return Probe(self.backend, True, version, latency, tuple(models), note=note, aliases=aliases)


class BackendPool:
    """The backends of this process.

    Probes are shared by all who ask within `PROBE_LIFE` seconds, so that health checks by strangers cannot flood a
    backend, and each takes `timeout` seconds at most. One that hangs does not slow down the rest: what needs only one
    backend, or only one that lists a model, waits for no other once such a one is known; what needs them all waits
    `PATIENCE` seconds, no longer, for one that did not answer last time either.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._looks: tuple[_Look, ...] = ()
        self._turn = 0

    def use(self, backends: Sequence[Backend]) -> None:
        """Set the backends, in the operator's order; at start-up, once."""
        self._looks = tuple(_Look(backend, self._timeout) for backend in backends)

    async def close(self) -> None:
        """End the probes under way."""
        await asyncio.gather(*(look.close() for look in self._looks))

    async def probe(self) -> Sequence[Probe]:
        """A look at every backend, at most `PROBE_LIFE` seconds old; one that fails is reported, never raised.

        Of a backend that hangs, and did so before, the look before is told.
        """
        await self._known_until(lambda _: False, PROBE_LIFE)
        return [look.last for look in self._looks]

    async def unreachable(self) -> str | None:
        """Why no backend answers, by the operator's first one; None at the first that does."""
        known = await self._known_until(_answers, PROBE_LIFE)
        if any(probe.reachable for probe in known):
            return None
        return known[0].error if known else "There is no backend at present."

    async def reachable(self) -> Candidates:
        """The backends to try when any will do: those that answer, in the operator's order; see `candidates`.

        Raises:
            NoUsableBackend: there is none, or none answers.
        """
        if len(self._looks) == 1:
            return Candidates([self.home])
        known = await self._known_in_order(_answers)
        if not (answering := _backends(known, _answers)):
            raise no_usable(known)
        return Candidates([*answering])

    async def candidates(self, model: str, *, in_order: bool = False) -> Candidates:
        """The backends to try for `model`, best first.

        Those that list it; they take turns, or come in the operator's order. If none does, those that listed it when
        they last answered and do not answer now: their failure is the answer, for the others never had it. If there are
        none either, all that answer: what it has only a backend itself knows for certain. With one backend nobody is
        asked, and for no model any will do.

        As soon as one that lists it is known, no other is waited for; but in the operator's order one that comes before
        it, and of which nothing is known, has `PATIENCE` seconds to say that it lists it too; and so has any other when
        those that are known cannot answer.

        Raises:
            NoUsableBackend: there is none, or none answers.
        """
        if len(self._looks) == 1 or not model:
            return await self.reachable()

        def lists(probe: Probe) -> bool:
            return _has(probe, model)

        known = await (self._known_in_order(lists) if in_order else self._known_until(lists, KNOWN_LIFE))
        if having := _backends(known, lists):
            unknown = any(look.known(KNOWN_LIFE) is None for look in self._looks)
            late = partial(self._late, model, having) if unknown else None
            return Candidates([*(having if in_order else self._turned(having))], late=late)
        if not (answering := _backends(known, _answers)):
            raise no_usable(known)
        if had := [look.backend for look in self._looks if look.absent and look.had(model)]:
            return Candidates(had)
        return Candidates([*answering], complete=all(look.seen for look in self._looks))

    async def _late(self, model: str, having: Sequence[Backend]) -> Sequence[Backend]:
        """Who lists `model`, too, of those that were not waited for: a healthy one takes milliseconds to say so."""
        waiting = {look.refresh() for look in self._looks if look.known(KNOWN_LIFE) is None}
        if waiting:
            await asyncio.wait(waiting, timeout=PATIENCE)
        return [
            each for each in _backends(self._known(KNOWN_LIFE), lambda probe: _has(probe, model)) if each not in having
        ]

    @property
    def home(self) -> Backend:
        """The operator's first backend: where new models are made.

        Raises:
            NoUsableBackend: there is none.
        """
        if not self._looks:
            raise NoUsableBackend("There is no backend at present.")
        return self._looks[0].backend

    @property
    def only_ollama(self) -> bool:
        """Whether one Ollama is all there is, so that its own lists are the lists."""
        return len(self._looks) == 1 and self._looks[0].backend.kind == "ollama"

    async def _known_until(self, enough: Callable[[Probe], bool], life: float) -> Sequence[Probe]:
        """What is known of each backend, refreshed in the background; waits only while nothing known is `enough`.

        Those that did not answer last time are waited for only beside others, and else for `PATIENCE` seconds.
        """
        waiting = {look: look.refresh() for look in self._looks}
        patient_until = monotonic() + PATIENCE
        while True:
            known = self._known(life)
            waiting = {look: task for look, task in waiting.items() if not task.done()}
            left = None if any(not look.absent for look in waiting) else patient_until - monotonic()
            if not waiting or any(map(enough, known)) or (left is not None and left <= 0):
                return known
            await asyncio.wait(waiting.values(), timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _known_in_order(self, enough: Callable[[Probe], bool]) -> Sequence[Probe]:
        """The same, after a short wait for what is unknown of the backends before the first that is `enough`."""
        first = next(filter(enough, await self._known_until(enough, KNOWN_LIFE)), None)
        earlier = takewhile(lambda look: first is not None and look.backend is not first.backend, self._looks)
        if waiting := {look.refresh() for look in earlier if look.known(KNOWN_LIFE) is None}:
            await asyncio.wait(waiting, timeout=PATIENCE)
        return self._known(KNOWN_LIFE)

    def _known(self, life: float) -> Sequence[Probe]:
        return [probe for look in self._looks if (probe := look.known(life)) is not None]

    def _turned(self, backends: Sequence[Backend]) -> Sequence[Backend]:
        self._turn += 1
        start = self._turn % len(backends)
        return [*backends[start:], *backends[:start]]


def _backends(probes: Sequence[Probe], wanted: Callable[[Probe], bool]) -> Sequence[Backend]:
    return [probe.backend for probe in probes if wanted(probe)]


def no_usable(probes: Sequence[Probe]) -> NoUsableBackend:
    """The error when no backend of `probes` answers; of the only one it says why."""
    why = [probe.error for probe in probes] if len(probes) == 1 else []
    return NoUsableBackend(" ".join(["No backend can be reached at present.", *why]))


def _answers(probe: Probe) -> bool:
    return probe.reachable


def _has(probe: Probe, model: str) -> bool:
    wanted = canonical(model)
    return wanted in probe.aliases or any(canonical(str(entry.get("name", ""))) == wanted for entry in probe.models)
