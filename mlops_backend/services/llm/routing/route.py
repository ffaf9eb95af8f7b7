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

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
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
_BITS: Final = 52
_MASK: Final = (1 << 64) - 1
_ROUNDING: Final = 1e-9

Held = Mapping[str, int]


class _Place:
    """A backend, with what does not change from one request to the next."""

    __slots__ = ("_choices", "factor", "most", "name", "slack", "standing", "unit")

    def __init__(self, standing: Standing) -> None:
        slots = ASSUMED if standing.most is None else standing.most
        self.standing = standing
        self.name = standing.name
        self.most = math.inf if standing.most is None else standing.most
        self.unit = 1 / slots / standing.weight
        self.slack = max(self.unit, CLOSE / standing.weight)
        self.factor = _factor(standing.name)
        self._choices: dict[str, Choice] = {}

    def choice(self, reason: str) -> Choice:
        """This one, for a reason."""
        made = self._choices.get(reason)
        if made is None:
            made = self._choices[reason] = Choice(self.name, reason)
        return made

    def warmth(self, wanted: Wanted) -> int:
        """How near it is to having the model ready."""
        standing, model = self.standing, wanted.model
        if model in standing.loaded:
            context = standing.loaded[model]
            if wanted.num_ctx is None or context is None or context == wanted.num_ctx:
                return _WARM
            return _LOADING if model in standing.loading else _RELOAD
        return _LOADING if model in standing.loading else _COLD


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
        places = [_Place(each) for each in self.standings.values() if not each.drained and each.trips != "open"]
        self._there = [(place.standing.models, place) for place in places if place.standing.reachable]
        self._away = [(place.standing.models, place) for place in places if not place.standing.reachable]

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
            return [place.choice("away") for models, place in self._away if model in models]
        if len(there) == 1:
            return [there[0].choice("trial" if there[0].standing.trips == "half-open" else "only")]
        leases = self._held if held is None else held
        ranks: list[list[_Place]] = [[] for _ in _WORDS]
        for place in there:
            ranks[_rank(place, wanted, leases)].append(place)
        choices: list[Choice] = []
        for rank, places in enumerate(ranks):
            if places:
                key = wanted.affinity if rank % _FULL == _WARM else model
                choices += _in_order(places, _WORDS[rank], number_of(key or model), leases, sticky=bool(key))
        return choices


def ranked(standings: Iterable[Standing], wanted: Wanted) -> list[Choice]:
    """The backends to ask, best first, as `Snapshot.ranked` tells them."""
    return Snapshot(standings).ranked(wanted)


def number_of(text: str) -> int:
    """64 bits that stand for a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


@lru_cache(maxsize=1024)
def _factor(name: str) -> int:
    """A backend's own factor for `_drawn`: odd, so that no key is lost in it."""
    return number_of(name) | 1


def _named(standings: Iterable[Standing]) -> dict[str, Standing]:
    named: dict[str, Standing] = {}
    for each in standings:
        if each.name in named:
            raise ValueError(f"name: two backends are called {each.name}")
        named[each.name] = each
    return named


def _rank(place: _Place, wanted: Wanted, leases: Held) -> int:
    if place.standing.trips == "half-open":
        return _TRIAL
    warmth = place.warmth(wanted)
    return warmth + _FULL if leases.get(place.name, 0) >= place.most else warmth


def _in_order(places: Sequence[_Place], word: str, key: int, leases: Held, *, sticky: bool) -> list[Choice]:
    """Those of one rank: first those that count as least loaded, as they are drawn, then the others by their load."""
    if len(places) == 1:
        return [places[0].choice(word)]
    loads = [(leases.get(place.name, 0) + 1) * place.unit for place in places]
    least = min(loads) + _ROUNDING
    close, rest = [], []
    for place, load in zip(places, loads, strict=True):
        if (load - place.slack if sticky else load) <= least:
            close.append((_drawn(key, place), place.name, place))
        else:
            rest.append((load, _drawn(key, place), place))
    close.sort()
    rest.sort()
    if word != _WORDS[_WARM]:
        return [each[2].choice(word) for each in (*close, *rest)]
    drawn = sticky and len(close) > 1
    first = [place.choice("affinity" if drawn else _by_load(place, leases)) for _, _, place in close]
    return first + [place.choice(_by_load(place, leases)) for _, _, place in rest]


def _drawn(key: int, place: _Place) -> float:
    """A number below zero, of which the lowest comes first; of twice the weight it does so twice as often.

    The backend's factor is as good as random, so that the upper bits of the product depend on all of the key.
    """
    part = ((key * place.factor & _MASK) >> (64 - _BITS)) + 0.5
    return place.standing.weight / math.log(part / (1 << _BITS))


def _by_load(place: _Place, leases: Held) -> str:
    return "least-loaded" if leases.get(place.name, 0) else "idle"
