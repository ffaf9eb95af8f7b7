"""Usage: sums that are exact, rows that are found, and one's tokens since a moment."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from time import perf_counter, time
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from mlops_backend.errors import NotFound, Unavailable
from mlops_backend.schemas.usage import Dimension, Interval
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import (
    api_keys,
    closed_day_keys,
    closed_day_latencies,
    closed_day_sums,
    closed_days,
    generations,
    usage_daily,
)
from mlops_backend.services.other.usage import service as usage_module
from mlops_backend.services.other.usage.closed_days import ClosedDays
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.prices import PriceList
from mlops_backend.services.other.usage.queries import DAY, HOUR, Span, column_of
from mlops_backend.services.other.usage.retention import Retention
from mlops_backend.services.other.usage.service import AT_ONCE, Usage, UsageTable
from tests.ledger_rows import TESTER, finished, insert_rows, midnight, note, opened, row, until_written, writing_to

EVERYTHING: Final = Span(0, 2**53)
# Months have lengths of their own, and tests too, in `test_zones.py`.
LENGTHS: Final = {Interval.NONE: 0, Interval.HOUR: HOUR, Interval.DAY: DAY}
SUMMED: Final = ("estimated", "prompt_tokens", "completion_tokens", "total_ms", "bytes_in", "bytes_out", "price")
MOST: Final = 2**50

some_rows = st.lists(
    st.fixed_dictionaries(
        {
            "started_at": st.integers(0, 4 * DAY - 1),
            "key_id": st.sampled_from(["key_a", "settings:b"]),
            "model": st.sampled_from(["m1", "m2"]),
            "backend": st.sampled_from(["x", "y"]),
            "outcome": st.sampled_from(["done", "error"]),
            "route": st.sampled_from(["/api/chat", "/v1/messages"]),
            "estimated": st.booleans(),
            "prompt_tokens": st.integers(0, 10**12),
            "completion_tokens": st.integers(0, 10**12),
            "total_ms": st.integers(0, MOST),
            "bytes_in": st.integers(0, MOST),
            "bytes_out": st.integers(0, MOST),
            "price": st.integers(0, 10**15),
        }
    ),
    max_size=30,
)
questions = st.lists(
    st.tuples(st.lists(st.sampled_from(list(Dimension)), unique=True), st.sampled_from(list(LENGTHS))),
    min_size=1,
    max_size=5,
)


def asked(database: Database) -> Usage:
    """Usage over a ledger in which nothing waits."""
    return Usage(database, Ledger(database, PriceList({}), 10), PriceList({}))


def summed(rows: list[dict[str, Any]], dimensions: list[Dimension], interval: Interval) -> dict[Any, tuple[int, ...]]:
    """The same by plain Python: group -> number of generations, and the sum of every column."""
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for each in rows:
        length = LENGTHS[interval]
        start = each["started_at"] // length * length if length else None
        groups[(start, *(each[column_of(dimension)] for dimension in dimensions))].append(each)
    return {key: amounts_of(group) for key, group in groups.items()}


def amounts_of(rows: list[dict[str, Any]]) -> tuple[int, ...]:
    """Number and sums."""
    return len(rows), *(sum(int(each[name]) for each in rows) for name in SUMMED)


def told(table: UsageTable) -> dict[Any, tuple[int, ...]]:
    """A table as `summed` has it."""
    return {
        (group.start, *group.values.values()): amounts
        for group in table.groups
        if (amounts := _amounts(group.amounts))[0]
    }


def _amounts(amounts: Any) -> tuple[int, ...]:
    return amounts.generations, *(getattr(amounts, name) for name in SUMMED)


@pytest.fixture
def loop_of_its_own() -> Iterator[asyncio.Runner]:
    """Hypothesis calls plain functions."""
    with asyncio.Runner() as runner:
        yield runner


def test_totals_are_sums_before_and_after_rolling_up(database_url: str, loop_of_its_own: asyncio.Runner) -> None:
    """Any grouping of any rows is what plain Python makes of them, also when days of it are rolled up."""

    async def check(rows: list[dict[str, Any]], asked_for: Any, database: Database) -> None:
        rows = [row(number, **each) for number, each in enumerate(rows)]
        await _only(database, rows)
        usage = asked(database)
        for kept_days in (9, 1):  # at the beginning of day 4: nothing goes, then days 0, 1 and 2
            await Retention(database, kept_days).sweep(4 * DAY / 1000)
            await ClosedDays(database, kept_days).sweep(4 * DAY / 1000)
            for dimensions, interval in asked_for:
                known = [
                    r for r in rows if kept_days > 4 or interval is not Interval.HOUR or r["started_at"] >= 3 * DAY
                ]
                table = await usage.table(EVERYTHING, dimensions, interval, 1000)
                assert told(table) == summed(known, dimensions, interval)
                assert _amounts(table.total) == amounts_of(rows)

    async def opened_once() -> Database:
        database = Database(database_url)
        await database.open()
        return database

    database = loop_of_its_own.run(opened_once())

    @settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(rows=some_rows, asked_for=questions)
    def holds(rows: list[dict[str, Any]], asked_for: Any) -> None:
        loop_of_its_own.run(check(rows, asked_for, database))

    try:
        holds()
    finally:
        loop_of_its_own.run(database.aclose())


async def _only(database: Database, rows: list[dict[str, Any]]) -> None:
    async with database.writing() as connection:
        await connection.execute(delete(generations))
        for table in (usage_daily, closed_days, closed_day_sums, closed_day_keys, closed_day_latencies):
            await connection.execute(delete(table))
        if rows:
            await connection.execute(insert(generations), rows)


async def test_sums_are_exact_beyond_every_number_of_one_row(database_url: str) -> None:
    """The price of many is more than a column holds, and still told to the last digit."""
    rows = [row(number, 1, price=10**16 + number) for number in range(2000)]
    async with opened(database_url) as database:
        await insert_rows(database, rows)
        table = await asked(database).table(EVERYTHING, [], Interval.NONE, 10)
    assert table.total.price == sum(each["price"] for each in rows) > 2**64


async def test_a_span_has_its_beginning_and_not_its_end(database_url: str) -> None:
    """Adjacent spans share nothing and miss nothing; a rolled-up day belongs to the span that has its midnight."""
    async with opened(database_url) as database:
        await insert_rows(database, [row(1, DAY), row(2, DAY + 5), row(3, 2 * DAY)])
        usage = asked(database)

        async def count(start: int, end: int) -> int:
            return (await usage.table(Span(start, end), [], Interval.NONE, 10)).total.generations

        assert [await count(0, DAY + 5), await count(DAY + 5, 3 * DAY)] == [1, 2]
        await Retention(database, 1).sweep(3 * DAY / 1000)
        assert [await count(0, DAY), await count(0, DAY + 5), await count(DAY + 5, 3 * DAY)] == [0, 2, 1]


async def test_filters_choose(database_url: str) -> None:
    """Each filter leaves what it names, alone and together with others."""
    async with opened(database_url) as database:
        await insert_rows(
            database,
            [row(1, 5), row(2, 5, model="other"), row(3, 5, key_id="key_x"), row(4, 5, outcome="error", backend="b2")],
        )
        usage = asked(database)

        async def count(**only: str) -> int:
            span = Span(0, 10, tuple((Dimension(name), value) for name, value in only.items()))
            return (await usage.table(span, [], Interval.NONE, 10)).total.generations

        assert await count() == 4
        assert await count(model="llama3") == 3
        assert await count(key="key_x") == 1
        assert await count(outcome="error", backend="b2") == 1
        assert await count(outcome="error", model="other") == 0


async def test_many_groups_are_cut_and_the_total_is_not(database_url: str) -> None:
    """The largest groups come first; what is cut off is told, and counts in the total."""
    async with opened(database_url) as database:
        await insert_rows(database, [row(n, 5, model=f"m{n}", prompt_tokens=n, completion_tokens=0) for n in range(30)])
        table = await asked(database).table(EVERYTHING, [Dimension.MODEL], Interval.NONE, 3)
        whole = await asked(database).table(EVERYTHING, [Dimension.MODEL], Interval.NONE, 30)
    assert [group.values[Dimension.MODEL] for group in table.groups] == ["m29", "m28", "m27"]
    assert (table.truncated, table.total.prompt_tokens) == (True, sum(range(30)))
    assert (whole.truncated, len(whole.groups), whole.total) == (False, 30, table.total)


async def test_hours_begin_where_days_end(database_url: str) -> None:
    """A series of hours says from when on it knows them; without rolled-up days that is the span's beginning."""
    async with opened(database_url) as database:
        await insert_rows(database, [row(1, DAY + 1), row(2, 3 * DAY + HOUR)])
        usage = asked(database)
        assert (await usage.table(Span(7, 9 * DAY), [], Interval.HOUR, 10)).hourly_from == 7
        await Retention(database, 1).sweep(3 * DAY / 1000)
        table = await usage.table(Span(7, 9 * DAY), [], Interval.HOUR, 10)
    assert table.hourly_from == 2 * DAY
    assert [(group.start, group.amounts.generations) for group in table.groups] == [(3 * DAY + HOUR, 1)]
    assert table.total.generations == 2


async def test_keys_have_names(database_url: str) -> None:
    """A stored key is told by its name, one of the settings by that in its id, one that is gone by its id."""
    key = {"id": "key_one", "name": "Team é", "owner": "", "scopes": [], "models": [], "limits": {}, "metadata": {}}
    async with opened(database_url) as database:
        async with database.writing() as connection:
            await connection.execute(insert(api_keys), [{**key, "enabled": True, "created_at": 1, "revision": 1}])
        ids = ["key_one", "key_gone", "settings:tester", "admin"]
        await insert_rows(database, [row(number, 5, key_id=key_id) for number, key_id in enumerate(ids)])
        usage = asked(database)
        table = await usage.table(EVERYTHING, [Dimension.KEY], Interval.NONE, 10)
        expected = {"key_one": "Team é", "key_gone": "key_gone", "settings:tester": "tester", "admin": "admin"}
        assert table.names == expected
        rows = [each for page in [page async for page in usage.pages(EVERYTHING)] for each in page]
    assert {each["key_id"]: each["name"] for each in rows} == expected


async def test_pages_have_every_row_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, oldest first, also where many rows began in one millisecond and more come meanwhile."""
    monkeypatch.setattr("mlops_backend.services.other.usage.service._PAGE", 7)
    rows = [row(number, number // 25) for number in range(100)]
    found: list[str] = []
    async with opened(database_url) as database:
        await insert_rows(database, rows)
        async for page in asked(database).pages(Span(0, 1000)):
            assert len(page) <= 7
            found += [each["id"] for each in page]
            if len(found) == 14:
                await insert_rows(database, [row(5000, 500)])
    assert found == [each["id"] for each in rows] + [f"{5000:032x}"]


async def test_used_counts_what_waits_and_what_is_old(database_url: str) -> None:
    """Tokens since a midnight: of rows, of rolled-up days, and of generations that nobody has written yet."""
    async with opened(database_url) as database:
        await insert_rows(
            database,
            [row(1, midnight(3)), row(2, midnight(3) - 1), row(3, midnight(0)), row(4, midnight(0), key_id="other")],
        )
        await Retention(database, 1).sweep(time())
        ledger = Ledger(database, PriceList({}), 100)
        usage = Usage(database, ledger, PriceList({}))
        yesterday = finished(1)
        yesterday.at = midnight(1) / 1000
        note(ledger, finished(2), finished(3, caller=None), finished(4, prompt_tokens=None), yesterday)
        since = datetime.fromtimestamp(midnight(3) / 1000, UTC)
        today = datetime.fromtimestamp(midnight(0) / 1000, UTC)
        assert await usage.used(TESTER.id, since) == 15 + 15 + 15 + 5 + 15
        assert await usage.used(TESTER.id, today) == 15 + 15 + 5
        assert await usage.used("nobody", since) == 0


async def test_used_knows_each_of_a_keys_people(database_url: str) -> None:
    """What is written and what waits, of that person and that key; sums of old days are nobody's."""
    people = ("alice", "bob", "")
    async with opened(database_url) as database:
        rows = [row(number, midnight(0), end_user=name) for number, name in enumerate((*people, "alice"))]
        others = [
            row(10, midnight(0), end_user="alice", key_id="other"),
            row(11, midnight(3)),
            row(12, midnight(3), end_user="bob"),
        ]
        await insert_rows(database, [*rows, *others])
        assert await Retention(database, 1).sweep(time()) == 1
        ledger = Ledger(database, PriceList({}), 100)
        usage = Usage(database, ledger, PriceList({}))
        note(ledger, *(finished(number, end_user=name) for number, name in enumerate(("bob", "bob", ""))))
        since = datetime.fromtimestamp(midnight(5) / 1000, UTC)
        used = {name: await usage.used(TESTER.for_end_user(name).id, since) for name in (*people, "nobody")}
        assert used == {"alice": 30, "bob": 45, "": 30, "nobody": 0}
        assert await usage.used(TESTER.id, since) == 15 * 9


async def test_used_counts_once_while_rows_are_written(database_url: str) -> None:
    """Asked at any moment of the writing, each generation counts once: it waits, or it is written."""
    since = datetime.fromtimestamp(midnight(1) / 1000, UTC)
    async with opened(database_url) as database, writing_to(database, capacity=9000) as ledger:
        usage = Usage(database, ledger, PriceList({}))
        for number in range(40):
            note(ledger, *(finished(number) for _ in range(100)))
            assert await usage.used(TESTER.id, since) == 1500 * (number + 1)
        await until_written(ledger, 4000)
        assert await usage.used(TESTER.id, since) == 60_000


async def test_a_generation_is_found_by_either_id(database_url: str) -> None:
    """By the row's id or the request's, written or waiting; of several with one request id the newest."""
    async with opened(database_url) as database:
        await insert_rows(database, [row(1, 10, request_id="same"), row(2, 30, request_id="same"), row(3, 20)])
        ledger = Ledger(database, PriceList({}), 100)
        usage = Usage(database, ledger, PriceList({}))
        assert (await usage.generation(f"{3:032x}", TESTER.id))["started_at"] == 20
        assert (await usage.generation("same", TESTER.id))["id"] == f"{2:032x}"
        assert (await usage.generation("same", None))["name"] == "tester"
        ledger.note(finished(9, id="same"), perf_counter())
        (waiting,) = ledger.unwritten()
        assert (await usage.generation("same", TESTER.id))["id"] == waiting.id
        assert (await usage.generation(waiting.id, None))["name"] == "tester"


@pytest.mark.parametrize("known_as", ["none", "", "a\0b", "\ud800", "x" * 5000, "request-1"])
async def test_what_is_not_ones_own_is_not_there(database_url: str, known_as: str) -> None:
    """Unknown ids, impossible ones and another key's are not found."""
    async with opened(database_url) as database:
        await insert_rows(database, [row(1, 10, key_id="other")])
        ledger = Ledger(database, PriceList({}), 100)
        note(ledger, finished(1, caller=None))
        with pytest.raises(NotFound):
            await Usage(database, ledger, PriceList({})).generation(known_as, TESTER.id)


async def test_however_many_ask_the_keys_and_the_ledger_find_a_connection(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions about usage take turns, and wait for a while only; what a budget needs to know waits for none."""
    monkeypatch.setattr(usage_module, "_PATIENCE", 0.1)
    async with opened(database_url) as database:
        usage = asked(database)
        held = asyncio.Event()

        async def slow(*_: object) -> Sequence[Any]:
            await held.wait()
            return []

        monkeypatch.setattr(usage, "_read", slow)
        pages = [asyncio.create_task(anext(usage.pages(EVERYTHING), None)) for _ in range(AT_ONCE)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await usage.generation("x", None)
        monkeypatch.undo()
        assert await usage.used("k", datetime.fromtimestamp(0, UTC)) == 0
        held.set()
        assert await asyncio.gather(*pages) == [None] * AT_ONCE
        with pytest.raises(NotFound):
            await usage.generation("x", None)
