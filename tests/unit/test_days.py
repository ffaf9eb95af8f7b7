"""The operator's days: they lie behind each other without a gap, in every zone there is."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.days import Calendar, zone
from mlops_backend.services.other.limits.windows import SECOND, Window, windows_at

EPOCH: Final = date(1970, 1, 1).toordinal()
ZONES: Final = sorted(available_timezones() - {"localtime"})
HOUR: Final = 3600
YEARS: Final = ((2011, 2012), (2026, 2027))


def day(*written: int) -> int:
    """The number of a date."""
    return date(*written).toordinal() - EPOCH


def moment(year: int, month: int, number: int, hour: int = 0, minute: int = 0) -> int:
    """A moment of UTC."""
    return int(datetime(year, month, number, hour, minute, tzinfo=UTC).timestamp())


def test_there_are_zones() -> None:
    """What follows tries all of them."""
    assert len(ZONES) > 400


@pytest.mark.parametrize("years", [YEARS[0], pytest.param(YEARS[1], marks=pytest.mark.long)])
def test_days_and_months_tile_a_year_everywhere(years: tuple[int, int]) -> None:
    """Each begins where the one before ends, and so do months; pieces count them as they are."""
    first, last = (day(year, 1, 1) for year in years)
    for name in ZONES:
        calendar = Calendar(name)
        starts = [calendar.start(number) for number in range(first, last + 1)]
        lengths = [later - earlier for earlier, later in pairwise(starts)]
        assert min(lengths) >= 0, name
        assert sum(lengths) == starts[-1] - starts[0]
        assert {length for length in lengths if length % 900} == set(), name
        months = calendar.months(first, last - 1)
        assert [piece.start + piece.length for piece in months] == [piece.start for piece in months[1:]] + [starts[-1]]
        pieces = calendar.pieces(first, last - 1)
        counted = [
            (number, piece.start + (number - piece.day) * piece.length)
            for piece, following in zip(pieces, [*(piece.day for piece in pieces[1:]), last], strict=True)
            for number in range(max(piece.day, first), following)
        ]
        assert counted == [(number, starts[number - first]) for number in range(first, last)], name


@given(st.sampled_from(ZONES), st.integers(0, 4_102_444_800))
def test_a_moment_has_one_day_and_one_month(name: str, at: int) -> None:
    """It lies in both; both are of its own date, or of the next where a day's last hour comes once more."""
    calendar = Calendar(name)
    number = calendar.day_at(at)
    windows = windows_at(at * SECOND + 999_999, calendar)
    assert windows.day == Window(calendar.start(number) * SECOND, calendar.start(number + 1) * SECOND)
    assert windows.day.start <= at * SECOND < windows.day.end
    assert windows.month.start <= windows.day.start < windows.day.end <= windows.month.end
    for edge in (windows.day.start, windows.day.end - SECOND):
        assert windows_at(edge, calendar) == windows
        assert calendar.first_day(edge / SECOND) == (number if edge == windows.day.start else number + 1)
    shown = datetime.fromtimestamp(at, zone(name)).date()
    assert shown.toordinal() - EPOCH in {number, number - 1}
    begun = datetime.fromtimestamp(calendar.start(number), zone(name))
    assert begun.date().toordinal() - EPOCH == number
    before = datetime.fromtimestamp(calendar.start(number) - 1, zone(name))
    assert before.date() < begun.date()


@pytest.mark.parametrize(
    ("name", "number", "start", "hours"),
    [
        ("UTC", day(2026, 3, 29), moment(2026, 3, 29), 24),
        ("Europe/Berlin", day(2026, 3, 29), moment(2026, 3, 28, 23), 23),
        ("Europe/Berlin", day(2026, 10, 25), moment(2026, 10, 24, 22), 25),
        ("Australia/Lord_Howe", day(2026, 4, 5), moment(2026, 4, 4, 13), 24.5),
        ("America/Havana", day(2026, 3, 8), moment(2026, 3, 8, 5), 23),  # from midnight to one
        ("Africa/Cairo", day(2026, 10, 29), moment(2026, 10, 28, 21), 25),  # from midnight back to eleven
        ("America/St_Johns", day(2010, 11, 7), moment(2010, 11, 7, 2, 30), 25),  # from a minute past midnight back
        ("Pacific/Apia", day(2011, 12, 29), moment(2011, 12, 29, 10), 24),
        ("Pacific/Apia", day(2011, 12, 30), moment(2011, 12, 30, 10), 0),  # a day that nobody had
        ("Pacific/Apia", day(2011, 12, 31), moment(2011, 12, 30, 10), 24),
        ("America/Toronto", day(1919, 3, 31), moment(1919, 3, 31, 4, 30), 23.5),  # from half past eleven to half past
    ],
)
def test_odd_days(name: str, number: int, start: int, hours: float) -> None:
    """A day begins at its first midnight, or where the clocks pass it over."""
    calendar = Calendar(name)
    assert (calendar.start(number), calendar.start(number + 1)) == (start, start + hours * HOUR)
    if hours:
        assert [calendar.day_at(at) for at in (start, calendar.start(number + 1) - 1)] == [number, number]


def test_an_hour_that_comes_once_more_is_of_the_day_that_has_begun() -> None:
    """A minute past midnight the clocks went back to a minute past eleven: the date was the day before's again."""
    calendar = Calendar("America/St_Johns")
    again = moment(2010, 11, 7, 3)
    assert datetime.fromtimestamp(again, calendar.zone).date() == date(2010, 11, 6)
    assert calendar.day_at(again) == day(2010, 11, 7)
    assert calendar.first_day(again) == day(2010, 11, 8)


@pytest.mark.parametrize(
    "name", ["", "Europe", "Europe/", "../etc/passwd", "/etc/localtime", "Mars/Base", "a\0b", "CEST"]
)
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    """A folder, a path and a word that nobody knows are all the same to the operator."""
    with pytest.raises(ValueError, match=r"^must be the name of a time zone, such as Europe/Berlin or UTC$"):
        zone(name)
    assert isinstance(zone("Europe/Berlin"), ZoneInfo)
