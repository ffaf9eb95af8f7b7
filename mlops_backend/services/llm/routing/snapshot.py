"""What routing is told of each backend, what a request wants, and what comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# A circuit breaker's states.
Trips = Literal["closed", "half-open", "open"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One backend as routing sees it.

    Args:
        name: the operator's name for it, of which there is no second.
        kind: `ollama` or `openai`.
        reachable: whether it answered when it was looked at last.
        leases: how many generations have a slot on it now.
        most: how many may have one; `None` where the operator sets no limit.
        weight: how much work it takes compared with the others, more than zero.
        models: canonical names of those that it has, aliases among them.
        loaded: which of them are in its memory, with the length of their context, `None` where it tells none. Of a
            server that does not tell what is loaded these are all that it has.
        loading: which of them are being loaded into it.
        tags: the operator's words for it.
        trips: the state of its circuit breaker; what changes by itself has to be told anew (`Breaker.due`).
        drained: whether an administrator has it take nothing new.

    Raises:
        ValueError: `weight` or `most` is out of range.
    """

    name: str
    kind: str = "ollama"
    reachable: bool = True
    leases: int = 0
    most: int | None = None
    weight: float = 1.0
    models: frozenset[str] = frozenset()
    loaded: Mapping[str, int | None] = field(default_factory=dict, hash=False)
    loading: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    trips: Trips = "closed"
    drained: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"weight of {self.name}: {self.weight} is not a number above zero")
        if self.most is not None and self.most < 1:
            raise ValueError(f"most of {self.name}: {self.most} is less than one")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request wants of a backend.

    Args:
        model: the canonical name.
        num_ctx: the length of the context that it needs the model to have; `None` where any will do.
        affinity: equal for requests that are to go to the same backend; empty where it does not matter.
    """

    model: str
    num_ctx: int | None = None
    affinity: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend's name, and in a word why it stands where it does; the words are those of `route.py`."""

    name: str
    reason: str
