"""Calendar days and months of the operator, in microseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from time import time_ns
from typing import Final, NamedTuple

from mlops_backend.days import Calendar

SECOND: Final = 1_000_000


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


def windows_at(now: int, calendar: Calendar) -> Windows:
    """The windows of that moment."""
    return _windows_of(calendar, calendar.day_at(now // SECOND))


@lru_cache(maxsize=8)
def _windows_of(calendar: Calendar, day: int) -> Windows:
    month, next_month = calendar.month_of(day)
    starts = [calendar.start(each) * SECOND for each in (day, day + 1, month, next_month)]
    return Windows(Window(*starts[:2]), Window(*starts[2:]))


def moment_of(microseconds: int) -> datetime:
    """The start of a window as the ledger takes it."""
    return datetime.fromtimestamp(microseconds // SECOND, UTC)
