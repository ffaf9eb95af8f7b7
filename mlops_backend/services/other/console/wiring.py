"""Builds the services of the console."""

from __future__ import annotations

from mlops_backend.config import Settings
from mlops_backend.services.other.console.sessions import ConsoleSessions
from mlops_backend.services.other.database import Database
from mlops_backend.services.other.keys import KeyStores
from mlops_backend.services.registry import Services


def build_console(services: Services, settings: Settings) -> None:
    """The sessions of browsers."""
    lifetime = settings.console_session_seconds
    services.add(ConsoleSessions(services.get(Database), services.get(KeyStores), lifetime))
