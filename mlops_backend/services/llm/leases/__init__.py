"""Leases of the backends' slots, and the fair queue of those who wait for one."""

from __future__ import annotations

from mlops_backend.services.llm.leases.fair_queue import FairQueue, Ticket
from mlops_backend.services.llm.leases.leases import Leases
from mlops_backend.services.llm.leases.lessor import (
    Asking,
    Bounds,
    Lease,
    Lessor,
    Place,
    Standing,
    View,
    queue_bounds,
)
from mlops_backend.services.llm.leases.of_workers import LeasesForWorkers, WorkersLeases
from mlops_backend.services.llm.leases.told import told_queue
from mlops_backend.services.llm.leases.wiring import build_leases

__all__ = [
    "Asking",
    "Bounds",
    "FairQueue",
    "Lease",
    "Leases",
    "LeasesForWorkers",
    "Lessor",
    "Place",
    "Standing",
    "Ticket",
    "View",
    "WorkersLeases",
    "build_leases",
    "queue_bounds",
    "told_queue",
]
