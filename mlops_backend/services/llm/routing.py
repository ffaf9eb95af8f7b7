"""Routing: which backend serves a request, and what is known of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any, Final

from mlops_backend.errors import AppError, NoUsableBackend
from mlops_backend.services.llm.backends import Backend
from mlops_backend.services.llm.model_names import canonical

PROBE_LIFE: Final = 2.0
KNOWN_LIFE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What one look at a backend found; `latency` in seconds, `error` for the operator when unreachable."""

    backend: Backend
    reachable: bool
    version: str = ""
    latency: float = 0.0
    models: tuple[dict[str, Any], ...] = ()
    error: str = ""


class _Look:
    """The last probe of one backend, and the one under way."""

    def __init__(self, backend: Backend, timeout: float) -> None:
        self.backend = backend
        self._timeout = timeout
        self._last: Probe | None = None
        self._at = 0.0
        self._task: asyncio.Task[Probe] | None = None

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
        return probe

    async def _ask(self) -> Probe:
        started = perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                version = await self.backend.version()
                latency = perf_counter() - started
                models = await self.backend.tags()
        except TimeoutError:
            return Probe(self.backend, reachable=False, error="The backend did not answer in time.")
        except AppError as error:
            return Probe(self.backend, reachable=False, error=error.message)
        return Probe(self.backend, reachable=True, version=version, latency=latency, models=tuple(models))


class BackendPool:
    """The backends of this process.

    Probes are shared by all who ask within `PROBE_LIFE` seconds, so that health checks by strangers cannot flood a
    backend, and each takes `timeout` seconds at most. What needs only one backend waits for no other: one that hangs
    does not slow down the rest.
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
        """A look at every backend, at most `PROBE_LIFE` seconds old; one that fails is reported, never raised."""
        return await asyncio.gather(*(asyncio.shield(look.refresh()) for look in self._looks))

    async def any_reachable(self) -> bool:
        """Whether some backend answers; says yes at the first that does."""
        return any(probe.reachable for probe in await self._known_until(lambda probe: probe.reachable, PROBE_LIFE))

    async def candidates(self, model: str) -> Sequence[Backend]:
        """The backends to try for `model`, best first: those that list it take turns, the other reachable ones follow.

        With one backend nobody is asked: the backend is the authority on what it has.

        Raises:
            NoUsableBackend: there is none, or none answers.
        """
        if len(self._looks) == 1:
            return [self._looks[0].backend]
        probes = await self._known_until(lambda probe: _has(probe, model), KNOWN_LIFE)
        having = [probe.backend for probe in probes if _has(probe, model)]
        others = [probe.backend for probe in probes if probe.reachable and not _has(probe, model)]
        if not having and not others:
            raise NoUsableBackend("No backend can be reached at present.")
        self._turn += 1
        start = self._turn % len(having) if having else 0
        return [*having[start:], *having[:start], *others]

    async def holder(self, model: str) -> Backend:
        """The first backend, in the operator's order, that lists `model`; the very first when none does."""
        if len(self._looks) > 1:
            for probe in await self.probe():
                if _has(probe, model):
                    return probe.backend
        return self.home

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

    async def _known_until(self, enough: Callable[[Probe], bool], life: float) -> list[Probe]:
        """What is known of each backend, refreshed in the background; waits only while nothing known is `enough`."""
        waiting: set[asyncio.Task[Probe]] = {look.refresh() for look in self._looks}
        while True:
            known = [probe for look in self._looks if (probe := look.known(life)) is not None]
            waiting = {task for task in waiting if not task.done()}
            if not waiting or any(map(enough, known)):
                return known
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


def _has(probe: Probe, model: str) -> bool:
    wanted = canonical(model)
    return any(canonical(str(entry.get("name", ""))) == wanted for entry in probe.models)
