"""Series by hour, day and month, as SQL: where the interval begins that a moment or a rolled-up day lies in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, case, cast, literal_column

from mlops_backend.days import Calendar, Piece
from mlops_backend.schemas.usage import Interval

_SECOND: Final = 1000
_HOUR: Final = 3600


class Series:
    """The intervals of a span, all of whose moments are milliseconds.

    A zone's days are of one length but for some in a year. Where that changes a piece begins, and within a piece one
    can count: so that a column is one expression, of two cases for each change of the clocks.

    Args:
        pieces: days, or a month each, in order; there is one at the least.
        interval: how long each row of the series is.
    """

    def __init__(self, pieces: list[Piece], interval: Interval) -> None:
        self._pieces = pieces
        self._interval = interval

    def of_moment(self, moment: ColumnElement[int]) -> ColumnElement[int]:
        """Where the interval begins."""
        return self._cased(moment, lambda piece: _number(piece.start * _SECOND), self._counted)

    def of_day(self, day: ColumnElement[int]) -> ColumnElement[int]:
        """Where the interval begins that a rolled-up day belongs to."""
        return self._cased(day, lambda piece: _number(piece.day), self._of_day)

    def _counted(self, moment: ColumnElement[int], piece: Piece) -> ColumnElement[int]:
        length = _HOUR if self._interval is Interval.HOUR else piece.length or 1  # nothing is of a day without length
        start, each = _number(piece.start * _SECOND), _number(length * _SECOND)
        return (moment - start) // each * each + start

    def _of_day(self, day: ColumnElement[int], piece: Piece) -> ColumnElement[int]:
        start = _number(piece.start * _SECOND)
        if self._interval is Interval.MONTH:
            return start
        days = cast(day - _number(piece.day), BigInteger)  # PostgreSQL multiplies two small numbers to a small one
        return days * _number(piece.length * _SECOND) + start

    def _cased(
        self,
        column: ColumnElement[int],
        begins: Callable[[Piece], ColumnElement[int]],
        counted: Callable[[ColumnElement[int], Piece], ColumnElement[int]],
    ) -> ColumnElement[int]:
        """The newest first: most of what is asked for is new."""
        first, *others = self._pieces
        if not others:
            return counted(column, first)
        cases: list[Any] = [(column >= begins(piece), counted(column, piece)) for piece in reversed(others)]
        return case(*cases, else_=counted(column, first))


def series_of(calendar: Calendar, interval: Interval, start: int, end: int) -> Series | None:
    """The series of a span, from `start` to `end` in milliseconds; none where there is no interval."""
    if interval is Interval.NONE:
        return None
    last = calendar.day_at(end // _SECOND)
    first = min(calendar.day_at(start // _SECOND), last)
    split = calendar.months if interval is Interval.MONTH else calendar.pieces
    return Series(split(first, last), interval)


def _number(value: int) -> ColumnElement[int]:
    """Written out: PostgreSQL would not see that two parameters with one value are the same expression."""
    return literal_column(str(value), BigInteger)
