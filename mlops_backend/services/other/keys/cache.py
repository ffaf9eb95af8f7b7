"""The keys as every worker holds them: no request waits for the database, and none asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from time import monotonic, time
from typing import Any, Final

import structlog
from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.errors import DatabaseDown
from mlops_backend.principal import Limits, Principal
from mlops_backend.services.other.database import Database, api_key_revision, api_keys
from mlops_backend.services.other.keys.held_key import HeldKey
from mlops_backend.services.other.keys.rows import with_secrets
from mlops_backend.services.other.keys.secrets import ID_PREFIX, PREFIX, hash_of

POLL: Final = 0.5
# So long a key is believed that nobody can look up.
TRUST: Final = 300.0
# A key made elsewhere is here within a second; later than this nobody can say that one is unknown.
FRESH: Final = 2.0
_REFRESH_TIMEOUT: Final = 30.0
_BATCH: Final = 500
_NOTHING: Final = -1

log: Final = structlog.get_logger(__name__)


class KeyCache:
    """A copy of all keys that may work, told of changes by a counter.

    A key is found by the SHA-256 of what was presented, so that the time tells nothing of how near a guess came.

    Args:
        database: where the keys are.
        defaults: the limits of a key that has none of its own.
        clock: seconds since the epoch.
        monotonic: seconds that never jump.
    """

    def __init__(
        self,
        database: Database,
        defaults: Limits,
        clock: Callable[[], float] = time,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self._database = database
        self._defaults = defaults
        self._clock = clock
        self._monotonic = monotonic
        self._keys: dict[str, HeldKey] = {}
        self._by_hash: dict[bytes, HeldKey] = {}
        self._revision = _NOTHING
        self._ahead: dict[str, int] = {}
        self._confirmed = -inf
        self._stale = False
        self._refreshing = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load the keys, or begin to wait for them, and follow their changes."""
        await self._try_to_refresh()
        self._polling = asyncio.create_task(self._poll())

    async def aclose(self) -> None:
        """Follow no more."""
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling
            self._polling = None

    def find(self, key: bytes) -> Principal | None:
        """The owner of `key`, or `None`.

        Raises:
            DatabaseDown: nobody can say, since the database is away: for a key that is known only after `TRUST`, for
                one that is not known, and may be new, after `FRESH`.
        """
        return self.find_digest(hash_of(key)) if key.startswith(PREFIX) else None

    def find_digest(self, digest: bytes) -> Principal | None:
        """The same, by the SHA-256 of the key, as it is held."""
        held, now = self._by_hash.get(digest), self._clock()
        age = self._monotonic() - self._confirmed
        if held is not None and held.ends[digest] > now and age <= TRUST:
            return held.principal
        if age > FRESH:
            raise DatabaseDown("The key cannot be looked up at present; try again soon.")
        return None

    def current(self, principal: Principal) -> Principal | None:
        """The owner of a key as it is now: `None` once none of its secrets works; one of the settings never changes.

        Raises:
            DatabaseDown: nobody can say, as for a key that is known.
        """
        if not principal.id.startswith(ID_PREFIX):
            return principal
        if self._monotonic() - self._confirmed > TRUST:
            raise DatabaseDown("The key cannot be looked up at present; try again soon.")
        held, now = self._keys.get(principal.id), self._clock()
        return held.principal if held is not None and any(end > now for end in held.ends.values()) else None

    def expiry(self, key_id: str) -> float | None:
        """When a key expires, in seconds since the epoch; `None`: never, or it is not one of the database's."""
        held = self._keys.get(key_id)
        return None if held is None else held.expires_at

    async def changed(self, rows: Sequence[Mapping[Any, Any]]) -> None:
        """Take over a key that was changed through this process, though the database may not be read just now.

        Where nothing is followed, nothing is held either.

        Args:
            rows: the key as it was written, once for each of its secrets.
        """
        if self._polling is None:
            return
        await self._try_to_refresh()
        self.told(rows)

    def told(self, rows: Sequence[Mapping[Any, Any]]) -> None:
        """Take over a key that was changed, though the database was not read since; what is being read may be older."""
        key_id, revision = rows[0]["id"], rows[0]["revision"]
        if self._polling is not None and revision > max(self._revision, self._ahead.get(key_id, _NOTHING)):
            self._take(rows)
            self._ahead[key_id] = revision

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            await self._try_to_refresh()

    async def _try_to_refresh(self) -> None:
        try:
            async with self._refreshing, asyncio.timeout(_REFRESH_TIMEOUT):
                await self._refresh()
        except Exception as error:  # whatever is wrong with a row, changes must still be followed once it is right
            if not self._stale:
                reason = str(error) or type(error).__name__
                log.error("keys cannot be read; those that are known work for a while", error=reason)
            self._stale = True
        else:
            if self._stale:
                log.info("keys are read again")
            self._stale = False

    async def _refresh(self) -> None:
        asked = self._monotonic()
        async with self._database.reading() as connection:
            revision = int((await connection.execute(select(api_key_revision.c.value))).scalar_one())
            if revision < self._revision:
                self._forget()
            if revision != self._revision:
                await self._load(connection)
        self._revision, self._confirmed = revision, asked
        self._ahead = {key_id: ahead for key_id, ahead in self._ahead.items() if ahead > revision}

    def _forget(self) -> None:
        """Begin anew: the database is an older copy of itself, and until it is read no key can be told from another."""
        self._keys, self._by_hash, self._revision, self._confirmed = {}, {}, _NOTHING, -inf
        self._ahead = {}

    async def _load(self, connection: AsyncConnection) -> None:
        """Take over every key that changed, in one reading, so that a key and its secrets fit each other."""
        query = with_secrets().where(api_keys.c.revision > self._revision)
        async with connection.stream(query.execution_options(yield_per=_BATCH)) as rows:
            found: list[RowMapping] = []
            async for row in rows.mappings():
                if found and found[0]["id"] != row["id"]:
                    self._take(found)
                    found = []
                found.append(row)
            if found:
                self._take(found)

    def _take(self, rows: Sequence[Mapping[Any, Any]]) -> None:
        """Hold a key, given once for each of its secrets, instead of what was held of it before."""
        row = rows[0]
        if row["revision"] < self._ahead.get(row["id"], _NOTHING):
            return
        before = self._keys.pop(row["id"], None)
        for digest in before.ends if before is not None else ():
            self._by_hash.pop(digest, None)
        if row["revoked_at"] is not None or not row["enabled"]:
            return
        try:
            held = HeldKey.read(rows, self._defaults)
        except (ValueError, TypeError, AttributeError) as error:
            log.error("a key in the database cannot be read, and is not taken", key_id=row["id"], error=str(error))
            return
        self._keys[row["id"]] = held
        self._by_hash.update(dict.fromkeys(held.ends, held))
