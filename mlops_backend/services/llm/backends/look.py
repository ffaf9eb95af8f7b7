"""Looks at a backend: whether it is there, and what it says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from time import monotonic, perf_counter
from typing import Any, Final

import structlog

from mlops_backend.errors import AppError, NoUsableBackend
from mlops_backend.services.llm.backends.backend import Backend
from mlops_backend.services.llm.backends.described import Described
from mlops_backend.services.llm.backends.statuses import NoList
from mlops_backend.services.llm.model_names import canonical

log: Final = structlog.get_logger(__name__)

PROBE_LIFE: Final = 2.0
_LOADED_WITHIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What one look at a backend found; `latency` in seconds, `error` and `note` for the operator.

    `lists` is false for one that is there and fails to tell its models: then they are those that it told last.
    `names` are those of its models as `canonical` spells them, and the further ones by which it is asked. `loaded` are
    the models in its memory with their contexts; `None` where it was not asked, or does not tell.
    """

    backend: Backend
    reachable: bool
    version: str = ""
    latency: float = 0.0
    models: tuple[dict[str, Any], ...] = ()
    error: str = ""
    lists: bool = True
    note: str = ""
    names: frozenset[str] = frozenset()
    loaded: Mapping[str, int | None] | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A backend, what the last look at it found, if there was one, when that was, and whether it is drained."""

    described: Described
    probe: Probe | None
    at: float
    drained: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """How a backend is, and what is said of it."""

    described: Described
    probe: Probe
    drained: bool


class Look:
    """The last probe of one backend, the last that found it there, and the one under way.

    Args:
        described: the backend; what is said of it may be replaced.
        timeout: seconds that a probe may take.
        changed: called when one has ended.

    Attributes:
        at: when the last one ended, in `monotonic()` seconds.
    """

    def __init__(self, described: Described, timeout: float, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self.described = described
        self.backend = described.backend
        self.asks_loaded = False
        self._timeout = timeout
        self._last: Probe | None = None
        self._last_good: Probe | None = None
        self.at = 0.0
        # How much of its jitter the next look that nobody asked for comes early, from 0 to 1.
        self.next_early = 0.5
        self._task: asyncio.Task[Probe] | None = None

    @property
    def last(self) -> Probe:
        """The last probe, however old; there must have been one."""
        assert self._last is not None  # noqa: S101 - a programming error
        return self._last

    @property
    def last_or_none(self) -> Probe:
        """The same, where there may have been none yet."""
        return self._last or Probe(self.backend, reachable=False, error="It has not been asked yet.")

    def known_so_far(self, *, drained: bool) -> Known:
        """What is known now, however old it is."""
        return Known(self.described, self._last, self.at, drained)

    @property
    def seen(self) -> bool:
        """Whether it ever answered."""
        return self._last_good is not None

    @property
    def absent(self) -> bool:
        """Whether it did not answer last time: the next probe may take its whole time to find the same."""
        return self._last is not None and not self._last.reachable

    @property
    def is_looking(self) -> bool:
        """Whether a probe is under way."""
        return self._task is not None and not self._task.done()

    def had(self, model: str) -> bool:
        """Whether it listed `model` when it last answered."""
        return self._last_good is not None and has_model(self._last_good, model)

    def known(self, life: float) -> Probe | None:
        """The last probe, unless it is older than `life` seconds."""
        return self._last if monotonic() - self.at <= life else None

    def unknown_or_away(self, life: float) -> bool:
        """Whether it is not known to be there."""
        probe = self.known(life)
        return probe is None or not probe.reachable

    def refresh(self, life: float = inf) -> asyncio.Task[Probe]:
        """A probe at most `life` and `PROBE_LIFE` seconds old; all who ask meanwhile share it."""
        life = min(life, PROBE_LIFE)
        fresh = self._task is not None and (not self._task.done() or self.known(life) is not None)
        if self._task is None or not fresh:
            self._task = asyncio.create_task(self._probe())
        return self._task

    async def again(self) -> Probe:
        """A probe that is made now, or one that is under way."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._probe())
        await asyncio.wait({self._task})  # who is cancelled here takes it from nobody else
        return self.last

    async def close(self) -> None:
        """End the probe under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _probe(self) -> Probe:
        try:
            probe = await self._ask()
        except Exception:
            log.exception("a look at a backend failed", backend=self.backend.address)
            probe = Probe(self.backend, reachable=False, error="The look at it failed; the log says why.")
        self._last, self.at = probe, monotonic()
        self._last_good = probe if probe.reachable else self._last_good
        self._changed()
        return probe

    async def _ask(self) -> Probe:
        started, version, latency = perf_counter(), "", 0.0
        try:
            async with asyncio.timeout(self._timeout):
                version = await self.backend.version()
                latency = perf_counter() - started
                models = await self.backend.tags()
                loaded = await self._loaded() if self.asks_loaded else None
        except TimeoutError:
            return Probe(self.backend, reachable=False, error="The backend did not answer in time.")
        except AppError as error:
            if version and isinstance(error, NoList):
                last = self._last_good or Probe(self.backend, reachable=True)
                return replace(
                    last, version=version, latency=latency, error=error.message, lists=False, note="", loaded=None
                )
            return Probe(self.backend, reachable=False, error=error.message)
        names = frozenset(map(_name_of, models)) | self.backend.aliases()
        note = self.backend.note
        return Probe(self.backend, True, version, latency, tuple(models), note=note, names=names, loaded=loaded)

    async def _loaded(self) -> Mapping[str, int | None] | None:
        """The models in its memory; one that does not tell soon is not asked for long."""
        try:
            async with asyncio.timeout(min(_LOADED_WITHIN, self._timeout / 2)):
                running = await self.backend.running()
        except (AppError, TimeoutError):
            return None
        return {_name_of(model): _context_of(model) for model in running}


def no_usable(probes: Sequence[Probe]) -> NoUsableBackend:
    """The error when no backend of `probes` answers; of the only one it says why."""
    why = [probe.error for probe in probes] if len(probes) == 1 else []
    return NoUsableBackend(" ".join(["No backend can be reached at present.", *why]))


def has_model(probe: Probe, model: str) -> bool:
    """Whether a model is one of those that were told."""
    return canonical(model) in probe.names


def _name_of(model: Mapping[str, Any]) -> str:
    return canonical(str(model.get("name", "")))


def _context_of(model: Mapping[str, Any]) -> int | None:
    length = model.get("context_length")
    return length if isinstance(length, int) and length > 0 else None
