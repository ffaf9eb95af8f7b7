"""The order in which backends are asked: a pure function of what is known of them and of what is wanted.

What beats what, from the top; what stands further down decides only among those that are equal above it:

1. **It can be asked.** It lists the model, is not drained, its breaker is not open, and it answered when it was last
   looked at. If none of those that may be asked answered, they are all listed (`away`): a look may be late on a busy
   server, and a dead one's failure is the honest answer. Nobody lists the model: there is no choice.
2. **Its breaker is closed.** A half-open one stands behind all others (`trial`), also behind full ones: who cannot wait
   for those may try it.
3. **It has a slot.** A full one (`full`) stands behind one that has to load the model first, but is listed: callers
   queue for it. The order below holds among the full ones too.
4. **The model is warm**: loaded, with the context that is wanted if one is; a context that a server does not tell is
   taken for the right one. Next is one that is loading the model (`loading`), so that a load attracts what wants it,
   then one that would have to (`cold`), and last one that has it with another context (`reload`): it would have to
   throw out what others are using.
5. **It has the least load**: (leases + 1) / most / weight. `ASSUMED` stands in for a limit that nobody set.
6. **Affinity**, by rendezvous hashing: each backend draws a number from the key and its own name, and the order of
   those numbers, which are weighted, is the order of the backends. So the same key finds the same backend, wherever it
   is asked; one that joins takes its share from all others, and only the keys of one that leaves move.

Affinity beats load within a bound only: a backend counts as least loaded while it would be with `CLOSE` of its slots,
or one lease, fewer. What is cached saves the reading of a prompt once; to wait for a slot costs more than that, and
without the bound one system prompt that all share would send all to one backend. A request without affinity goes by
load alone, and exact ties by the model's name. Where the model is not warm nothing is cached: there its name is the key
of all, so that requests that come together load it once and models have different homes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import inf, log
from operator import itemgetter
from typing import Final

from mlops_backend.services.llm.routing.snapshot import Choice, Standing, Wanted

# The slots of a backend whose limit nobody set: as many as an Ollama of some size answers at once.
ASSUMED: Final = 4
# How much more of its slots may be taken on a backend that affinity prefers.
CLOSE: Final = 1 / 8
_FULL: Final = 4
_TRIAL: Final = 2 * _FULL
# What the numbers of a rank mean, for the one that stands there alone.
_WORDS: Final = ("warm", "loading", "cold", "reload", *("full",) * _FULL, "trial")
_WARM, _LOADING, _COLD, _RELOAD = range(4)
_ABSENT: Final = -1
_MASK: Final = (1 << 64) - 1
# Of 64 bits a float between 0 and 1 has room for 52 and a half one.
_UNUSED: Final = 12
_PART: Final = 2.0**-52
_ROUNDING: Final = 1e-9

Held = Mapping[str, int]
_load: Final = itemgetter(0)


class _Choices(dict[str, Choice]):
    """A backend's choices by their reasons, each made once."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, reason: str) -> Choice:
        made = self[reason] = Choice(self._name, reason)
        return made


class _Place:
    """A backend, with what does not change from one request to the next."""

    __slots__ = ("choices", "factor", "is_trial", "loaded", "loading", "most", "name", "slack", "unit", "weight")

    def __init__(self, standing: Standing) -> None:
        slots = ASSUMED if standing.most is None else standing.most
        self.name = standing.name
        self.loaded = standing.loaded
        self.loading = standing.loading
        self.is_trial = standing.trips == "half-open"
        self.most = inf if standing.most is None else standing.most
        self.weight = standing.weight
        self.unit = 1 / slots / standing.weight
        self.slack = max(self.unit, CLOSE / standing.weight)
        self.factor = _factor(standing.name)
        self.choices = _Choices(standing.name)

    def rank(self, model: str, num_ctx: int | None, leases: int) -> int:
        """Where it stands, before anybody looks at its load."""
        if self.is_trial:
            return _TRIAL
        context = self.loaded.get(model, _ABSENT)
        if context == _ABSENT:
            rank = _LOADING if model in self.loading else _COLD
        elif num_ctx is None or context is None or context == num_ctx:
            rank = _WARM
        else:
            rank = _LOADING if model in self.loading else _RELOAD
        return rank if leases < self.most else rank + _FULL


_Loaded = tuple[float, _Place]


class Snapshot:
    """All backends at one moment; made once per change, and then asked by many requests.

    It holds no list of backends for each model: to look for a name in a hundred sets takes less than what follows, and
    a thousand such lists would be made anew at each look at a backend.

    Args:
        standings: the backends, in the operator's order.

    Raises:
        ValueError: two have the same name.
    """

    def __init__(self, standings: Iterable[Standing]) -> None:
        self.standings: Mapping[str, Standing] = _named(standings)
        self._held: Held = {each.name: each.leases for each in self.standings.values()}
        may = [each for each in self.standings.values() if not each.drained and each.trips != "open"]
        self._there = [(each.models, _Place(each)) for each in may if each.reachable]
        self._away = [(each.models, _Place(each)) for each in may if not each.reachable]

    def loaded(self, name: str) -> Mapping[str, int | None]:
        """What a backend has loaded; nothing, of one that is not there."""
        standing = self.standings.get(name)
        return {} if standing is None else standing.loaded

    def holders(self, model: str) -> Sequence[Standing]:
        """Who lists a model, whether it may be asked or not: with none that may, it says why there is no choice."""
        return [each for each in self.standings.values() if model in each.models]

    def ranked(self, wanted: Wanted, held: Held | None = None) -> list[Choice]:
        """The backends to ask, best first; none where no backend that may be asked lists the model.

        Args:
            wanted: what the request wants.
            held: how many leases there are on each now, by name, where that changes more often than the snapshot is
                made; one that is not named has none.
        """
        model = wanted.model
        there = [place for models, place in self._there if model in models]
        if not there:
            return [place.choices["away"] for models, place in self._away if model in models]
        if len(there) == 1:
            return [there[0].choices["trial" if there[0].is_trial else "only"]]
        leases_on = (self._held if held is None else held).get
        ranks: list[list[_Loaded]] = [[] for _ in _WORDS]
        for place in there:
            leases = leases_on(place.name, 0)
            rank = place.rank(model, wanted.num_ctx, leases)
            ranks[rank].append(((leases + 1) * place.unit, place))
        choices: list[Choice] = []
        for rank, loaded in enumerate(ranks):
            if loaded:
                key = wanted.affinity if rank % _FULL == _WARM else model
                choices += _in_order(loaded, _WORDS[rank], number_of(key or model), sticky=bool(key))
        return choices


def ranked(standings: Iterable[Standing], wanted: Wanted) -> list[Choice]:
    """The backends to ask, best first, as `Snapshot.ranked` tells them."""
    return Snapshot(standings).ranked(wanted)


def number_of(text: str) -> int:
    """64 bits that stand for a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


@lru_cache(maxsize=1024)
def _factor(name: str) -> int:
    """A backend's own factor for what it draws: odd, so that no key is lost in it."""
    return number_of(name) | 1


def _named(standings: Iterable[Standing]) -> dict[str, Standing]:
    named: dict[str, Standing] = {}
    for each in standings:
        if each.name in named:
            raise ValueError(f"name: two backends are called {each.name}")
        named[each.name] = each
    return named


def _in_order(loaded: Sequence[_Loaded], word: str, key: int, *, sticky: bool) -> Iterable[Choice]:
    """Those of one rank: first those that count as least loaded, as they are drawn, then the others by their load."""
    if len(loaded) == 1:
        return [loaded[0][1].choices[word]]
    least = min(loaded, key=_load)[0] + _ROUNDING
    close, rest = [], []
    for load, place in loaded:
        # A number below zero, of which the lowest comes first; of twice the weight it does so twice as often. The
        # factor is as good as random, so that the upper bits of the product depend on all of the key.
        drawn = place.weight / log((((key * place.factor & _MASK) >> _UNUSED) + 0.5) * _PART)
        if load <= least or (sticky and load - place.slack <= least):
            close.append((drawn, load, place.name, place))
        else:
            rest.append((load, drawn, place.name, place))
    close.sort()
    rest.sort()
    if word != _WORDS[_WARM]:
        return [each[3].choices[word] for each in (*close, *rest)]
    by_key = sticky and len(close) > 1
    first = [place.choices["affinity" if by_key else _by_load(load, place)] for _, load, _, place in close]
    return first + [place.choices[_by_load(load, place)] for load, _, _, place in rest]


def _by_load(load: float, place: _Place) -> str:
    return "idle" if load == place.unit else "least-loaded"
