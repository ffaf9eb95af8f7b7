"""The keys that a worker holds: what it knows, how it learns of changes, and what it says when it cannot know."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from secrets import token_urlsafe
from time import perf_counter
from typing import Any, Final

import pytest
from sqlalchemy import RowMapping, insert, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from mlops_backend.errors import DatabaseDown
from mlops_backend.principal import Limits, Principal, Priority, Rate, Scope
from mlops_backend.schemas.keys import CreateKeyRequest, UpdateKeyRequest
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import api_key_revision, api_key_secrets, api_keys
from mlops_backend.services.other.keys.cache import FRESH, TRUST, KeyCache
from mlops_backend.services.other.keys.rows import written
from mlops_backend.services.other.keys.secrets import hash_of
from mlops_backend.services.other.keys.service import ApiKeys
from mlops_backend.services.other.keys.stores import ADMINISTRATOR, KeyStores, SettingsKeyStore

DEFAULTS = Limits(requests=Rate(60, 60, 60), concurrent=4)
WRONG: Final = {
    "limits": "[1]",
    "end_user_limits": '{"requets": 1}',
    "scopes": "{",
    "models": "5",
    "priority": "urgent",
    "weight": "heavy",
}
UNKNOWN = b"mlb_" + b"A" * 43


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


class Switched(Database):
    """A database that can be away, and counts how often it is read."""

    away = False
    asked = 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """As a database's own, or away."""
        self.asked += 1
        if self.away:
            raise DatabaseDown("away")
        async with super().reading() as connection:
            yield connection


class World:
    """One database, the keys in it, and two workers' copies, which look for changes when told to."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.database = Switched(url)
        self.cache = KeyCache(self.database, DEFAULTS, self.clock, self.clock)
        self.keys = ApiKeys(self.database, self.look, self.clock)

    async def look(self, _: Sequence[RowMapping] = ()) -> None:
        """Ask the database for changes, as happens twice a second."""
        await self.cache._try_to_refresh()

    async def make(self, **fields: Any) -> tuple[str, bytes]:
        """A new key's id and secret."""
        key, secret = await self.keys.create(CreateKeyRequest.model_validate({"name": "one", **fields}))
        return key.id, secret.encode()

    async def change(self, key_id: str, **fields: Any) -> None:
        """Change a key."""
        await self.keys.update(key_id, UpdateKeyRequest.model_validate(fields))


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """On a fresh database; nothing is looked up before the test does so."""
    made = World(database_url)
    await made.database.open()
    yield made
    await made.database.aclose()


async def test_a_key_is_found_with_what_it_may(world: World) -> None:
    """Its scopes and models, its own limits, and the service's where it has none; a key of another shape is unknown."""
    key_id, secret = await world.make(
        scopes=["inference"], models=["Llama3"], limits={"requests": None, "tokens": "9/hour"}
    )
    limits = Limits(None, Rate(9, 3600, 9), None, None, 4)
    wanted = Principal("one", key_id, frozenset({Scope.INFERENCE}), ("llama3:latest",), limits)
    assert world.cache.find(secret) == wanted
    for wrong in (UNKNOWN, secret[:-1], secret + b"A", secret.lower(), secret[4:], b"", b"mlb_"):
        assert world.cache.find(wrong) is None


async def test_what_this_process_writes_it_knows_though_it_cannot_read(world: World) -> None:
    """A key made, rotated, disabled or revoked here is so from its write on; what is read later changes nothing."""
    keys = ApiKeys(world.database, world.cache.changed, world.clock)
    await world.cache.open()
    world.database.away = True
    key, text_of_key = await keys.create(CreateKeyRequest(name="new"))
    secret = text_of_key.encode()
    assert world.cache.find(secret) is not None
    rotated = (await keys.rotate(key.id))[1].encode()
    assert world.cache.find(secret) is None
    assert world.cache.find(rotated) is not None
    await keys.update(key.id, UpdateKeyRequest(enabled=False))
    assert world.cache.find(rotated) is None
    await keys.update(key.id, UpdateKeyRequest(enabled=True, name="newer"))
    for away in (True, False):
        world.database.away = away
        await world.look()
        found = world.cache.find(rotated)
        assert found is not None
        assert found.name == "newer"
    world.database.away = True
    await keys.revoke(key.id)
    assert world.cache.find(rotated) is None
    await world.cache.aclose()


async def test_a_write_does_not_undo_what_was_read(world: World) -> None:
    """A newer state of the key, which another process wrote and this one has read, is not replaced by an older one."""
    await world.cache.open()
    key_id, secret = await world.make()
    async with world.database.reading() as connection:
        older = await written(connection, key_id)
    await world.change(key_id, name="newer")
    await world.cache.changed(older)
    found = world.cache.find(secret)
    assert found is not None
    assert found.name == "newer"
    await world.cache.aclose()


async def test_each_change_is_taken_over(world: World) -> None:
    """Another worker's copy knows of a new, changed, disabled, enabled, rotated and revoked key when it looks."""
    other = KeyCache(world.database, DEFAULTS, world.clock, world.clock)
    await other._refresh()
    key_id, secret = await world.make()
    assert other.find(secret) is None
    await other._refresh()
    assert other.find(secret) is not None
    await world.change(key_id, name="two", scopes=["admin"])
    await other._refresh()
    found = other.find(secret)
    assert found is not None
    assert (found.name, found.admin) == ("two", True)
    await world.change(key_id, enabled=False)
    await other._refresh()
    assert other.find(secret) is None
    await world.change(key_id, enabled=True)
    _, renewed = await world.keys.rotate(key_id)
    await other._refresh()
    assert other.find(secret) is None
    assert other.find(renewed.encode()) is not None
    await world.keys.revoke(key_id)
    await other._refresh()
    assert other.find(renewed.encode()) is None


async def test_time_ends_keys_and_overlaps(world: World) -> None:
    """A key ends when it expires, an old secret with its overlap, without anybody looking."""
    key_id, first = await world.make()
    second = (await world.keys.rotate(key_id, 1))[1].encode()
    assert world.cache.find(first) == world.cache.find(second) is not None
    world.clock.now += 1
    assert world.cache.find(first) is None
    assert world.cache.find(second) is not None
    await world.change(key_id, expires_at="2023-11-14T22:13:22Z")
    assert world.cache.expiry(key_id) == world.clock.now + 1
    assert world.cache.find(second) is not None
    world.clock.now += 1
    assert world.cache.find(second) is None


async def test_a_known_key_is_believed_for_a_while(world: World) -> None:
    """While the database is away a known key works for five minutes, and then is 503; a strange one may be new: 503."""
    _, secret = await world.make()
    world.database.away = True
    world.clock.now += FRESH
    assert world.cache.find(UNKNOWN) is None
    world.clock.now += TRUST - FRESH
    await world.look()
    assert world.cache.find(secret) is not None
    with pytest.raises(DatabaseDown):
        world.cache.find(UNKNOWN)
    assert world.cache.find(b"not one of ours") is None
    world.clock.now += 0.1
    with pytest.raises(DatabaseDown):
        world.cache.find(secret)
    world.database.away = False
    await world.look()
    assert world.cache.find(secret) is not None
    assert world.cache.find(UNKNOWN) is None


async def test_before_anything_was_read_nobody_can_say(world: World) -> None:
    """A key of the database's shape is 503 then, never 401; the keys of the environment work all the same."""
    store = KeyStores(SettingsKeyStore("admin-key", {"alice": "mlb_alice"}), world.cache)
    with pytest.raises(DatabaseDown):
        store.find(UNKNOWN)
    assert store.find(b"admin-key") == ADMINISTRATOR
    assert store.find(b"mlb_alice") == Principal("alice", "settings:alice")
    assert store.find(b"wrong") is None


async def test_trouble_is_told_once(world: World) -> None:
    """One line when the database goes, one when it is back."""
    with capture_logs() as logged:
        for away in (False, True, True, True, False, False):
            world.database.away = away
            await world.look()
    assert [line["log_level"] for line in logged] == ["error", "info"]


async def test_a_request_never_asks_the_database(world: World) -> None:
    """Whatever keys come, known or random, nothing is read; a look costs the same after thousands of them."""
    _, secret = await world.make()
    before = world.database.asked
    for _ in range(1000):
        world.cache.find(b"mlb_" + token_urlsafe(32).encode())
        world.cache.find(secret)
    assert world.database.asked == before


async def test_an_older_database_is_read_anew(world: World) -> None:
    """A backup that was put back has keys that were revoked since, and lacks newer ones."""
    key_id, secret = await world.make()
    await world.change(key_id, enabled=False)
    assert world.cache.find(secret) is None
    async with world.database.writing() as connection:
        await connection.execute(update(api_key_revision).values(value=1))
        await connection.execute(update(api_keys).values(enabled=True, revision=1))
    await world.look()
    assert world.cache.find(secret) is not None


async def test_a_key_that_cannot_be_read_harms_no_other(world: World) -> None:
    """What a newer version wrote is told in the log, and left alone."""
    first, secret = await world.make()
    _, good = await world.make()
    async with world.database.writing() as connection:
        await connection.execute(update(api_key_revision).values(value=9))
        bad = update(api_keys).where(api_keys.c.id == first).values(scopes=["from the future"], revision=9)
        await connection.execute(bad)
    with capture_logs() as logged:
        await world.look()
    assert world.cache.find(secret) is None
    assert world.cache.find(good) is not None
    assert [line.get("key_id") for line in logged] == [first]


@pytest.mark.parametrize(("column", "wrong"), WRONG.items())
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_a_person_wrote_wrongly_ends_no_following(world: World, column: str, wrong: str) -> None:
    """Even text that is no JSON: changes are followed again once it is right."""
    key_id, secret = await world.make()
    spoil = text(f"UPDATE api_keys SET {column} = :wrong, revision = 9")
    async with world.database.writing() as connection:
        right = (await connection.execute(text(f"SELECT {column} FROM api_keys"))).scalar()
        await connection.execute(update(api_key_revision).values(value=9))
        await connection.execute(spoil, {"wrong": wrong})
    await world.look()
    async with world.database.writing() as connection:
        await connection.execute(spoil, {"wrong": right})
        await connection.execute(text("UPDATE api_keys SET revision = 10"))
        await connection.execute(update(api_key_revision).values(value=10))
    await world.look()
    assert getattr(world.cache.find(secret), "id", None) == key_id


@pytest.mark.parametrize("weight", [0, -1, 0.05, 101, float("inf")])
async def test_a_weight_that_none_may_have_is_not_taken(world: World, weight: float) -> None:
    """The queue divides by it."""
    key_id, secret = await world.make()
    async with world.database.writing() as connection:
        await connection.execute(update(api_key_revision).values(value=9))
        await connection.execute(update(api_keys).values(weight=weight, revision=9))
    with capture_logs() as logged:
        await world.look()
    assert world.cache.find(secret) is None
    assert [line.get("key_id") for line in logged] == [key_id]


async def test_an_owner_is_known_as_it_is_now(world: World) -> None:
    """One of a key that was changed, disabled or whose secrets are over; the settings' own never change."""
    key_id, secret = await world.make()
    then = world.cache.find(secret)
    assert then is not None
    assert world.cache.current(then) == then
    await world.change(key_id, scopes=["usage:read"])
    now = world.cache.current(then)
    assert now is not None
    assert now.scopes == {Scope.USAGE_READ}
    assert (now.priority, now.weight) == (Priority.INTERACTIVE, 1)
    await world.change(key_id, priority="batch", weight=3)
    now = world.cache.current(then)
    assert now is not None
    assert (now.priority, now.weight) == (Priority.BATCH, 3)
    await world.change(key_id, expires_at=datetime.fromtimestamp(world.clock.now + 5, UTC).isoformat())
    world.clock.now += 5
    await world.look()
    assert world.cache.current(then) is None
    _, secret = await world.make()
    then = world.cache.find(secret)
    assert then is not None
    await world.keys.revoke(then.id)
    assert world.cache.current(then) is None
    assert world.cache.current(ADMINISTRATOR) == ADMINISTRATOR
    world.clock.now += TRUST + 1
    with pytest.raises(DatabaseDown):
        world.cache.current(then)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_thousands_of_keys_are_found_at_once(world: World) -> None:
    """Among 20,000 keys a look, the hash included, takes less than 20 µs at the median."""
    template: dict[str, Any] = {"name": "n", "owner": "", "scopes": ["inference"], "models": [], "limits": {}}
    secrets = [b"mlb_%043d" % n for n in range(20_000)]
    rows = [
        {**template, "id": f"key_{n}", "metadata": {}, "enabled": True, "created_at": 1, "revision": 1}
        for n in range(len(secrets))
    ]
    hashes = [{"hash": hash_of(secret), "key_id": f"key_{n}", "created_at": 1} for n, secret in enumerate(secrets)]
    async with world.database.writing() as connection:
        await connection.execute(update(api_key_revision).values(value=1))
        await connection.execute(insert(api_keys), rows)
        await connection.execute(insert(api_key_secrets), hashes)
    await world.look()
    took = []
    for secret in secrets[::10]:
        start = perf_counter()
        found = world.cache.find(secret)
        took.append(perf_counter() - start)
        assert found is not None
    assert statistics.median(took) < 20e-6
