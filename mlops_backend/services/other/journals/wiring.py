"""Builds what keeps journals."""

from __future__ import annotations

from mlops_backend.config import Settings
from mlops_backend.services.other.journals.journal import JOURNAL_COST, PIECE_COST, Bounds, Journals
from mlops_backend.services.other.journals.memory import MemoryJournals
from mlops_backend.services.other.journals.parent import MOST_OF_ONE, WorkersJournals
from mlops_backend.shared import Shared


def build_journals(settings: Settings, shared: Shared | None = None) -> Journals:
    """What keeps them; the lifespan opens it before the first one, and closes it after the last.

    Args:
        settings: `REDIS_URL` decides who can go on with an answer.
        shared: its place among several workers, whose parent keeps them where Redis does not.
    """
    if address := settings.redis_url.get_secret_value():
        # See the limits' wiring.
        from mlops_backend.services.other.journals.redis_journals import RedisJournals

        return RedisJournals(address, _bounds(settings))
    return MemoryJournals(_bounds(settings)) if shared is None else WorkersJournals(shared)


def build_journals_of_parent(settings: Settings) -> MemoryJournals:
    """What the parent of several workers keeps for them."""
    return MemoryJournals(_bounds(settings, most=MOST_OF_ONE))


def most_of_whole(settings: Settings) -> int:
    """Bytes of an answer in one piece that fits into a journal, whoever keeps it."""
    return min(settings.stream_bytes, MOST_OF_ONE) - JOURNAL_COST - PIECE_COST


def _bounds(settings: Settings, most: int | None = None) -> Bounds:
    each = settings.stream_bytes if most is None else min(settings.stream_bytes, most)
    return Bounds(each=each, all=settings.stream_memory, ttl=settings.stream_ttl)
