"""Builds what tells of the present."""

from __future__ import annotations

from mlops_backend.services.llm.backends import BackendDesk
from mlops_backend.services.llm.generation import Admission, Running
from mlops_backend.services.llm.leases import Lessor
from mlops_backend.services.other.live.failures import Failures, FailuresOfWorkers
from mlops_backend.services.other.live.live import Live
from mlops_backend.services.other.live.sources import Sources
from mlops_backend.services.other.usage import Ledger
from mlops_backend.services.registry import Services
from mlops_backend.shared import Shared


def build_live(services: Services, shared: Shared | None = None) -> Live:
    """What those hear who listen; it is closed by the lifespan, and ends when the service begins to drain.

    Args:
        services: where it goes; inference and usage are there already.
        shared: its place among several workers, whose failures are told, too.
    """
    failures = Failures() if shared is None else FailuresOfWorkers(shared)
    services.get(Ledger).heard = failures.note
    leases = services.get(Lessor)  # type: ignore[type-abstract]
    live = services.add(Live(Sources(leases, services.get(Running), services.get(BackendDesk), failures)))
    services.get(Admission).when_draining(live.end)
    return live
