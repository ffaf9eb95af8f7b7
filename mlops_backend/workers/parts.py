"""What each worker has of what the settings give to the whole service."""

from __future__ import annotations

from mlops_backend.config import Settings

# With fewer connections a process can no longer read while it writes.
_FEWEST_CONNECTIONS = 3


def part_of(settings: Settings, index: int) -> Settings:
    """The settings of a worker: what bounds the service is divided, so that all workers together keep to it.

    `MAX_CONNECTIONS` is not: the workers count together. What cannot be less stays whole: a worker has room for a body
    of the largest size.
    """
    return settings.model_copy(
        update={
            "max_connections_per_address": _part(settings.max_connections_per_address, settings.workers, index),
            "upstream_max_connections": _part(settings.upstream_max_connections, settings.workers, index),
            "database_connections": max(
                _FEWEST_CONNECTIONS, _part(settings.database_connections, settings.workers, index)
            ),
            "body_memory": _part(settings.body_memory, settings.workers, index),
            "body_memory_per_key": _part(settings.body_memory_per_key, settings.workers, index),
            "usage_buffer": _part(settings.usage_buffer, settings.workers, index),
        }
    )


def engine_may_run(settings: Settings) -> bool:
    """Whether the embedded engine may come to be needed: whether it is shows at start-up."""
    return settings.embedded_engine == "on" or (settings.embedded_engine == "auto" and not settings.names_backends)


def _part(whole: int, workers: int, index: int) -> int:
    """An equal part; what cannot be divided goes to the first, and nobody gets nothing."""
    return max(1, whole // workers + (index < whole % workers))
