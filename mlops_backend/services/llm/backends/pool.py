"""Routing: which backend serves a request, and what is known of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from time import monotonic
from typing import Final

from mlops_backend.errors import NotFound, NoUsableBackend
from mlops_backend.services.llm.backends.backend import Backend
from mlops_backend.services.llm.backends.candidates import Candidates
from mlops_backend.services.llm.backends.described import Described, described
from mlops_backend.services.llm.backends.look import PROBE_LIFE, Known, Look, Probe, State, has_model, no_usable
from mlops_backend.services.llm.model_names import canonical

KNOWN_LIFE: Final = 30.0
# Names that are remembered as drained.
MOST_DRAINED: Final = 1000
_DRAINED: Final = "Every backend that could serve this is drained at present; try again later."
# How long anybody waits for a backend that may well not answer; a healthy one takes milliseconds.
PATIENCE: Final = 0.2


class BackendPool:
    """The backends of this process.

    Probes are shared by all who ask within `PROBE_LIFE` seconds, so that health checks by strangers cannot flood a
    backend, and each takes `timeout` seconds at most. One that hangs does not slow down the rest: what needs only one
    backend, or only one that lists a model, waits for no other once such a one is known; what needs them all waits
    `PATIENCE` seconds, no longer, for one that did not answer last time either.
    """

    def __init__(self, *, timeout: float, told: Callable[[Sequence[Described]], None] = lambda _: None) -> None:
        self._timeout = timeout
        self._told = told
        self._looks: tuple[Look, ...] = ()
        self._by_backend: dict[int, Look] = {}
        self._left: list[Look] = []
        self._drained: dict[str, None] = {}
        self._turn = 0
        # Grows with all that `known` tells.
        self.changes = 0

    def use(self, backends: Sequence[Backend | Described]) -> None:
        """Set the backends, in the operator's order.

        Of one that is there already, all that is known stays; one that is there no more ends what it runs.
        """
        known = {id(look.backend): look for look in self._looks}
        looks = []
        for each in map(described, backends):
            look = known.pop(id(each.backend), None) or Look(each, self._timeout, self._count)
            look.described = each
            look.asks_loaded = len(backends) > 1
            looks.append(look)
        self._looks = tuple(looks)
        self._by_backend = {id(look.backend): look for look in looks}
        self._count()
        self._tell()
        self._left = [look for look in (*self._left, *known.values()) if look.is_looking]

    async def close(self) -> None:
        """End the probes under way."""
        await asyncio.gather(*(look.close() for look in (*self._looks, *self._left)))

    async def probe(self) -> Sequence[Probe]:
        """A look at every backend, at most `PROBE_LIFE` seconds old; one that fails is reported, never raised.

        Of a backend that hangs, and did so before, the look before is told.
        """
        return [state.probe for state in await self.states()]

    async def states(self) -> Sequence[State]:
        """The same of each backend, with what is said of it."""
        looks = self._looks  # others may be set meanwhile
        await self._known_until(lambda _: False, PROBE_LIFE)
        return [State(look.described, look.last, look.described.name in self._drained) for look in looks]

    async def asked(self, name: str) -> State:
        """What one backend says when it is asked now.

        Raises:
            NotFound: none is called so.
        """
        look = self._called(name)
        return State(look.described, await look.again(), name in self._drained)

    def state(self, name: str) -> State:
        """What is known of one backend, however old that is.

        Raises:
            NotFound: none is called so.
        """
        look = self._called(name)
        return State(look.described, look.last_or_none, name in self._drained)

    def name_of(self, backend: Backend) -> str:
        """What a backend is called; one that was taken away meanwhile by its address."""
        look = self._by_backend.get(id(backend))
        return backend.address if look is None else look.described.name

    def known(self) -> Sequence[Known]:
        """What is known of each at present, however old it is."""
        return [look.known_so_far(drained=look.described.name in self._drained) for look in self._looks]

    def still_there(self, backends: Sequence[Backend]) -> list[Backend]:
        """Those of some backends that were neither taken away nor drained since they were told."""
        return [each for each in backends if id(each) in self._by_backend and self._takes(each)]

    def drain(self, name: str, *, drained: bool) -> None:
        """Give a backend no new generation, or give it some again; one that comes under the name later is meant too.

        Who waits for it in the queue, and for no other one, waits in vain.
        """
        self._count()
        self._drained.pop(name, None)
        if drained:
            self._drained[name] = None
            if len(self._drained) > MOST_DRAINED:
                del self._drained[next(iter(self._drained))]
        if self._looks:  # a worker that starts hears what is drained before it has any; the leases are of all workers
            self._tell()

    def _count(self) -> None:
        self.changes += 1

    async def unreachable(self) -> str | None:
        """Why no backend takes a generation, by the operator's first one; None at the first that does."""
        known = await self._known_until(lambda probe: probe.reachable and self._takes(probe.backend), PROBE_LIFE)
        if any(probe.reachable and self._takes(probe.backend) for probe in known):
            return None
        if any(map(_answers, known)):
            return _DRAINED
        return known[0].error if known else "There is no backend at present."

    async def reachable(self) -> Candidates:
        """The backends to try when any will do: those that answer, in the operator's order; see `candidates`.

        Raises:
            NoUsableBackend: there is none, or none answers.
        """
        if len(self._looks) == 1:
            return Candidates([self.home])
        known = await self._known_in_order(_answers)
        if not _backends(known, _answers):
            known = await self._known_anew(look for look in self._looks if not look.is_looking)
        if not (answering := _backends(known, _answers)):
            raise no_usable(known)
        return self._then_others(answering, _answers)

    async def candidates(self, model: str, *, in_order: bool = False) -> Candidates:
        """The backends to try for `model`, best first.

        Those that list it; they take turns, or come in the operator's order. If none does, those that listed it when
        they last answered and do not answer now: their failure is the answer, for the others never had it. If there are
        none either, all that answer: what it has only a backend itself knows for certain. With one backend nobody is
        asked, and for no model any will do.

        As soon as one that lists it is known, no other is waited for; but in the operator's order one that comes before
        it, and of which nothing is known, has `PATIENCE` seconds to say that it lists it too. When those that are known
        cannot answer, so has any other. One that was away is looked at again then, and asked if it does not say in time
        that it is back: it may be.

        Raises:
            NoUsableBackend: there is none, none answers, or all that would be asked are drained.
        """
        if len(self._looks) == 1 or not model:
            return Candidates([*self._taking((await self.reachable()).left, anyway=in_order)])

        wanted = canonical(model)

        def lists(probe: Probe) -> bool:
            return wanted in probe.names and (in_order or self._takes(probe.backend))

        known = await (self._known_in_order(lists) if in_order else self._known_until(lists, KNOWN_LIFE))
        if not _backends(known, _answers):
            known = await self._known_anew(look for look in self._looks if not look.is_looking)
        if having := _backends(known, lists):
            return self._then_others(having if in_order else self._turned(having), lists, model)
        if any(has_model(probe, model) for probe in known):
            raise NoUsableBackend(_DRAINED)
        if not (answering := _backends(known, _answers)):
            raise no_usable(known)
        if had := [look.backend for look in self._looks if look.absent and look.had(model)]:
            return Candidates([*self._taking(had, anyway=in_order)])
        return Candidates([*self._taking(answering, anyway=in_order)], complete=all(look.seen for look in self._looks))

    def _then_others(self, backends: Sequence[Backend], wanted: Callable[[Probe], bool], model: str = "") -> Candidates:
        """Some backends, and when they cannot answer those that turn out to be `wanted` too, or may have the model."""

        async def late() -> Sequence[Backend]:
            known = await self._known_anew(self._looks)
            there = [look.backend for look in self._looks if look.backend not in backends]
            back = [each for each in _backends(known, wanted) if each in there]
            away = [look.backend for look in self._looks if look.absent and look.had(model)]
            return [each for each in there if each in (back or away) and self._takes(each)]

        return Candidates([*backends], late=late)

    async def _known_anew(self, looks: Iterable[Look]) -> Sequence[Probe]:
        """What is known of each, after up to `PATIENCE` seconds for another look at those that are unknown or away."""
        if waiting := {look.refresh(0) for look in looks if look.unknown_or_away(KNOWN_LIFE)}:
            await asyncio.wait(waiting, timeout=PATIENCE)
        return self._known(KNOWN_LIFE)

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
    def names(self) -> Sequence[str]:
        """What the backends are called."""
        return [look.described.name for look in self._looks]

    @property
    def looks(self) -> Sequence[Look]:
        """What is known of each backend."""
        return self._looks

    @property
    def several(self) -> bool:
        """Whether there are more than one."""
        return len(self._looks) > 1

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

    def _called(self, name: str) -> Look:
        found = next((look for look in self._looks if look.described.name == name), None)
        if found is None:
            raise NotFound("There is no backend of that name.")
        return found

    def _tell(self) -> None:
        """Tell which there are for new generations."""
        self._told([look.described for look in self._looks if look.described.name not in self._drained])

    def _takes(self, backend: Backend) -> bool:
        """Whether it gets new generations."""
        return not self._drained or not any(
            look.backend is backend and look.described.name in self._drained for look in self._looks
        )

    def _taking(self, backends: Sequence[Backend], *, anyway: bool) -> Sequence[Backend]:
        """Those that get new generations; all of them, `anyway`."""
        taking = [each for each in backends if anyway or self._takes(each)]
        if not taking:
            raise NoUsableBackend(_DRAINED)
        return taking

    def _turned(self, backends: Sequence[Backend]) -> Sequence[Backend]:
        self._turn += 1
        start = self._turn % len(backends)
        return [*backends[start:], *backends[:start]]


def _backends(probes: Sequence[Probe], wanted: Callable[[Probe], bool]) -> Sequence[Backend]:
    return [probe.backend for probe in probes if wanted(probe)]


def _answers(probe: Probe) -> bool:
    return probe.reachable
