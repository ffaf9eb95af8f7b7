"""The time that a question about usage is for, where it does not say."""

from __future__ import annotations

from datetime import datetime
from time import time
from types import SimpleNamespace

import pytest

from mlops_backend.blueprints import usage
from mlops_backend.days import Calendar
from mlops_backend.errors import InvalidBody
from mlops_backend.schemas.usage import GenerationsQuery


@pytest.fixture(autouse=True, params=["UTC", "Europe/Berlin"])
def calendar(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Calendar:
    """The operator's days."""
    days = Calendar(request.param)
    monkeypatch.setattr(usage, "service", lambda _: SimpleNamespace(calendar=days))
    return days


def asked(**parameters: str) -> GenerationsQuery:
    """A query as it comes."""
    return GenerationsQuery.model_validate(parameters)


def test_a_span_without_an_end_has_what_happens_in_this_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end is not part of it, and who has just generated wants to see that."""
    now = time()
    monkeypatch.setattr(usage, "time", lambda: now)
    assert usage._span(asked()).end == int(now * 1000) + 1


def test_a_span_without_a_beginning_has_thirty_whole_days_and_today(calendar: Calendar) -> None:
    """Days begin at midnight, where the operator is; between these two the clocks were changed."""
    span = usage._span(asked(to="2026-04-10T12:00:00Z"))
    assert datetime.fromtimestamp(span.start / 1000, calendar.zone) == datetime(2026, 3, 11, tzinfo=calendar.zone)
    assert span.calendar is calendar


def test_a_time_without_a_zone_is_the_operators(calendar: Calendar) -> None:
    """A day begins where it does there; a zone that is named is that one; seconds are seconds."""
    span = usage._span(asked(**{"from": "2026-03-29", "to": "2026-03-30T12:34:56.789"}))
    assert span.start == datetime(2026, 3, 29, tzinfo=calendar.zone).timestamp() * 1000
    assert span.end == round(datetime(2026, 3, 30, 12, 34, 56, 789_000, tzinfo=calendar.zone).timestamp() * 1000)
    named = usage._span(asked(**{"from": "1767225600.5", "to": "2026-03-30T00:00:00+05:45"}))
    assert (named.start, named.end) == (1767225600500, 1774808100000)
    assert usage._span(asked(**{"from": "1970-01-01"})).start == 0


def test_a_span_begins_no_earlier_than_time_does() -> None:
    """Thirty days before the fourth of January 1970 there was nothing."""
    assert usage._span(asked(to="1970-01-04T00:00:00Z")).start == 0


def test_an_empty_span_is_refused() -> None:
    """Its end has to come after its beginning."""
    moment = "2026-05-31T12:00:00Z"
    with pytest.raises(InvalidBody):
        usage._span(asked(**{"from": moment, "to": moment}))
    assert usage._span(asked(**{"from": moment, "to": "2026-05-31T12:00:00.001Z"}))
