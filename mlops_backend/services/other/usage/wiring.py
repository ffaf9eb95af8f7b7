"""Builds the services of usage."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_backend.config import Settings
from mlops_backend.days import Calendar
from mlops_backend.services.other.database import Database, Hourly
from mlops_backend.services.other.usage.closed_days import ClosedDays
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.others import OtherLedgers
from mlops_backend.services.other.usage.prices import PriceList
from mlops_backend.services.other.usage.retention import Retention
from mlops_backend.services.other.usage.service import Usage
from mlops_backend.services.registry import Services
from mlops_backend.shared import Shared
from mlops_backend.telemetry.metrics import Metrics


def build_usage(
    services: Services, settings: Settings, shared: Shared | None = None
) -> tuple[Ledger, Sequence[Hourly]]:
    """The ledger, what is asked of it, and what ends in it; what comes back is opened by the lifespan.

    Args:
        services: where they go.
        settings: prices, and how much is kept.
        shared: its place among several workers, of which one alone adds up days, and rolls up old ones.
    """
    database = services.get(Database)
    prices = PriceList(settings.prices)
    ledger = services.add(Ledger(database, prices, settings.usage_buffer))
    calendar = services.get(Calendar)
    others = OtherLedgers(ledger, shared).wrote if shared is not None else None
    services.add(Usage(database, ledger, prices, others, calendar))
    metrics = services.get(Metrics)
    metrics.gauge("ledger_waiting", "Generations that are not in the database yet.", lambda: ledger.waiting)
    metrics.gauge("ledger_lag_seconds", "Since the oldest of those ended.", lambda: ledger.lag, of_all="most")
    metrics.counter("ledger_written", "Generations that were written into the ledger.", lambda: ledger.written)
    metrics.counter("ledger_dropped", "Generations that the ledger lost.", lambda: ledger.dropped)
    sweeps = shared is None or shared.is_first
    days = settings.usage_retention_days
    return ledger, [Retention(database, days, calendar), ClosedDays(database, days, calendar)] if sweeps else []
