"""Builds the services of stored responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mlops_backend.config import Settings
from mlops_backend.services.other.database import Database
from mlops_backend.services.other.responses.expired import ExpiredResponses
from mlops_backend.services.other.responses.kept_responses import KeptResponses
from mlops_backend.services.other.responses.service import StoredResponses
from mlops_backend.services.other.responses.writes import Bounds
from mlops_backend.services.registry import Services
from mlops_backend.shared import Shared
from mlops_backend.telemetry.metrics import Metrics

_DAY: Final = 86_400_000
# Where there may be other processes.
_LOOKS: Final = 5


def build_responses(
    services: Services, settings: Settings, shared: Shared | None = None
) -> Sequence[KeptResponses | ExpiredResponses]:
    """What stores responses, and what deletes old ones; what comes back is opened by the lifespan."""
    database = services.get(Database)
    life = settings.responses_ttl_days * _DAY
    bounds = Bounds(settings.responses_per_key, settings.response_bytes_per_key, settings.response_bytes, life)
    kept = services.add(KeptResponses(database, bounds))
    most, enabled = settings.max_body_bytes, settings.responses_stored
    looks = 1 if shared is None and database.is_sqlite else _LOOKS
    services.add(StoredResponses(database, kept, bounds, most, looks=looks, enabled=enabled))
    metrics = services.get(Metrics)
    metrics.gauge("responses_waiting", "Responses that are not stored yet.", lambda: kept.waiting)
    metrics.counter("responses_lost", "Responses that could not be stored.", lambda: kept.lost)
    sweeps = shared is None or shared.is_first
    return [kept, ExpiredResponses(database)] if sweeps else [kept]
