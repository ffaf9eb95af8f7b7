"""Builds what keeps journals."""

from __future__ import annotations

from mlops_backend.config import Settings
from mlops_backend.services.other.journals.journal import Bounds, Journals
from mlops_backend.services.other.journals.memory import MemoryJournals
from mlops_backend.services.registry import Services
from mlops_backend.shared import Shared


def bounds_of(settings: Settings) -> Bounds:
    """How much is kept, and for how long."""
    return Bounds(each=settings.stream_bytes, all=settings.stream_memory, ttl=settings.stream_ttl)


def build_journals(services: Services, settings: Settings, shared: Shared | None = None) -> Journals:
    """Those of this process; it is opened and closed by the lifespan.

    Args:
        services: where it goes.
        settings: its bounds.
        shared: its place among several workers.
    """
    return services.add(MemoryJournals(bounds_of(settings)), Journals)
