"""Latencies: every bucket has what plain Python puts there, and percentiles lie where the sorted times have them."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from mlops_backend.schemas.usage import Dimension, Interval
from mlops_backend.services.other.database import engines
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.usage.latency import (
    A_DECADE,
    FIRST,
    LAST,
    MEASURES,
    Counts,
    Latency,
    bounds,
    percentile,
)
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.prices import PriceList
from mlops_backend.services.other.usage.queries import DAY, Span
from mlops_backend.services.other.usage.retention import Retention
from mlops_backend.services.other.usage.service import Usage
from tests.ledger_rows import insert_rows, opened, row
from tests.unit.usage.test_usage import asked

EVERYTHING: Final = Span(0, 2**53)
DONE: Final = replace(EVERYTHING, only=((Dimension.OUTCOME, "done"),))
# What lies at the ends of buckets, or has no logarithm.
EDGES: Final = (0, 1, 2, 9, 10, 11, 99, 100, 1000, 9_999_999, 10**7, 10**12)


def some_rows(many: int) -> list[dict[str, Any]]:
    """Generations of all kinds: streamed, whole and of unknown kind, without a first byte, with no token or one."""
    random = Random(17)
    rows = []
    for number in range(many):
        whole = random.choice((random.choice(EDGES), int(random.lognormvariate(7, 2))))
        first = random.choice((None, whole, int(random.random() * whole)))
        rows.append(
            row(
                number,
                number,
                model=f"m{random.randrange(5)}",
                backend=random.choice(("x", "y")),
                outcome=random.choice(("done", "done", "error", "timeout")),
                streamed=random.choice((True, True, False, None)),
                estimated=random.random() < 0.2,
                completion_tokens=random.choice((0, 1, 2, 3, 500, 10**12)),
                first_byte_ms=first if first is None or first < 2**31 else None,
                total_ms=whole,
            )
        )
    return rows


def place_of(milliseconds: float) -> int:
    """The bucket that a time belongs to."""
    if milliseconds < 10 ** (FIRST / A_DECADE):
        return FIRST - 1
    return min(LAST, math.floor(10 * math.log10(milliseconds)))


def counted(rows: list[dict[str, Any]]) -> Mapping[str, Counts]:
    """The same by plain Python."""
    streams = [each for each in rows if each["streamed"] and each["first_byte_ms"] is not None]
    told = [each for each in streams if not each["estimated"] and each["completion_tokens"] > 1]
    return {
        "whole": Counter(place_of(each["total_ms"]) for each in rows),
        "first_token": Counter(place_of(each["first_byte_ms"]) for each in streams),
        "each_token": Counter(
            place_of((each["total_ms"] - each["first_byte_ms"]) / (each["completion_tokens"] - 1)) for each in told
        ),
    }


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Some hundreds of generations."""
    return some_rows(600)


async def test_buckets_have_what_took_so_long(database_url: str, rows: list[dict[str, Any]]) -> None:
    """Of all, of an outcome, and told apart by what the largest groups are."""
    async with opened(database_url) as database:
        await insert_rows(database, rows)
        usage = asked(database)
        assert (await usage.latency(EVERYTHING, None, 5)).total == Latency(None, counted(rows))
        done = [each for each in rows if each["outcome"] == "done"]
        table = await usage.latency(DONE, Dimension.MODEL, 3)
        by_model = {name: [each for each in done if each["model"] == name] for name in {each["model"] for each in done}}
        largest = sorted(by_model, key=lambda name: (-len(by_model[name]), name))
        assert table.total.counts == counted(done)
        assert table.groups == [Latency(name, counted(by_model[name])) for name in largest[:3]]
        assert table.truncated
        assert not (await usage.latency(DONE, Dimension.BACKEND, 3)).truncated


async def test_nothing_took_no_time(database_url: str) -> None:
    """Of no generations there are no buckets, and no percentiles."""
    async with opened(database_url) as database:
        table = await asked(database).latency(DONE, Dimension.MODEL, 3)
    assert table.total == Latency(None, {measure: Counter() for measure in MEASURES})
    assert (table.groups, table.truncated) == ([], False)
    assert percentile({}, 0.5) is None


def test_percentiles_are_near(rows: list[dict[str, Any]]) -> None:
    """Off by a bucket at most from what the sorted times say."""
    times = sorted(Random(5).lognormvariate(6, 1.5) for _ in range(5000))
    counts = Counter(map(place_of, times))
    for share in (0.01, 0.5, 0.9, 0.99, 1):
        found = percentile(counts, share)
        assert found == pytest.approx(times[math.ceil(share * len(times)) - 1], rel=0.26)
    middle = percentile(counts, 0.5)
    assert middle == pytest.approx(times[2500], rel=0.03), "within a bucket it is not its end"


def test_buckets_lie_behind_each_other() -> None:
    """Each begins where the one before ends; the first has what is less than all, the last has no end."""
    ends = [bounds(place) for place in range(FIRST - 1, LAST + 1)]
    assert [start for start, _ in ends] == [0.0, *(end for _, end in ends[:-1])]
    assert (ends[0], ends[-1]) == ((0.0, 0.01), (10_000_000.0, None))


async def test_a_sqlite_without_mathematics_counts_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]]
) -> None:
    """What it cannot count, Python does for it."""
    asked_for: list[str] = []

    def log(value: float) -> float:
        asked_for.append("log")
        return math.log10(value)

    monkeypatch.setattr(engines, "missing_functions", lambda: {"log": log, "floor": math.floor})
    async with opened(f"sqlite+aiosqlite:///{tmp_path / 'plain.db'}") as database:
        await insert_rows(database, rows)
        assert (await asked(database).latency(EVERYTHING, None, 5)).total.counts == counted(rows)
    assert asked_for


def test_what_sqlite_lacks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked once, by counting something."""
    engines.missing_functions.cache_clear()
    monkeypatch.setattr(engines, "_MATHEMATICS", {"no_such_function": math.log10})
    try:
        assert engines.missing_functions() == {"no_such_function": math.log10}
        assert sqlite3.connect(":memory:").execute("SELECT 1").fetchone() == (1,)
    finally:
        engines.missing_functions.cache_clear()


async def test_the_newest_come_first(database_url: str) -> None:
    """Page by page, also those of one moment; nothing twice, nothing left out, whatever comes meanwhile."""
    rows = [row(number, 1000 - number // 3, outcome="error" if number % 2 else "done") for number in range(20)]
    wanted = [each["id"] for each in sorted(rows, key=lambda each: (each["started_at"], each["id"]), reverse=True)]
    async with opened(database_url) as database:
        await insert_rows(database, rows)
        usage = asked(database)
        found, before = await usage.newest(EVERYTHING, None, 7)
        await insert_rows(database, [row(99, 2000)])
        while before is not None:
            page, before = await usage.newest(EVERYTHING, before, 7)
            found += page
        assert [each["id"] for each in found] == wanted
        failed = replace(EVERYTHING, only=((Dimension.OUTCOME, "error,timeout"),))
        found, before = await usage.newest(failed, None, 10)
        assert ({each["outcome"] for each in found}, len(found), before) == ({"error"}, 10, None)
        assert found[0]["name"] == "tester"


async def test_other_workers_write_what_they_know_first(database_url: str) -> None:
    """So that each worker answers alike, what has just ended at another one included."""
    async with opened(database_url) as database:

        async def others_write() -> None:
            await insert_rows(database, [row(number := next(numbers), number)])

        numbers = count(1)
        usage = Usage(database, Ledger(database, PriceList({}), 10), PriceList({}), others_write)
        assert (await usage.latency(EVERYTHING, None, 1)).total.generations == 1
        assert len((await usage.newest(EVERYTHING, None, 10))[0]) == 2


async def test_the_rest_is_one_group(database_url: str) -> None:
    """With `top` the largest are told apart, over the whole span and in each interval; sums stay sums."""
    rows = [row(number, number // 10 * 86_400_000, model=f"m{min(number % 10, 5)}") for number in range(40)]
    async with opened(database_url) as database:
        await insert_rows(database, rows)
        table = await _top(database, 2)
    assert {(group.start, group.values[Dimension.MODEL]): group.amounts.generations for group in table.groups} == {
        (day * 86_400_000, name): count for day in range(4) for name, count in (("m5", 5), ("m0", 1), (None, 4))
    }
    assert (table.total.generations, table.has_rest) == (40, True)


async def test_a_rest_of_nothing_is_not_there(database_url: str) -> None:
    """Where there are no others, and where there is nothing at all."""
    async with opened(database_url) as database:
        assert (await _top(database, 2)).groups == []
        await insert_rows(database, [row(1, 1)])
        assert [group.values for group in (await _top(database, 2)).groups] == [{Dimension.MODEL: "llama3"}]


async def test_the_rest_of_old_days_is_nobodys(database_url: str) -> None:
    """Sums of old days do not tell end users apart: they count as nobody, among the largest too."""
    rows = [row(number, number, end_user="alice" if number < 3 else "bob") for number in range(8)]
    rows += [row(number, 5 * DAY, end_user="alice") for number in range(8, 12)]
    async with opened(database_url) as database:
        await insert_rows(database, rows)
        await Retention(database, 1).sweep(6 * DAY / 1000)
        table = await asked(database).table(EVERYTHING, [Dimension.END_USER], Interval.NONE, 1000, 1)
    found = [(group.values[Dimension.END_USER], group.amounts.generations) for group in table.groups]
    assert found == [("", 8), (None, 4)]


async def _top(database: Database, top: int) -> Any:
    return await asked(database).table(EVERYTHING, [Dimension.MODEL], Interval.DAY, 1000, top)
