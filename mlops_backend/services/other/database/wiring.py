"""Builds the database's service."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import make_url

from mlops_backend.config import ConfigError, Settings
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.migrating import NewerDatabase
from mlops_backend.services.other.database.sqlite_file import UnusableDatabase, check_file
from mlops_backend.services.registry import Services
from mlops_backend.telemetry.metrics import Metrics


def check_database(settings: Settings) -> None:
    """Look at SQLite's file or open PostgreSQL, where nobody but a stack trace would tell what that comes to.

    Raises:
        ConfigError: it can never be a database, or one for this version.
    """
    url = make_url(settings.database_url.get_secret_value())
    try:
        if url.get_backend_name() == "sqlite" and url.database:
            check_file(Path(url.database))
        elif url.get_backend_name() == "postgresql":
            asyncio.run(_open_and_close(_database(settings)))
    except (UnusableDatabase, NewerDatabase) as error:
        raise ConfigError(f"DATABASE_URL: {str(error).removeprefix('DATABASE_URL: ')}") from None


def build_database(services: Services, settings: Settings) -> Database:
    """The one database of the process; opened by the lifespan."""
    database = services.add(_database(settings))
    metrics = services.get(Metrics)
    metrics.gauge("database_up", "1 while the database answers.", lambda: database.reading_state.up, of_all="least")
    writable = "1 while the database is written to."
    metrics.gauge("database_writable", writable, lambda: database.writing_state.up, of_all="least")
    return database


def _database(settings: Settings) -> Database:
    return Database(settings.database_url.get_secret_value(), connections=settings.database_connections)


async def _open_and_close(database: Database) -> None:
    try:
        await database.open()
    finally:
        await database.aclose()
