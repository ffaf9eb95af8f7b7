"""Builds the response cache."""

from __future__ import annotations

from mlops_backend.config import Settings
from mlops_backend.services.other.response_cache.cache import ResponseCache
from mlops_backend.services.other.response_cache.entry import Keeper
from mlops_backend.services.other.response_cache.memory import MemoryKeeper
from mlops_backend.services.registry import Services
from mlops_backend.telemetry.metrics import Metrics
from mlops_backend.telemetry.numbers import OfAll


def build_response_cache(services: Services, settings: Settings) -> ResponseCache:
    """What comes back is opened by the lifespan.

    Args:
        services: where it goes.
        settings: `REDIS_URL` decides where the answers are.
    """
    keeper = _keeper(settings)
    cache = services.add(
        ResponseCache(
            keeper,
            always=settings.response_cache == "deterministic",
            shared=settings.cache_shared,
            entry_bytes=settings.cache_entry_bytes,
            memory=settings.cache_memory,
        )
    )
    metrics = services.get(Metrics)
    metrics.counter("response_cache_hits", "Calls that were answered by a kept answer.", lambda: cache.hits)
    metrics.counter("response_cache_misses", "Calls that wanted a kept answer, and had none.", lambda: cache.misses)
    of_all: OfAll = "sum" if isinstance(keeper, MemoryKeeper) else "most"
    metrics.gauge("response_cache_entries", "Answers that are kept.", lambda: keeper.entries, of_all=of_all)
    metrics.gauge("response_cache_bytes", "Bytes that they take.", lambda: keeper.bytes, of_all=of_all)
    return cache


def _keeper(settings: Settings) -> Keeper:
    bounds = settings.cache_ttl, settings.cache_memory
    if not (address := settings.redis_url.get_secret_value()):
        return MemoryKeeper(*bounds)
    # See the limits' wiring.
    from mlops_backend.services.other.response_cache.redis import RedisKeeper

    return RedisKeeper(address, *bounds)
