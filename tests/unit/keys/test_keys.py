"""Keys in the database, on both kinds: made, listed, changed, rotated, revoked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from mlops_backend.errors import Conflict, InvalidBody, NotFound
from mlops_backend.schemas.keys import CreateKeyRequest, ListKeysQuery, UpdateKeyRequest
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import api_key_revision, api_key_secrets
from mlops_backend.services.other.keys import service as keys_module
from mlops_backend.services.other.keys.service import ApiKeys, canonical_pattern

NOW = 1_700_000_000.0


async def nobody_is_told(_: object) -> None:
    """Nothing follows the changes."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh one."""
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.aclose()


@pytest.fixture
def keys(database: Database) -> ApiKeys:
    """The keys in it, at a time that stands still."""
    return ApiKeys(database, nobody_is_told, lambda: NOW)


def asked(**fields: Any) -> CreateKeyRequest:
    """A key to make."""
    return CreateKeyRequest.model_validate({"name": "one", **fields})


async def secrets_of(database: Database, key_id: str) -> dict[bytes, int | None]:
    """The hashes of a key's secrets, and when each ends."""
    table = api_key_secrets.c
    async with database.reading() as connection:
        rows = await connection.execute(select(table.hash, table.expires_at).where(table.key_id == key_id))
        return {bytes(row.hash): row.expires_at for row in rows}


async def test_only_a_hash_of_the_secret_is_kept(keys: ApiKeys, database: Database) -> None:
    """A secret has 256 random bits; its SHA-256 is stored, and the id has nothing to do with it."""
    key, secret = await keys.create(asked())
    assert re.fullmatch(r"mlb_[A-Za-z0-9_-]{43}", secret)
    assert re.fullmatch(r"key_[a-z0-9]{12}", key.id)
    assert await secrets_of(database, key.id) == {sha256(secret.encode()).digest(): None}


async def test_a_key_is_as_it_was_asked_for(keys: ApiKeys) -> None:
    """Every field is stored as it was given; what was left out has its default."""
    plain, _ = await keys.create(asked())
    assert await keys.get(plain.id) == plain
    assert sorted(plain.scopes) == ["inference", "models:read", "usage:read"]
    assert (plain.owner, plain.models, plain.limits, plain.metadata, plain.enabled) == ("", [], {}, {}, True)
    assert (plain.priority, plain.weight, plain.end_user_limits) == ("interactive", 1, {})
    fields: dict[str, Any] = {
        "owner": "Zoë",
        "scopes": {"admin"},
        "models": ["LLAMA3", "library/qwen3:4b", "Qwen*"],
        "limits": {"requests": "60 / minute", "tokens_per_day": 7, "concurrent": None},
        "metadata": {"team": "é", "deep": [{"nul": "\0"}]},
        "priority": "batch",
        "weight": 0.1,
        "end_user_limits": {"requests": "5 / minute", "concurrent": None},
        "expires_at": "2033-01-01T00:00:00+02:00",
        "enabled": False,
    }
    full, _ = await keys.create(asked(**fields))
    assert await keys.get(full.id) == full
    assert full.models == ["llama3:latest", "qwen3:4b", "qwen*"]
    assert full.limits == {"requests": "60/minute", "tokens_per_day": 7, "concurrent": None}
    assert full.metadata == fields["metadata"]
    assert full.expires_at == datetime(2032, 12, 31, 22, tzinfo=UTC).timestamp() * 1000
    assert (full.owner, full.scopes, full.enabled) == ("Zoë", ["admin"], False)
    assert (full.priority, full.weight) == ("batch", 0.1)
    assert full.end_user_limits == {"requests": "5/minute", "concurrent": None}


async def test_lists_go_page_by_page(keys: ApiKeys) -> None:
    """All keys, oldest first, each once; revoked ones when asked for; by owner, and by a part of the name."""
    made = [(await keys.create(asked(name=f"key 10%_{n}", owner=f"owner {n % 2}")))[0].id for n in range(5)]
    await keys.revoke(made[0])

    async def pages(**fields: Any) -> list[list[str]]:
        found: list[list[str]] = []
        asked = ListKeysQuery(**fields)
        while not found or asked.after is not None:
            page, after = await keys.page(asked)
            found.append([key.id for key in page])
            asked = asked.model_copy(update={"after": after})
        return found

    async def listed(**fields: Any) -> list[str]:
        return sorted(key_id for page in await pages(**fields) for key_id in page)

    assert await listed(limit=2, revoked=True) == sorted(made)
    assert [len(page) for page in await pages(limit=2, revoked=True)] == [2, 2, 1]
    assert await listed(limit=4) == sorted(made[1:])
    assert await listed(owner="owner 1") == sorted([made[1], made[3]])
    assert await pages(name="KEY 10%_3") == [[made[3]]]
    assert await pages(name="key 10__3") == [[]]
    assert await pages(name="\0", owner="\0") == [[]]
    with pytest.raises(InvalidBody):
        await pages(after="key_unknown")


async def test_a_change_touches_what_it_names(keys: ApiKeys) -> None:
    """What is left out of an update stays; `null` takes the expiry away; lists and limits are replaced whole."""
    made, _ = await keys.create(asked(limits={"concurrent": 1, "tokens": "9/hour"}, expires_at="2040-01-01T00:00:00Z"))
    changes = {"limits": {"tokens": None}, "expires_at": None, "models": ["Phi3"]}
    changed = await keys.update(made.id, UpdateKeyRequest.model_validate(changes))
    assert changed == await keys.get(made.id)
    assert (changed.limits, changed.expires_at, changed.models) == ({"tokens": None}, None, ["phi3:latest"])
    assert (changed.name, changed.scopes, changed.created_at) == (made.name, sorted(made.scopes), made.created_at)
    turns = await keys.update(made.id, UpdateKeyRequest.model_validate({"priority": "batch", "weight": 100}))
    assert (turns.priority, turns.weight, turns.models) == ("batch", 100, changed.models)
    assert await keys.update(made.id, UpdateKeyRequest()) == replace(turns, revision=turns.revision + 1)


async def test_every_change_counts(keys: ApiKeys, database: Database) -> None:
    """The counter grows with each change, and the row has its value: nobody who polls it misses one."""
    (one, _), (two, _) = await keys.create(asked()), await keys.create(asked())
    assert (one.revision, two.revision) == (1, 2)
    await asyncio.gather(*(keys.update(one.id, UpdateKeyRequest(name=f"n{n}")) for n in range(8)))
    await keys.rotate(two.id)
    assert (await keys.get(one.id)).revision == 10
    assert (await keys.revoke(two.id)).revision == 12
    async with database.reading() as connection:
        assert (await connection.execute(select(api_key_revision.c.value))).scalar() == 12


async def test_rotation_leaves_two_secrets_at_the_most(keys: ApiKeys, database: Database) -> None:
    """The newest of the old secrets lasts as long as the overlap, an older one ends; without overlap both end."""
    key, first = await keys.create(asked())
    _, second = await keys.rotate(key.id, 60)
    ends = {sha256(first.encode()).digest(): int(NOW + 60) * 1000, sha256(second.encode()).digest(): None}
    assert await secrets_of(database, key.id) == ends
    _, third = await keys.rotate(key.id, 60)
    ends = {sha256(second.encode()).digest(): int(NOW + 60) * 1000, sha256(third.encode()).digest(): None}
    assert await secrets_of(database, key.id) == ends
    _, fourth = await keys.rotate(key.id)
    assert await secrets_of(database, key.id) == {sha256(fourth.encode()).digest(): None}


async def test_a_revoked_key_stays_to_be_seen(keys: ApiKeys, database: Database) -> None:
    """Its row is kept, its secrets are not; it can be revoked again, to no effect, and not be changed."""
    key, _ = await keys.create(asked())
    revoked = await keys.revoke(key.id)
    assert revoked.revoked_at == NOW * 1000
    assert revoked.state(NOW) == "revoked"
    assert await secrets_of(database, key.id) == {}
    assert await keys.revoke(key.id) == revoked == await keys.get(key.id)
    with pytest.raises(Conflict, match="revoked"):
        await keys.update(key.id, UpdateKeyRequest(enabled=True))
    with pytest.raises(Conflict, match="revoked"):
        await keys.rotate(key.id)


async def test_an_unknown_key_is_not_found(keys: ApiKeys) -> None:
    """Whatever is done with it."""
    for key_id in ("key_unknown", "\0", ""):
        for work in (
            keys.get(key_id),
            keys.update(key_id, UpdateKeyRequest()),
            keys.rotate(key_id),
            keys.revoke(key_id),
        ):
            with pytest.raises(NotFound):
                await work


async def test_there_is_a_most_of_keys(keys: ApiKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every worker holds all keys, so their number is bounded; revoked ones do not count."""
    monkeypatch.setattr(keys_module, "MAX_KEYS", 1)
    first, _ = await keys.create(asked())
    with pytest.raises(Conflict, match="1 keys"):
        await keys.create(asked())
    await keys.revoke(first.id)
    await keys.create(asked())


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("LLAMA3", "llama3:latest"),
        ("registry.ollama.ai/library/Llama3:8B", "llama3:8b"),
        ("llama3*", "llama3*"),
        ("Library/Qwen*", "qwen*"),
        ("hf.co/*", "hf.co/*"),
        ("llama3:*", "llama3:*"),
        ("llama?:latest", "llama?:latest"),
        ("*", "*"),
    ],
)
def test_patterns_have_the_spelling_of_names(pattern: str, kept: str) -> None:
    """A name becomes canonical; a pattern stays one."""
    assert canonical_pattern(pattern) == kept


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"name": ""}, ("name",)),
        ({"name": " a"}, ("name",)),
        ({"name": "a\nb"}, ("name",)),
        ({"name": "n" * 201}, ("name",)),
        ({"name": None}, ("name",)),
        ({"scopes": []}, ("scopes",)),
        ({"scopes": ["root"]}, ("scopes", 0)),
        ({"models": [""]}, ("models", 0)),
        ({"models": ["m"] * 257}, ("models",)),
        ({"limits": {"requests": "often"}}, ("limits", "requests")),
        ({"limits": {"requests": 60}}, ("limits", "requests")),
        ({"limits": {"concurrent": 0}}, ("limits", "concurrent")),
        ({"limits": {"tokens_per_day": "9"}}, ("limits", "tokens_per_day")),
        ({"limits": {"request": "60/minute"}}, ("limits", "request")),
        ({"priority": "urgent"}, ("priority",)),
        ({"priority": None}, ("priority",)),
        ({"weight": 0.09}, ("weight",)),
        ({"weight": 100.1}, ("weight",)),
        ({"weight": float("nan")}, ("weight",)),
        ({"weight": "3"}, ("weight",)),
        ({"weight": True}, ("weight",)),
        ({"metadata": {"a": "x" * 16384}}, ("metadata",)),
        ({"expires_at": "tomorrow"}, ("expires_at",)),
        ({"expires_at": "2040-01-01T00:00:00"}, ("expires_at",)),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, ("expires_at",)),
        ({"expires_at": 2e9}, ("expires_at",)),
        ({"enabled": 1}, ("enabled",)),
        ({"scope": ["admin"]}, ("scope",)),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], loc: tuple[Any, ...]) -> None:
    """A field that is unknown or cannot be read is named, in a new key as in a change."""
    for kind, known in ((CreateKeyRequest, {"name": "one"}), (UpdateKeyRequest, {})):
        with pytest.raises(ValidationError) as refused:
            kind.model_validate({**known, **fields})
        assert refused.value.errors()[0]["loc"] == loc


async def test_an_expiry_that_is_past_is_refused(keys: ApiKeys) -> None:
    """A mistyped year would make a key that never works."""
    with pytest.raises(InvalidBody) as refused:
        await keys.create(asked(expires_at="2023-01-01T00:00:00Z"))
    assert refused.value.details[0]["loc"] == ["expires_at"]
