"""Builds the database's service."""

from __future__ import annotations

from mlops_backend.config import Settings
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.registry import Services
from mlops_backend.telemetry.metrics import Metrics


def build_database(services: Services, settings: Settings) -> Database:
    """The one database of the process; opened by the lifespan."""
    database = services.add(Database(settings.database_url.get_secret_value()))
    services.get(Metrics).gauge("database_up", "1 while the database answers.", lambda: database.up)
    return database
