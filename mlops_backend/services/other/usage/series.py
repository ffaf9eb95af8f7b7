"""Series by hour, day and month, as SQL: where the interval begins that a moment or a rolled-up day lies in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import BigInteger, ColumnElement, literal_column

from mlops_backend.days import Calendar, Piece
from mlops_backend.schemas.usage import Interval

_SECOND: Final = 1000
_HOUR: Final = 3600


class Series:
    """The intervals of a span, all of whose moments are milliseconds.

    A zone's days are of one length but for some in a year. Where that changes a piece begins, and within a piece one
    can count: so that a column is one expression, of two cases for each change of the clocks. It is written as text,
    for hundreds of cases; and with the numbers in it, for PostgreSQL would not see that two parameters with one value
    are the same expression.

    Args:
        pieces: days, or a month each, in order; there is one at the least.
        interval: how long each row of the series is.
    """

    def __init__(self, pieces: Sequence[Piece], interval: Interval) -> None:
        self._pieces = pieces
        self._interval = interval

    def of_moment(self, column: str) -> ColumnElement[int]:
        """Where the interval begins that the moment in a column lies in."""
        return _cased(
            [(f"{column} >= {piece.start * _SECOND}", self._counted(column, piece)) for piece in self._pieces]
        )

    def of_day(self, column: str) -> ColumnElement[int]:
        """Where the interval begins that the rolled-up day in a column belongs to."""
        return _cased([(f"{column} >= {piece.day}", self._of_day(column, piece)) for piece in self._pieces])

    def _counted(self, column: str, piece: Piece) -> str:
        length = _HOUR if self._interval is Interval.HOUR else piece.length or 1  # nothing is of a day without length
        start, each = piece.start * _SECOND, length * _SECOND
        return f"({column} - {start}) / {each} * {each} + {start}"

    def _of_day(self, column: str, piece: Piece) -> str:
        start = piece.start * _SECOND
        if self._interval is Interval.MONTH:
            return f"CAST({start} AS BIGINT)"
        # PostgreSQL multiplies two small numbers to a small one.
        return f"CAST({column} - {piece.day} AS BIGINT) * {piece.length * _SECOND} + {start}"


def series_of(calendar: Calendar, interval: Interval, start: int, end: int) -> Series | None:
    """The series of a span, from `start` to `end` in milliseconds; none where there is no interval."""
    if interval is Interval.NONE:
        return None
    last = calendar.day_at(end // _SECOND)
    first = min(calendar.day_at(start // _SECOND), last)
    split = calendar.months if interval is Interval.MONTH else calendar.pieces
    return Series(split(first, last), interval)


def _cased(cases: Sequence[tuple[str, str]]) -> ColumnElement[int]:
    """The newest first: most of what is asked for is new; what is before all of them is of the first."""
    (_, first), *others = cases
    if not others:
        return literal_column(first, BigInteger)
    written = " ".join(f"WHEN {condition} THEN {value}" for condition, value in reversed(others))
    return literal_column(f"CASE {written} ELSE {first} END", BigInteger)
