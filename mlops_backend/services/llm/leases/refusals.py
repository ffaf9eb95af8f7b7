"""What those are told whom the queue does not take, or keeps for too long; each with when to come again."""

from __future__ import annotations

from math import ceil
from typing import Final

from mlops_backend.errors import KeyQueueFull, NoUsableBackend, QueueFull, QueueTimedOut

_LONGEST_WAIT: Final = 3600


def queue_full(wait: float) -> QueueFull:
    """Too many wait."""
    return QueueFull("Too many requests wait for a backend already.", headers=_after(wait))


def key_queue_full(most: int, wait: float) -> KeyQueueFull:
    """Too many of this key do."""
    return KeyQueueFull(f"{most} requests of this key wait already.", headers=_after(wait))


def timed_out(wait: float) -> QueueTimedOut:
    """It did not come to this one."""
    return QueueTimedOut(
        "It did not come to this request in time: all backends that have the model are busy.", headers=_after(wait)
    )


def taken_away() -> NoUsableBackend:
    """There is none any more that it could have."""
    return NoUsableBackend("The backend that this request waited for was taken away.")


def _after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(min(_LONGEST_WAIT, max(1, ceil(seconds))))}
