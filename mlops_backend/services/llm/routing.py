"""Routing: which backend serves a request, and what is known of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any, Final

from mlops_backend.errors import AppError, NoUsableBackend
from mlops_backend.services.llm.backends import Backend

PROBE_LIFE: Final = 2.0
_DEFAULT_PREFIXES: Final = ("registry.ollama.ai/", "library/")


@dataclass(frozen=True, slots=True)
class Probe:
    """What one look at a backend found; `latency` in seconds, `error` for the operator when unreachable."""

    backend: Backend
    reachable: bool
    version: str = ""
    latency: float = 0.0
    models: tuple[dict[str, Any], ...] = ()
    error: str = ""


class BackendPool:
    """The backends of this process.

    Probes are shared by all who ask within `PROBE_LIFE` seconds, so that health checks by strangers cannot flood a
    backend, and each takes `timeout` seconds at most.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._backends: tuple[Backend, ...] = ()
        self._probing: asyncio.Task[tuple[Probe, ...]] | None = None
        self._probed_at = 0.0
        self._turn = 0

    @property
    def backends(self) -> Sequence[Backend]:
        """All of them, in the operator's order."""
        return self._backends

    def use(self, backends: Sequence[Backend]) -> None:
        """Set the backends; at start-up, once."""
        self._backends = tuple(backends)
        self._probing = None

    async def close(self) -> None:
        """End a look that is under way."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
            self._probing = None

    async def probe(self) -> tuple[Probe, ...]:
        """A look at every backend, at most `PROBE_LIFE` seconds old; one that fails is reported, never raised."""
        if self._probing is None or (self._probing.done() and monotonic() - self._probed_at > PROBE_LIFE):
            self._probing = asyncio.create_task(self._probe_all())
        return await asyncio.shield(self._probing)

    async def candidates(self, model: str) -> Sequence[Backend]:
        """The backends to try for `model`, best first: those that list it take turns, the other reachable ones follow.

        With one backend nobody is asked: the backend is the authority on what it has.

        Raises:
            NoUsableBackend: there is none, or none answers.
        """
        if len(self._backends) == 1:
            return self._backends
        reachable = [probe for probe in await self.probe() if probe.reachable]
        if not reachable:
            raise NoUsableBackend("No backend can be reached at present.")
        having = [probe.backend for probe in reachable if _has(probe, model)]
        others = [probe.backend for probe in reachable if not _has(probe, model)]
        self._turn += 1
        start = self._turn % len(having) if having else 0
        return [*having[start:], *having[:start], *others]

    async def _probe_all(self) -> tuple[Probe, ...]:
        probes = await asyncio.gather(*(self._probe(backend) for backend in self._backends))
        self._probed_at = monotonic()
        return tuple(probes)

    async def _probe(self, backend: Backend) -> Probe:
        started = perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                version = await backend.version()
                latency = perf_counter() - started
                models = await backend.tags()
        except TimeoutError:
            return Probe(backend, reachable=False, error="The backend did not answer in time.")
        except AppError as error:
            return Probe(backend, reachable=False, error=error.message)
        return Probe(backend, reachable=True, version=version, latency=latency, models=tuple(models))


def canonical(model: str) -> str:
    """One spelling for the names that Ollama takes for the same model: `llama3` = `library/llama3:latest`."""
    name = model.strip().lower()
    for prefix in _DEFAULT_PREFIXES:
        name = name.removeprefix(prefix)
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _has(probe: Probe, model: str) -> bool:
    wanted = canonical(model)
    return any(canonical(str(entry.get("name", ""))) == wanted for entry in probe.models)
