"""`TIMEZONE`: one zone for the budgets of keys and for what is told of usage."""

from __future__ import annotations

import re
from datetime import datetime
from time import time
from typing import Final

import pytest

from mlops_backend.days import Calendar
from mlops_backend.services.other.database.database import Database
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.ledger_rows import insert_rows, row

ZONES: Final = ("Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC")
PROMPT: Final = {"model": "llama3", "prompt": "Hi", "stream": False}


@pytest.mark.parametrize("name", ZONES)
async def test_a_budget_ends_with_the_operators_day(serve: ServeFactory, fake: FakeOllama, name: str) -> None:
    """The answer says how many seconds are left of it; between the first zone and the second a day and an hour lie."""
    calendar = Calendar(name)
    async with serve(fake.url, timezone=name, tokens_per_day=100_000) as service:
        before = time()
        answer = await service.client.post("/api/generate", json=PROMPT)
        after = time()
    told = re.search(r"t=(\d+)", answer.headers["RateLimit"])
    assert told is not None
    ends = {calendar.start(calendar.day_at(int(moment)) + 1) for moment in (before, after)}
    assert any(end - after <= int(told[1]) <= end - before + 1 for end in ends)


@pytest.mark.parametrize("name", ZONES)
async def test_usage_is_told_by_the_operators_days(serve: ServeFactory, fake: FakeOllama, name: str) -> None:
    """What is asked for without a zone is of the operator's, and so is what is told."""
    zone = Calendar(name).zone
    rows = [row(1, 1_777_593_599_999), row(2, 1_777_593_600_000)]  # about the midnight of UTC before the first of May
    # These rows may be old by now, and are to be told in full.
    async with serve(fake.url, timezone=name, usage_retention_days=36_500) as service:
        await insert_rows(service.services.get(Database), rows)
        asked = {"from": "2026-04-01", "to": "2026-06-01"}
        for interval, places in (("day", 10), ("month", 7)):
            answer = (await service.client.get("/api/usage", params={**asked, "interval": interval})).json()
            starts = [datetime.fromisoformat(each["start"]) for each in answer["rows"]]
            assert all(
                (start.day if interval == "month" else 1, start.hour, start.minute) == (1, 0, 0) for start in starts
            )
            shown = {f"{datetime.fromtimestamp(each['started_at'] / 1000, zone)}"[:places] for each in rows}
            assert [each["start"][:places] for each in answer["rows"]] == sorted(shown)
            assert {start.utcoffset() for start in starts} == {starts[0].replace(tzinfo=zone).utcoffset()}
            assert answer["from"][:19] == "2026-04-01T00:00:00"
            assert datetime.fromisoformat(answer["to"]) == datetime(2026, 6, 1, tzinfo=zone)
        export = (await service.client.get("/api/usage/export", params=asked)).text
        assert ",2026-04-30T23:59:59.999Z," in export
