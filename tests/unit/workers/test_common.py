"""What several workers of one service have in common: none of them can be told from another by what it knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from mlops_backend.principal import Limits, Principal, Rate, Scope
from mlops_backend.schemas.keys import CreateKeyRequest, UpdateKeyRequest
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.keys.cache import KeyCache
from mlops_backend.services.other.keys.news import KeyNews
from mlops_backend.services.other.keys.service import ApiKeys
from mlops_backend.services.other.limits.parent_failed_keys import WorkersFailedKeys
from mlops_backend.services.other.limits.parent_limiter import ParentLimiter
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.others import OtherLedgers
from mlops_backend.services.other.usage.prices import PriceList
from mlops_backend.services.other.usage.service import Usage
from tests.fakes.family import Family
from tests.fakes.limits import Ledger as FakeLedger
from tests.fakes.limits import key
from tests.ledger_rows import TESTER, finished, note, opened
from tests.settings import settings_for

ALICE = Principal("alice", "mlb_1", frozenset({Scope.INFERENCE}), ("llama3:*",), Limits(requests=Rate(60, 60, 6)))


@pytest.fixture
async def family() -> AsyncIterator[Family]:
    """A parent and two workers, which speak."""
    made = Family(settings_for(auth_failure_limit="60/minute burst 3", body_memory_per_key=1, max_body_bytes=300_000))
    await made.open()
    yield made
    async with asyncio.timeout(20):
        await made.aclose()


async def test_failed_keys_are_counted_together(family: Family) -> None:
    """Three failures block an address, whichever workers they come to, and all know it when the third is answered."""
    first, second = (WorkersFailedKeys(shared, Rate.parse("60/minute burst 3")) for shared in family.workers)
    assert [await worker.count("192.0.2.1") for worker in (first, second, second)] == [None] * 3
    for worker in (first, second):
        wait = worker.blocked("192.0.2.1")
        assert wait is not None
        assert 0 < wait <= 1
        assert 0 < (await worker.count("192.0.2.1") or 0) <= 1
        assert worker.blocked("192.0.2.2") is None


async def test_a_failed_key_is_answered_though_a_worker_does_not_hear(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs does not hold up the other's answers for longer than a moment."""
    monkeypatch.setattr("mlops_backend.workers.common._WITHIN", 0.05)
    worker = WorkersFailedKeys(family.workers[0], Rate.parse("60/minute burst 3"))
    family.channels[1]._transport.pause_reading()
    for _ in range(3):
        assert await worker.count("192.0.2.1") is None
    family.channels[1]._transport.resume_reading()


class Worker:
    """One worker's copy of the keys, and its way to change them."""

    def __init__(self, database: Database, family: Family, index: int) -> None:
        self.cache = KeyCache(database, Limits())
        self.news = KeyNews(self.cache, family.workers[index])
        self.keys = ApiKeys(database, self.news.changed)


async def test_a_change_of_a_key_holds_in_all_workers_when_it_is_answered(
    family: Family, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key made, changed, rotated, disabled or revoked through one is so in the other, which has not looked since."""
    monkeypatch.setattr("mlops_backend.services.other.keys.cache.POLL", 3600)
    async with opened(database_url) as database:
        first, second = (Worker(database, family, index) for index in range(2))
        for worker in (first, second):
            await worker.cache.open()
        made, secret = await first.keys.create(CreateKeyRequest(name="one"))
        assert getattr(second.cache.find(secret.encode()), "name", None) == "one"
        await second.keys.update(made.id, UpdateKeyRequest(name="two"))
        assert getattr(first.cache.find(secret.encode()), "name", None) == "two"
        _, newer = await second.keys.rotate(made.id, 60)
        assert [first.cache.find(each.encode()) is not None for each in (secret, newer)] == [True, True]
        _, newest = await first.keys.rotate(made.id)
        assert [second.cache.find(each.encode()) is not None for each in (secret, newer, newest)] == [
            False,
            False,
            True,
        ]
        await first.keys.update(made.id, UpdateKeyRequest(enabled=False))
        assert second.cache.find(newest.encode()) is None
        await second.keys.update(made.id, UpdateKeyRequest(enabled=True))
        assert first.cache.find(newest.encode()) is not None
        await first.keys.revoke(made.id)
        assert second.cache.find(newest.encode()) is None
        for worker in (first, second):
            await worker.cache.aclose()


async def test_news_that_come_late_undo_nothing(family: Family, database_url: str) -> None:
    """Of two changes the later holds, in whatever order they are heard, though the database was not read between."""
    async with opened(database_url) as database:
        first, second = (Worker(database, family, index) for index in range(2))
        told: list[list[dict[str, Any]]] = []

        async def note_only(rows: Any) -> None:
            told.append([dict(row) for row in rows])

        keys = ApiKeys(database, note_only)
        await second.cache.open()
        made, secret = await keys.create(CreateKeyRequest(name="one"))
        await keys.update(made.id, UpdateKeyRequest(enabled=False))
        for rows in reversed(told):
            second.cache.told(rows)
        assert second.cache.find(secret.encode()) is None
        first.cache.told(told[0])  # it follows nothing, and holds nothing
        assert first.cache._keys == {}
        await second.cache._try_to_refresh()
        assert second.cache.find(secret.encode()) is None
        assert second.cache._ahead == {}
        await second.cache.aclose()


async def test_a_key_is_made_though_another_worker_does_not_hear(
    family: Family, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that fails at it reads it a little later; the maker is answered."""
    monkeypatch.setattr("mlops_backend.workers.common._WITHIN", 0.05)
    async with opened(database_url) as database:
        first = Worker(database, family, 0)
        await first.cache.open()
        family.channels[1]._transport.pause_reading()
        _, secret = await first.keys.create(CreateKeyRequest(name="one"))
        assert first.cache.find(secret.encode()) is not None
        family.channels[0].leave("the parent has gone")
        await first.keys.create(CreateKeyRequest(name="two"))
        await first.cache.aclose()


async def test_usage_has_what_another_worker_has_not_written_yet(
    family: Family, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks has it written first, and does not wait for the half second in which rows are gathered."""
    monkeypatch.setattr("mlops_backend.services.other.usage.ledger.INTERVAL", 3600)
    async with opened(database_url) as database:
        ledgers = [Ledger(database, PriceList({}), 100) for _ in range(2)]
        others = [OtherLedgers(ledger, shared) for ledger, shared in zip(ledgers, family.workers, strict=True)]
        usage = Usage(database, ledgers[0], PriceList({}), others[0].wrote)
        for ledger in ledgers:
            await ledger.open()
        note(ledgers[1], finished(7))
        async with asyncio.timeout(30):
            assert (await usage.generation("request-7", TESTER.id))["prompt_tokens"] == 10
        family.channels[0].leave("the parent has gone")
        assert (await usage.generation("request-7", TESTER.id))["prompt_tokens"] == 10
        for ledger in ledgers:
            await ledger.aclose()


async def test_the_ledger_is_asked_once_for_a_counter_of_all(family: Family) -> None:
    """However many workers want it at once; a worker that cannot be asked is passed over."""
    ledgers = [FakeLedger(), FakeLedger()]
    limiters = [
        ParentLimiter(shared, ledger, default_reserve=10)
        for shared, ledger in zip(family.workers, ledgers, strict=True)
    ]
    for shared in family.workers:
        shared.hears.on("ledger.write", lambda parent, what: None)
    tester = key(tokens_per_day=100)
    await asyncio.gather(*(limiter.reserve(tester, 5, 5) for limiter in limiters for _ in range(3)))
    assert len(ledgers[0].asked) + len(ledgers[1].asked) == 1
    family.channels[0].handlers.on("limits.used", None)  # type: ignore[arg-type]
    with capture_logs():
        await limiters[1].reserve(key(tokens_per_month=1000), 5, 5)
    assert len(ledgers[1].asked) == 1
