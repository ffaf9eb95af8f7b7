"""Calendar days and months of UTC, in microseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time_ns
from typing import Final, NamedTuple

SECOND: Final = 1_000_000
_DAY: Final = 86_400 * SECOND


class Window(NamedTuple):
    """From `start` on, up to and without `end`."""

    start: int
    end: int


class Windows(NamedTuple):
    """The day and the month that a moment lies in."""

    day: Window
    month: Window


def wall_clock() -> int:
    """Microseconds since the epoch."""
    return time_ns() // 1000


def windows_at(now: int) -> Windows:
    """The windows of that moment."""
    return _windows_of(now // _DAY)


@lru_cache(maxsize=8)
def _windows_of(days: int) -> Windows:
    day = moment_of(days * _DAY)
    month = day.replace(day=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    return Windows(
        Window(days * _DAY, (days + 1) * _DAY),
        Window(int(month.timestamp()) * SECOND, int(next_month.timestamp()) * SECOND),
    )


def moment_of(microseconds: int) -> datetime:
    """The start of a window as the ledger takes it."""
    return datetime.fromtimestamp(microseconds // SECOND, UTC)
