"""Builds the services that the parent keeps for its workers."""

from __future__ import annotations

from mlops_backend.config import Settings
from mlops_backend.services.llm.streams import StreamTickets
from mlops_backend.services.other.limits import budget_of_bodies


def build_tickets(settings: Settings) -> StreamTickets:
    """The streams that wait to be fetched, with room of their own for their bodies."""
    return StreamTickets(budget_of_bodies(settings))
