"""The time that a question about usage is for, where it does not say."""

from __future__ import annotations

from time import time

import pytest

from mlops_backend.blueprints import usage
from mlops_backend.errors import InvalidBody
from mlops_backend.schemas.usage import GenerationsQuery
from mlops_backend.services.other.usage import DAY


def asked(**parameters: str) -> GenerationsQuery:
    """A query as it comes."""
    return GenerationsQuery.model_validate(parameters)


def test_a_span_without_an_end_has_what_happens_in_this_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end is not part of it, and who has just generated wants to see that."""
    now = time()
    monkeypatch.setattr(usage, "time", lambda: now)
    assert usage._span(asked()).end == int(now * 1000) + 1


def test_a_span_without_a_beginning_has_thirty_whole_days_and_today() -> None:
    """Days begin at midnight, UTC."""
    span = usage._span(asked(to="2026-05-31T12:00:00Z"))
    assert span.start % DAY == 0
    assert span.end // DAY - span.start // DAY == 30


def test_a_span_begins_no_earlier_than_time_does() -> None:
    """Thirty days before the fourth of January 1970 there was nothing."""
    assert usage._span(asked(to="1970-01-04T00:00:00Z")).start == 0


def test_an_empty_span_is_refused() -> None:
    """Its end has to come after its beginning."""
    moment = "2026-05-31T12:00:00Z"
    with pytest.raises(InvalidBody):
        usage._span(asked(**{"from": moment, "to": moment}))
    assert usage._span(asked(**{"from": moment, "to": "2026-05-31T12:00:00.001Z"}))
