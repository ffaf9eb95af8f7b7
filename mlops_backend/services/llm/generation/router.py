"""The router: what is known of the backends put together for each request, and what came of it remembered."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Final, Self

from mlops_backend.services.llm.asked import EMBED, Asked
from mlops_backend.services.llm.backends import Backend, BackendPool, Known
from mlops_backend.services.llm.dialects import LargeBody
from mlops_backend.services.llm.generation.breakers import Breakers
from mlops_backend.services.llm.leases import Lessor
from mlops_backend.services.llm.model_names import canonical
from mlops_backend.services.llm.routing import Choice, Leave, Snapshot, Standing, Wanted, affinity, counts

# A context that a request wants; in a text of a prompt its quotation marks are escaped.
_NUM_CTX: Final = re.compile(rb'"num_ctx"\s*:\s*(\d{1,9})\b')
_LOOKED_AT: Final = 64 * 1024
# Nobody waits for a slot of these: they come when all others cannot be asked.
_LAST: Final = ("away", "trial")
# Backends that are not there any more, or have not this model, before it is looked which are.
_MOST_GONE: Final = 200
# Models whose load was seen, of each backend.
_MOST_SEEN: Final = 100


class Router:
    """Says in which order backends are asked, and learns from each what it is asked.

    Args:
        pool: tells of the backends.
        leases: tell what each has to do.
        breakers: of the backends.
    """

    def __init__(self, pool: BackendPool, leases: Lessor, breakers: Breakers | None = None) -> None:
        self._pool = pool
        self._leases = leases
        self._breakers = Breakers() if breakers is None else breakers
        self._loading: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._seen: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._failed_at: dict[str, float] = {}
        self._held = _Held(leases)
        self._snapshot = Snapshot([])
        self._stamp = (-1, 0)
        self._changes = 0
        self._due = 0.0

    def order(self, backends: Sequence[Backend], asked: Asked) -> tuple[list[Choice], list[Choice]]:
        """Those that may be waited for, best first, and those that are asked when there is none of them."""
        names = [self._pool.name_of(backend) for backend in backends]
        if len(names) == 1 or not asked.task.generates:
            return [Choice(name, "only") for name in names], []
        wanted = Wanted(canonical(asked.model), _num_ctx(asked), _affinity(asked))
        snapshot = self._snapshot_now()
        choices, meant = snapshot.ranked(wanted, self._held), set(names)
        choices = [choice for choice in choices if choice.name in meant]
        if not choices:  # nobody lists it, or all are left alone: to ask one finds out whether that is still right
            word = "away" if snapshot.holders(wanted.model) else "unlisted"
            choices = [Choice(name, word) for name in names]
        first = [choice for choice in choices if choice.reason not in _LAST]
        return first, [choice for choice in choices if choice.reason in _LAST]

    def _snapshot_now(self) -> Snapshot:
        """All backends as they are; made anew when something has changed but their leases."""
        stamp = self._pool.changes, self._changes + self._breakers.heard
        if stamp != self._stamp or monotonic() >= self._due:
            if len(self._breakers) > _MOST_GONE + len(self._pool.names):
                self._keep(self._pool.names)
            self._snapshot = Snapshot([self._standing(each) for each in self._pool.known()])
            dues = [due for breaker in self._breakers if (due := breaker.due) is not None]
            self._due, self._stamp = min(dues, default=math.inf), stamp
        return self._snapshot

    def _keep(self, names: Sequence[str]) -> None:
        """Forget what is known of backends that are not there any more."""
        self._breakers.keep(names)
        for known in (self._loading, self._seen, self._failed_at):
            for name in known.keys() - set(names):
                del known[name]

    def asking(self, name: str, model: str, *, anyway: bool) -> Asking:
        """The time until the first byte of an answer, in which the model may be loading.

        Whatever leaves the block as an error is told to the breaker. There is nothing better than to ask `anyway` where
        no other backend is left.

        Raises:
            LeftAlone: when entered; the backend is left alone at present, or has its trial.
        """
        return Asking(self, name, canonical(model), anyway=anyway)

    def begin(self, name: str, model: str, *, anyway: bool) -> Leave | None:
        """A backend is asked; whoever has no leave to tells nothing."""
        leave = self._breakers[name].enter()
        if leave is None and not anyway:
            raise LeftAlone
        self._loading[name][model] += 1
        self._changes += model not in self._snapshot.loaded(name) or (leave is not None and leave.trial)
        return leave

    def end(self, name: str, model: str, leave: Leave | None, failed: bool | None) -> None:
        """It has answered, or not."""
        if leave is not None:
            self._breakers.tell(name, leave, failed)
        if failed:
            self._failed_at[name] = monotonic()
        loading = self._loading[name]
        loading[model] -= 1
        if loading[model] <= 0:
            del loading[model]
        self._changes += failed is True or model not in self._snapshot.loaded(name)

    def saw(self, name: str, model: str, leave: Leave | None) -> None:
        """A backend has begun to answer: it is there, and has the model loaded."""
        if leave is not None:
            self._breakers.tell(name, leave, False)
        else:
            self._breakers[name].answered()
        seen = self._seen[name]
        self._changes += model not in self._snapshot.loaded(name)
        seen.pop(model, None)
        seen[model] = monotonic()
        if len(seen) > _MOST_SEEN:
            del seen[next(iter(seen))]

    def _standing(self, known: Known) -> Standing:
        said, probe = known.described, known.probe
        names = frozenset[str]() if probe is None else probe.names
        loaded = dict.fromkeys(names) if probe is None or probe.loaded is None else dict(probe.loaded)
        for model, at in self._seen[said.name].items():
            if at > known.at:
                loaded.setdefault(model, None)
        breaker = self._breakers[said.name]
        if probe is not None and probe.reachable and known.at > self._failed_at.get(said.name, 0.0):
            breaker.answered()
        return Standing(
            said.name,
            said.backend.kind,
            reachable=probe is None or probe.reachable,
            most=self._leases.most(said.name) or None,  # one that is drained gives none while it runs something
            weight=said.weight,
            models=names,
            loaded=loaded,
            loading=frozenset(self._loading[said.name]),
            tags=frozenset(said.tags),
            trips=breaker.state,
            drained=known.drained,
        )


class _Held(Mapping[str, int]):
    """How many leases there are on each backend, at the moment when somebody asks."""

    def __init__(self, leases: Lessor) -> None:
        self._leases = leases

    def __getitem__(self, name: str) -> int:
        return self._leases.taken(name)

    def get(self, name: str, default: object = 0) -> int:
        """Of one that nobody has asked: none."""
        return self._leases.taken(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class LeftAlone(Exception):
    """A backend is not to be asked at present."""


class Asking:
    """One request to a backend, until its first byte."""

    __slots__ = ("_anyway", "_failed", "_leave", "_model", "_name", "_router")

    def __init__(self, router: Router, name: str, model: str, *, anyway: bool) -> None:
        self._anyway = anyway
        self._router = router
        self._name = name
        self._model = model
        self._failed: bool | None = None

    def __enter__(self) -> Self:
        self._leave = self._router.begin(self._name, self._model, anyway=self._anyway)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = self._failed if error is None else counts(error)
        self._router.end(self._name, self._model, self._leave, failed)

    def answered(self, status: int) -> None:
        """The backend has answered with this status."""
        self._failed = counts(status)
        if self._failed is False:
            self._router.saw(self._name, self._model, self._leave)


class _Unheard(Asking):
    """One of which nothing is learnt."""

    def __init__(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def answered(self, status: int) -> None:
        """Do nothing."""


UNHEARD: Final = _Unheard()


def _num_ctx(asked: Asked) -> int | None:
    if asked.pin is not None:
        return asked.pin.num_ctx
    content = asked.content
    found = _NUM_CTX.search(content, 0, _LOOKED_AT) if isinstance(content, bytes) else None
    return int(found[1]) if found else None


def _affinity(asked: Asked) -> str:
    if asked.task is EMBED or not isinstance(asked.content, bytes | LargeBody):
        return ""
    return affinity(asked.content)
