"""API keys, from the settings and from the database."""

from __future__ import annotations

from mlops_backend.services.other.keys.cache import KeyCache
from mlops_backend.services.other.keys.service import ApiKeys
from mlops_backend.services.other.keys.stores import KeyStore, KeyStores
from mlops_backend.services.other.keys.wiring import build_keys

__all__ = [
    "ApiKeys",
    "KeyCache",
    "KeyStore",
    "KeyStores",
    "build_keys",
]
