"""The rows of keys: reading and writing them inside somebody's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import time
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, delete, func, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.errors import Conflict, NotFound
from mlops_backend.services.other.database import api_key_revision, api_key_secrets, api_keys
from mlops_backend.services.other.keys.secrets import hash_of


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the database has it; times are milliseconds since the epoch."""

    id: str
    name: str
    owner: str
    scopes: Sequence[str]
    models: Sequence[str]
    limits: Mapping[str, Any]
    end_user_limits: Mapping[str, Any]
    priority: str
    weight: float
    cache: bool
    metadata: Mapping[str, Any]
    enabled: bool
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    revision: int

    def shown(self) -> dict[str, Any]:
        """As people see it: times in RFC 3339, and in one word whether it works."""
        times = {name: _written(getattr(self, name)) for name in ("created_at", "expires_at", "revoked_at")}
        shown = {**asdict(self), "state": self.state(time()), **times}
        del shown["revision"]
        return shown

    def state(self, now: float) -> str:
        """Whether it works at `now`, in seconds since the epoch."""
        if self.revoked_at is not None:
            return "revoked"
        if not self.enabled:
            return "disabled"
        return "expired" if self.expires_at is not None and self.expires_at <= now * 1000 else "active"


def _written(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def storable(text: str) -> str:
    """A text to look for: PostgreSQL takes no NUL, and no stored text has one."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def name_holds(text: str) -> ColumnElement[bool]:
    """Whether a name holds `text`, without regard to case as far as the database knows it."""
    name = api_keys.c.name
    escaped = "".join("\\" + mark if mark in "\\%_" else mark for mark in storable(text))
    pattern = f"%{escaped}%"
    return or_(name.like(pattern, escape="\\"), func.lower(name).like(func.lower(pattern), escape="\\"))


async def next_revision(connection: AsyncConnection) -> int:
    """Count a change; whoever changes at the same time waits here."""
    counter = api_key_revision.c.value
    await connection.execute(update(api_key_revision).values(value=counter + 1))
    return int((await connection.execute(select(counter))).scalar_one())


async def read(connection: AsyncConnection, key_id: str) -> ApiKey:
    """One key.

    Raises:
        NotFound: there is none of that id.
    """
    query = select(api_keys).where(api_keys.c.id == storable(key_id))
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("There is no such key.")
    return ApiKey(**row)


def with_secrets() -> Select[Any]:
    """Every key, once for each of its secrets, those of a key together."""
    secrets = api_key_secrets.c
    return (
        select(api_keys, secrets.hash, secrets.expires_at.label("secret_expires_at"))
        .join_from(api_keys, api_key_secrets, isouter=True)
        .order_by(api_keys.c.id)
    )


async def written(connection: AsyncConnection, key_id: str) -> list[RowMapping]:
    """A key as its writer sees it before the transaction ends, once for each of its secrets."""
    query = with_secrets().where(api_keys.c.id == key_id)
    return list((await connection.execute(query)).mappings())


async def change(connection: AsyncConnection, key_id: str, columns: Mapping[str, Any]) -> ApiKey:
    """Change a key's columns, and count the change.

    Raises:
        NotFound, Conflict: there is none of that id; it was revoked.
    """
    revision = await next_revision(connection)
    if (await read(connection, key_id)).revoked_at is not None:
        raise Conflict("This key was revoked, and cannot be changed.")
    changed = update(api_keys).where(api_keys.c.id == key_id).values(**columns, revision=revision)
    await connection.execute(changed)
    return await read(connection, key_id)


async def add_secret(connection: AsyncConnection, key_id: str, secret: str, now: int) -> None:
    """Give a key one more secret."""
    row = {"hash": hash_of(secret.encode()), "key_id": key_id, "created_at": now}
    await connection.execute(insert(api_key_secrets), [row])


async def end_secrets(connection: AsyncConnection, key_id: str, now: int, end: int) -> None:
    """Let the secret that has no end yet end at `end`, and every other one now."""
    table = api_key_secrets.c
    mine = table.key_id == key_id
    ending = table.expires_at.is_not(None)
    await connection.execute(delete(api_key_secrets).where(mine, ending if end > now else true()))
    await connection.execute(update(api_key_secrets).where(mine).values(expires_at=end))
