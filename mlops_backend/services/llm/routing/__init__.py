"""Which backend a request goes to, and which is left alone for a while: pure, with no clock but one that is given."""

from __future__ import annotations

from mlops_backend.services.llm.routing.affinity import affinity
from mlops_backend.services.llm.routing.breaker import Breaker, Endurance, Leave, counts
from mlops_backend.services.llm.routing.route import Snapshot, ranked
from mlops_backend.services.llm.routing.snapshot import Choice, Standing, Trips, Wanted

__all__ = [
    "Breaker",
    "Choice",
    "Endurance",
    "Leave",
    "Snapshot",
    "Standing",
    "Trips",
    "Wanted",
    "affinity",
    "counts",
    "ranked",
]
