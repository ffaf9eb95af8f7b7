"""How long nobody was answered, and how much of that was the machine's own doing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

EVERY = 0.02  # seconds between two polls
NOTED = 0.03  # a shorter gap is not written down


@dataclass(frozen=True)
class Gap:
    """A span without an answer, in seconds of the same clock."""

    start: float
    end: float

    @property
    def length(self) -> float:
        """How long it was."""
        return self.end - self.start


def gaps_between(moments: Sequence[float], least: float = NOTED) -> list[Gap]:
    """Return the spans between neighbouring moments that are at least so long."""
    return [Gap(start, end) for start, end in pairwise(moments) if end - start >= least]


def worst(gaps: Sequence[Gap]) -> float:
    """Return the longest gap in milliseconds; 0 where none was worth noting."""
    return max((gap.length for gap in gaps), default=0.0) * 1e3


def own_worst(gaps: Sequence[Gap], control: Sequence[Gap]) -> float:
    """Return the longest gap in milliseconds without what the control poll of an idle server missed meanwhile."""
    return max((gap.length - _shared(gap, control) for gap in gaps), default=0.0) * 1e3


def _shared(gap: Gap, control: Sequence[Gap]) -> float:
    spans = (min(gap.end, other.end) - max(gap.start, other.start) for other in control)
    return sum(max(0.0, span - EVERY) for span in spans)
