"""Leases of the backends' slots, and the fair queue of those who wait for one."""

from __future__ import annotations

from mlops_backend.services.llm.leases.fair_queue import FairQueue, Ticket
from mlops_backend.services.llm.leases.leases import Asking, Bounds, Lease, Leases, Place

__all__ = ["Asking", "Bounds", "FairQueue", "Lease", "Leases", "Place", "Ticket"]
