"""The ledger: every generation becomes one row, whatever its texts, and whatever the database does."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from time import perf_counter, time
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from mlops_backend.principal import Price
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.prices import PriceList
from tests.ledger_rows import finished, note, opened, stored, until_written, writing_to


@pytest.fixture(autouse=True)
def _sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test waits for comes ten times as fast."""
    monkeypatch.setattr("mlops_backend.services.other.usage.ledger.INTERVAL", 0.05)
    monkeypatch.setattr("mlops_backend.services.other.usage.ledger._RETRY_AFTER", 0.1)


async def test_a_row_says_what_is_known(database_url: str) -> None:
    """Each column has what the record knew; times are milliseconds, the price is billionths."""
    prices = PriceList({"llama3:*": Price(Decimal(1), Decimal(2))})
    now = perf_counter()
    record = finished(7, route="/v1/messages", status=499, outcome="client_gone", error="gone", estimated=True)
    record.requested_model, record.passed_over = "fast", ("http://one:11434", "http://two:11434")
    record.name_end_user("alice@example.org")
    record.started, record.first_byte, record.bytes_in, record.bytes_out = now - 2.5, now - 2.0, 12, 345
    async with opened(database_url) as database, writing_to(database, prices=prices) as ledger:
        ledger.note(record, now)
        await until_written(ledger, 1)
        (row,) = await stored(database)
    row_id = row.pop("id")
    assert len(row_id) == 32
    assert int(row_id[:12], 16) == row["started_at"] == int(record.at * 1000)
    assert abs(row.pop("started_at") - time() * 1000) < 10_000
    assert row == {
        "request_id": "request-7",
        "key_id": "settings:tester",
        "route": "/v1/messages",
        "dialect": "anthropic",
        "model": "llama3",
        "backend": "http://ollama:11434",
        "outcome": "client_gone",
        "status": 499,
        "error": "gone",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "estimated": True,
        "first_byte_ms": 500,
        "total_ms": 2500,
        "bytes_in": 12,
        "bytes_out": 345,
        "price": 20_000,
        "requested_model": "fast",
        "passed_over": "http://one:11434,http://two:11434",
        "streamed": False,
        "cached": False,
        "end_user": "alice@example.org",
    }


async def test_what_nobody_told_is_nothing(database_url: str) -> None:
    """A generation without counts has 0 tokens, one without a caller is nobody's."""
    record = finished(caller=None, prompt_tokens=None, completion_tokens=None, status=503, outcome="error")
    async with opened(database_url) as database, writing_to(database) as ledger:
        note(ledger, record)
        await until_written(ledger, 1)
        (row,) = await stored(database)
    told = {name: row[name] for name in ("key_id", "prompt_tokens", "completion_tokens", "first_byte_ms", "price")}
    assert told == {
        "key_id": "anonymous",
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "first_byte_ms": None,
        "price": 0,
    }


async def test_who_hears_of_a_row_cannot_lose_it(database_url: str) -> None:
    """Whatever fails there, the row is written, and nothing is said to be lost."""

    def fail(_: object) -> None:
        raise ValueError("nobody listens")

    async with opened(database_url) as database, writing_to(database) as ledger:
        ledger.heard = fail
        with capture_logs() as logs:
            note(ledger, finished(1))
            await until_written(ledger, 1)
        assert [line for line in logs if "recorded" in line["event"]] == []
        assert len(await stored(database)) == 1


async def test_rows_with_one_request_id_are_all_kept(database_url: str) -> None:
    """A client may send the same request id over and over: each generation has a row, with an id of its own."""
    async with opened(database_url) as database, writing_to(database) as ledger:
        note(ledger, *(finished(1) for _ in range(50)))
        await until_written(ledger, 50)
        rows = await stored(database)
    assert len({row["id"] for row in rows}) == 50
    assert {row["request_id"] for row in rows} == {"request-1"}


async def test_poisonous_texts_and_numbers_are_written(database_url: str) -> None:
    """NUL, lone surrogates, long texts and nonsensical counts get into their columns all the same."""
    texts = ["a\0b", "\ud800", "é" * 5000, "\U0001f600" * 5000, "'; DROP TABLE generations; --"]
    records = [finished(i, id=t, model=t, backend=t, error=t, route=t, outcome=t) for i, t in enumerate(texts)]
    records.append(finished(prompt_tokens=10**30, completion_tokens=-5, status=10**9, bytes_in=10**40))
    records[-1].first_byte = records[-1].started + 10**12
    records[-1].requested_model, records[-1].passed_over = "\0" * 5000, ("http://é:1\ud800",) * 5000
    async with opened(database_url) as database, writing_to(database) as ledger:
        note(ledger, *records)
        await until_written(ledger, len(records))
        rows = await stored(database)
    assert len(rows) == len(records)
    assert {row["model"] for row in rows} >= {"a�b", "?", "'; DROP TABLE generations; --", "é" * 512}
    assert {row["outcome"] for row in rows} >= {"é" * 8, "\U0001f600" * 4}
    assert {(row["prompt_tokens"], row["completion_tokens"]) for row in rows} == {(10, 5), (10**12, 0)}
    assert {len(row["requested_model"].encode()) for row in rows} == {0, 1023}
    assert {len(row["passed_over"].encode()) for row in rows} == {0, 2048}


@pytest.mark.parametrize("position", [0, 3, 6])
async def test_a_row_that_cannot_be_written_keeps_no_other_back(database_url: str, position: int) -> None:
    """The database refuses one row of a batch: that one is counted as dropped, and all others are there."""
    records = [finished(number) for number in range(7)]
    records[position].model = "poison"
    async with opened(database_url) as database:
        async with database.writing() as connection:
            await connection.execute(text("CREATE UNIQUE INDEX once ON generations (model) WHERE model = 'poison'"))
        async with writing_to(database) as ledger:
            note(ledger, finished(100, model="poison"))
            await until_written(ledger, 1)
            note(ledger, *records)
            await until_written(ledger, 7)
            async with asyncio.timeout(20):
                while ledger.waiting:
                    await asyncio.sleep(0.01)
            assert (ledger.written, ledger.dropped, ledger.waiting) == (7, 1, 0)
        rows = await stored(database)
    assert {row["request_id"] for row in rows} == {f"request-{n}" for n in [100, *range(7)] if n != position}


async def test_a_record_that_makes_no_row_is_counted(database_url: str) -> None:
    """Whatever is wrong with a record, its request does not hear of it."""
    async with opened(database_url) as database, writing_to(database) as ledger:
        note(ledger, finished(prompt_tokens="many"))
        assert (ledger.waiting, ledger.dropped) == (0, 1)


async def test_a_lost_commit_does_not_double(database_url: str) -> None:
    """A batch whose commit was not heard of is written again, and every row is there once."""
    async with opened(database_url) as database:
        ledger = _Deaf(database)
        await ledger.open()
        note(ledger, *(finished(number) for number in range(20)))
        await until_written(ledger, 20)
        await ledger.aclose()
        rows = await stored(database)
    assert ledger.deaf == 1
    assert sorted(row["request_id"] for row in rows) == sorted(f"request-{number}" for number in range(20))


class _Deaf(Ledger):
    """A ledger that does not hear of its first commit."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, PriceList({}), 1000)
        self.deaf = 0

    async def _insert(self, rows: list[dict[str, object]]) -> None:
        await super()._insert(rows)
        if not self.deaf:
            self.deaf = 1
            raise ConnectionResetError


async def test_closing_writes_what_waits(database_url: str) -> None:
    """Rows that came a moment before the end are there after it."""
    async with opened(database_url) as database:
        async with writing_to(database, capacity=5000) as ledger:
            note(ledger, *(finished(number) for number in range(3000)))
        assert (ledger.written, ledger.waiting, ledger.dropped) == (3000, 0, 0)
        assert len(await stored(database)) == 3000


async def test_what_cannot_be_written_at_the_end_is_told() -> None:
    """A database that never comes ends the closing after its time; the log says how many rows are lost."""
    ledger = Ledger(Database("sqlite+aiosqlite:///never-opened.db"), PriceList({}), 1000)
    await ledger.open()
    note(ledger, *(finished(number) for number in range(3)))
    with capture_logs() as logs, pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlops_backend.services.other.usage.ledger._CLOSING_TIME", 0.3)
        await ledger.aclose()
    assert [line["lost"] for line in logs if line["log_level"] == "error"] == [3]
    assert (ledger.waiting, ledger.dropped) == (0, 3)
    note(ledger, finished(4))
    assert (ledger.waiting, ledger.dropped) == (0, 4), "nobody would write it any more"


async def test_memory_has_a_bound() -> None:
    """What comes while the buffer is full is dropped and counted; what came before stays; the log tells it once."""
    ledger = Ledger(Database("sqlite+aiosqlite:///never-opened.db"), PriceList({}), 100)
    with capture_logs() as logs:
        note(ledger, *(finished(number) for number in range(250)))
    assert (ledger.waiting, ledger.dropped) == (100, 150)
    assert [row.request_id for row in ledger.unwritten()] == [f"request-{number}" for number in range(100)]
    assert len(logs) == 1


def _is_asyncpgs(timer: asyncio.TimerHandle) -> bool:
    """Whether it is of asyncpg's cache of statements; what a timer prints names its module on some Pythons only."""
    return "asyncpg" in repr(timer) or "_StatementCache" in repr(timer)


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.TimerHandle]:
    """Every timer that is set from now on."""
    loop = asyncio.get_running_loop()
    kept: list[asyncio.TimerHandle] = []

    def keeping(real: Any) -> Any:
        def keep(*arguments: Any, **context: Any) -> asyncio.TimerHandle:
            kept.append(real(*arguments, **context))
            return kept[-1]

        return keep

    for name in ("call_at", "call_later"):
        monkeypatch.setattr(loop, name, keeping(getattr(loop, name)))
    return kept


async def test_nothing_happens_while_idle(database_url: str, timers: list[asyncio.TimerHandle]) -> None:
    """A ledger with nothing to write neither wakes nor asks the database."""
    async with opened(database_url) as database, writing_to(database) as ledger:
        note(ledger, finished())
        await until_written(ledger, 1)
        await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        left = [timer for timer in timers if timer.when() > now and not timer.cancelled()]
        assert not [timer for timer in left if not _is_asyncpgs(timer)]


async def test_a_thousand_rows_do_not_wait(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many rows are written at once, however long few of them would wait."""
    monkeypatch.setattr("mlops_backend.services.other.usage.ledger.INTERVAL", 60)
    async with opened(database_url) as database, writing_to(database, capacity=5000) as ledger:
        note(ledger, *(finished(number) for number in range(1000)))
        await until_written(ledger, 1000)


async def test_who_wants_all_written_comes_back_when_it_is(database_url: str) -> None:
    """And no later: the most that it may take is for a database that is away."""
    async with opened(database_url) as database, writing_to(database) as ledger:
        note(ledger, *map(finished, range(3)))
        async with asyncio.timeout(30):
            await ledger.write_now(60)
        assert len(await stored(database)) == 3
