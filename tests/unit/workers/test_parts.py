"""What each worker has of what bounds the whole service."""

from __future__ import annotations

import pytest

from mlops_backend.workers.parts import part_of
from tests.settings import settings_for

DIVIDED = (
    "max_connections_per_address",
    "upstream_max_connections",
    "database_connections",
    "body_memory",
    "body_memory_per_key",
    "usage_buffer",
)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_the_parts_are_the_whole(workers: int) -> None:
    """What is divided adds up to what the operator set, and no part is larger than another by more than one."""
    whole = settings_for(workers=workers)
    parts = [part_of(whole, index) for index in range(workers)]
    for name in DIVIDED:
        sizes = [getattr(part, name) for part in parts]
        assert sum(sizes) == getattr(whole, name), name
        assert max(sizes) - min(sizes) <= 1, name


def test_nobody_gets_nothing() -> None:
    """What is smaller than the number of workers is one for each, and of the database's connections three."""
    whole = settings_for(workers=8, upstream_max_connections=2, database_connections=3, usage_buffer=1)
    part = part_of(whole, 7)
    assert (part.upstream_max_connections, part.database_connections, part.usage_buffer) == (1, 3, 1)


def test_what_is_counted_together_stays_whole() -> None:
    """Connections are counted by all workers together; nothing else of the settings changes."""
    whole = settings_for("http://one:1", workers=2, max_concurrency=4)
    part = part_of(whole, 1)
    changed = {name for name, value in whole if getattr(part, name) != value}
    assert changed == set(DIVIDED)
    assert part.ollama_is_named
