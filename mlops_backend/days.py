"""Days and months of the operator's time zone, whose days have 23 hours and 25 too."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, date, datetime, time, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

_EPOCH: Final = date(1970, 1, 1).toordinal()
_A_DAY: Final = 86_400
# A year each; nobody asks for more of them at a time.
_REMEMBERED: Final = 128


class Piece(NamedTuple):
    """Days of one length that lie behind each other: the first of them, the moment it begins, and that length.

    One that the zone left out, to be on the other side of the date line, has no length.
    """

    day: int
    start: int
    length: int

    def is_continued_by(self, following: Piece) -> bool:
        """Whether the days that follow are of this piece too."""
        return self.length == following.length == _A_DAY


class Calendar:
    """Tells moments and days of one time zone apart.

    A day is a number, counted from 1970-01-01 by the zone's own dates; moments are whole seconds since the epoch. A day
    ends where the next begins, so that days lie behind each other without a gap, whatever the clocks do at midnight.

    Args:
        name: the zone's, such as `Europe/Berlin`.

    Raises:
        ValueError: there is no such zone.
    """

    def __init__(self, name: str = "UTC") -> None:
        self.zone: Final = zone(name)
        self._last = (0, 0, 0)
        self._pieces = lru_cache(_REMEMBERED)(self._pieces_of_year)

    def start(self, day: int) -> int:
        """The moment at which a day begins: its first midnight, or where the clocks pass that over, the first after."""
        begun = date.fromordinal(_EPOCH + day)
        midnight = datetime(begun.year, begun.month, begun.day, tzinfo=self.zone)
        late, early = int(midnight.timestamp()), int(midnight.replace(fold=1).timestamp())
        if late <= early:
            return late
        return early + bisect_left(range(early, late), True, key=lambda moment: self._date(moment) >= begun)

    def day_at(self, moment: int) -> int:
        """The day that a moment lies in."""
        start, end, day = self._last
        if start <= moment < end:
            return day
        day = self._date(moment).toordinal() - _EPOCH
        while moment >= (end := self.start(day + 1)):
            day += 1
        self._last = (self.start(day), end, day)
        return day

    def month_of(self, day: int) -> tuple[int, int]:
        """The first day of the month that a day is of, and the first day of the next month."""
        first = date.fromordinal(_EPOCH + day).replace(day=1)
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        return first.toordinal() - _EPOCH, following.toordinal() - _EPOCH

    def first_day(self, moment: float) -> int:
        """The first day that does not begin before a moment, which may lie between two seconds."""
        whole = int(moment)
        day = self.day_at(whole)
        return day if self.start(day) >= moment else day + 1

    def pieces(self, first: int, last: int) -> list[Piece]:
        """The days from `first` to `last`: those of 24 hours that lie behind each other as one piece, others alone."""
        if self.zone is UTC:
            return [Piece(first, self.start(first), _A_DAY)]
        years = range(date.fromordinal(_EPOCH + first).year, date.fromordinal(_EPOCH + last).year + 1)
        found: list[Piece] = []
        for piece in [piece for year in years for piece in self._pieces(year)]:
            if not found or not found[-1].is_continued_by(piece):
                found.append(piece)
        within = [piece for piece in found if piece.day <= last]
        return within[max(0, bisect_left(within, first + 1, key=lambda piece: piece.day) - 1) :]

    def months(self, first: int, last: int) -> list[Piece]:
        """The months from that of the day `first` to that of `last`, a piece each."""
        found = []
        day, following = self.month_of(first)
        while day <= last:
            found.append(Piece(day, self.start(day), self.start(following) - self.start(day)))
            day, following = self.month_of(following)
        return found

    def _pieces_of_year(self, year: int) -> list[Piece]:
        first, end = (date(each, 1, 1).toordinal() - _EPOCH for each in (year, year + 1))
        starts = [self.start(day) for day in range(first, end + 1)]
        found: list[Piece] = []
        for day, (start, following) in enumerate(pairwise(starts), first):
            piece = Piece(day, start, following - start)
            if not found or not found[-1].is_continued_by(piece):
                found.append(piece)
        return found

    def moment_of(self, written: datetime) -> int:
        """The moment of a time that names no zone; of one that the clocks show twice the first."""
        if written == datetime.combine(written, time()):
            return self.start(written.toordinal() - _EPOCH)
        return int(written.replace(tzinfo=self.zone).timestamp())

    def _date(self, moment: int) -> date:
        return datetime.fromtimestamp(moment, self.zone).date()


def zone(name: str) -> tzinfo:
    """The time zone of that name; UTC needs no file.

    Raises:
        ValueError: there is none.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # of a folder, of a path, of what is not there
        raise ValueError("must be the name of a time zone, such as Europe/Berlin or UTC") from None


UTC_DAYS: Final = Calendar()
