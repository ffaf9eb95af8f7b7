"""API keys in the database: made, looked at, changed, rotated and revoked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from time import time
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import RowMapping, delete, func, insert, select, tuple_, update

from mlops_backend.errors import Conflict, InvalidBody
from mlops_backend.principal import NO_LIMITS, Limits, Principal
from mlops_backend.schemas.keys import CreateKeyRequest, ListKeysQuery, UpdateKeyRequest
from mlops_backend.services.llm.model_names import canonical
from mlops_backend.services.other.database import Database, api_key_secrets, api_keys, responses
from mlops_backend.services.other.keys.held_key import HeldKey
from mlops_backend.services.other.keys.rows import (
    ApiKey,
    add_secret,
    change,
    end_secrets,
    name_holds,
    next_revision,
    read,
    storable,
    written,
)
from mlops_backend.services.other.keys.secrets import new_id, new_secret

MAX_KEYS: Final = 100_000
_WILDCARDS: Final = frozenset("*?[")


class ApiKeys:
    """The administrator's view of the keys.

    Args:
        database: where they are.
        changed: called with a key when its change is committed.
        clock: seconds since the epoch.
        defaults: the limits of a key that names none.
        configured: whose keys the settings have, by their ids.
    """

    def __init__(
        self,
        database: Database,
        changed: Callable[[Sequence[RowMapping]], Awaitable[None]],
        clock: Callable[[], float] = time,
        defaults: Limits = NO_LIMITS,
        configured: Mapping[str, Principal] = MappingProxyType({}),
    ) -> None:
        self._database = database
        self._changed = changed
        self._clock = clock
        self._defaults = defaults
        self._configured = configured

    @property
    def configured(self) -> list[Principal]:
        """Whose keys the settings have, but for the administrator."""
        return [principal for principal in self._configured.values() if not principal.admin]

    async def create(self, asked: CreateKeyRequest) -> tuple[ApiKey, str]:
        """Make a key.

        Returns:
            The key and its secret, which nobody can read again.

        Raises:
            Conflict: there are `MAX_KEYS` already.
            InvalidBody: it would have expired already.
            DatabaseDown: it cannot be stored.
        """
        secret, now = new_secret(), self._now()
        row = {"id": new_id(), "created_at": now, **self._columns(asked, now)}
        async with self._database.writing() as connection:
            row["revision"] = await next_revision(connection)
            living = select(func.count()).select_from(api_keys).where(api_keys.c.revoked_at.is_(None))
            if ((await connection.execute(living)).scalar() or 0) >= MAX_KEYS:
                raise Conflict(f"There are {MAX_KEYS} keys, and no more are held; revoke some.")
            await connection.execute(insert(api_keys), [row])
            await add_secret(connection, row["id"], secret, now)
            rows = await written(connection, row["id"])
        await self._changed(rows)
        return ApiKey(**{"expires_at": None, "revoked_at": None, **row}), secret

    async def page(self, asked: ListKeysQuery) -> tuple[list[ApiKey], str | None]:
        """A page of keys, oldest first or newest, and the cursor of the next one.

        Raises:
            InvalidBody: the cursor is none.
            DatabaseDown: they cannot be read.
        """
        table = api_keys.c
        place = (table.created_at, table.id)
        order = [column.desc() for column in place] if asked.newest else place
        query = select(api_keys).order_by(*order).limit(asked.limit + 1)
        if not asked.revoked:
            query = query.where(table.revoked_at.is_(None))
        if asked.owner is not None:
            query = query.where(table.owner == storable(asked.owner))
        if asked.name is not None:
            query = query.where(name_holds(asked.name))
        async with self._database.reading() as connection:
            if asked.after is not None:
                start = select(table.created_at, table.id).where(table.id == storable(asked.after))
                found = (await connection.execute(start)).one_or_none()
                if found is None:
                    raise _invalid("after", "There is no such key.")
                here = tuple_(*place)
                query = query.where(here < tuple(found) if asked.newest else here > tuple(found))
            keys = [ApiKey(**row) for row in (await connection.execute(query)).mappings()]
        more = len(keys) > asked.limit
        return keys[: asked.limit], keys[asked.limit - 1].id if more else None

    async def get(self, key_id: str) -> ApiKey:
        """One key, revoked or not.

        Raises:
            NotFound: there is none of that id.
            DatabaseDown: it cannot be read.
        """
        async with self._database.reading() as connection:
            return await read(connection, key_id)

    async def principal(self, key_id: str) -> Principal:
        """Whoever presents a key, of the settings too, with the limits in force, whether the key works or not.

        Raises:
            NotFound: there is none of that id.
            DatabaseDown: it cannot be read.
        """
        if (known := self._configured.get(key_id)) is not None:
            return known
        key = await self.get(key_id)
        return HeldKey.read([{**asdict(key), "hash": None, "secret_expires_at": None}], self._defaults).principal

    async def update(self, key_id: str, asked: UpdateKeyRequest) -> ApiKey:
        """Change what was set in `asked`.

        Raises:
            NotFound, Conflict: there is none of that id; it was revoked.
            InvalidBody: it would have expired already.
            DatabaseDown: the change cannot be stored.
        """
        columns = self._columns(asked, self._now())
        async with self._database.writing() as connection:
            key = await change(connection, key_id, columns)
            rows = await written(connection, key_id)
        await self._changed(rows)
        return key

    async def rotate(self, key_id: str, overlap_seconds: int = 0) -> tuple[ApiKey, str]:
        """Give a key a new secret; the newest of its old ones stays good for `overlap_seconds`, the others end now.

        Raises:
            NotFound, Conflict: there is none of that id; it was revoked.
            DatabaseDown: the change cannot be stored.
        """
        secret, now = new_secret(), self._now()
        async with self._database.writing() as connection:
            key = await change(connection, key_id, {})
            await end_secrets(connection, key_id, now, now + overlap_seconds * 1000)
            await add_secret(connection, key_id, secret, now)
            rows = await written(connection, key_id)
        await self._changed(rows)
        return key, secret

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key for good; it stays to be looked at, for the ledger names it. Its stored responses expire.

        Raises:
            NotFound: there is none of that id.
            DatabaseDown: the change cannot be stored.
        """
        try:
            async with self._database.writing() as connection:
                key = await change(connection, key_id, {"revoked_at": self._now()})
                await connection.execute(delete(api_key_secrets).where(api_key_secrets.c.key_id == key_id))
                theirs = update(responses).where(responses.c.key_id == key_id)
                await connection.execute(theirs.values(expires_at=0))
                rows = await written(connection, key_id)
        except Conflict:
            return await self.get(key_id)
        await self._changed(rows)
        return key

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _columns(self, asked: CreateKeyRequest | UpdateKeyRequest, now: int) -> dict[str, Any]:
        """What the table is to hold: of a new key everything, of a change what was set."""
        columns = asked.model_dump(exclude_unset=isinstance(asked, UpdateKeyRequest))
        if asked.expires_at is not None:
            columns["expires_at"] = int(asked.expires_at.timestamp() * 1000)
            if columns["expires_at"] <= now:
                raise _invalid("expires_at", "This time is past.")
        if "scopes" in columns:
            columns["scopes"] = sorted(columns["scopes"])
        if "models" in columns:
            columns["models"] = list(dict.fromkeys(map(canonical_pattern, columns["models"])))
        for name in {"limits", "end_user_limits"} & columns.keys():
            columns[name] = getattr(asked, name).model_dump(exclude_unset=True)
        return columns


def canonical_pattern(pattern: str) -> str:
    """A pattern of models in the spelling that names are compared in; one without wildcards is a name."""
    name = canonical(pattern)
    is_name = not _WILDCARDS & set(pattern) or ":" in pattern.rpartition("/")[2]
    return name if is_name else name.removesuffix(":latest")


def _invalid(field: str, sentence: str) -> InvalidBody:
    detail = {"loc": [field], "msg": sentence, "type": "value_error"}
    return InvalidBody("The request does not fit the schema.", [detail])
