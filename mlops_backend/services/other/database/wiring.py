"""Builds the database's service."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url

from mlops_backend.config import ConfigError, Settings
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.sqlite_file import UnusableDatabase, check_file
from mlops_backend.services.registry import Services
from mlops_backend.telemetry.metrics import Metrics


def check_database(settings: Settings) -> None:
    """Look at SQLite's file, where nobody but a stack trace would tell what opening it comes to.

    Raises:
        ConfigError: it can never be a database.
    """
    url = make_url(settings.database_url.get_secret_value())
    if url.get_backend_name() == "sqlite" and url.database:
        try:
            check_file(Path(url.database))
        except UnusableDatabase as error:
            raise ConfigError(f"DATABASE_URL: {error}") from None


def build_database(services: Services, settings: Settings) -> Database:
    """The one database of the process; opened by the lifespan."""
    database = services.add(Database(settings.database_url.get_secret_value()))
    metrics = services.get(Metrics)
    metrics.gauge("database_up", "1 while the database answers.", lambda: database.reading_state.up)
    metrics.gauge("database_writable", "1 while the database is written to.", lambda: database.writing_state.up)
    return database
