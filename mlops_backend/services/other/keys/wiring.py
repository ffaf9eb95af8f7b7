"""Builds the services of keys."""

from __future__ import annotations

from mlops_backend.config import Settings
from mlops_backend.services.other.database import Database
from mlops_backend.services.other.keys.cache import KeyCache
from mlops_backend.services.other.keys.news import KeyNews
from mlops_backend.services.other.keys.service import ApiKeys
from mlops_backend.services.other.keys.stores import KeyStores, SettingsKeyStore
from mlops_backend.services.registry import Services
from mlops_backend.shared import Shared


def build_keys(services: Services, settings: Settings, shared: Shared | None = None) -> KeyCache:
    """The keys of the settings and of the database; what comes back is opened by the lifespan."""
    database = services.get(Database)
    cache = services.add(KeyCache(database, settings.default_limits))
    changed = cache.changed if shared is None else KeyNews(cache, shared).changed
    configured = SettingsKeyStore(
        settings.api_key.get_secret_value(),
        {name: key.get_secret_value() for name, key in settings.api_keys.items()},
        settings.default_limits,
    )
    services.add(ApiKeys(database, changed, defaults=settings.default_limits, configured=configured.principals))
    services.add(KeyStores(configured, cache))
    return cache
