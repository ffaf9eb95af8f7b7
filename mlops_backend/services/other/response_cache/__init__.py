"""The response cache: whole answers to calls that have one answer, for whoever asks the same once more."""

from __future__ import annotations

from mlops_backend.services.other.response_cache.cache import Recording, ResponseCache
from mlops_backend.services.other.response_cache.calls import ROUTES, Call, Kind, read_call
from mlops_backend.services.other.response_cache.entry import Entry
from mlops_backend.services.other.response_cache.wiring import build_response_cache

__all__ = ["ROUTES", "Call", "Entry", "Kind", "Recording", "ResponseCache", "build_response_cache", "read_call"]
