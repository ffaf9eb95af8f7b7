"""Sessions of browsers: a key is exchanged for a token of its own, which ends soon and can be ended sooner.

The database knows a session by the SHA-256 of its token, and the key by the SHA-256 of the secret that was presented,
which is how the keys themselves are held. So a session is good for what the key is good for now, and ends with that
secret: when the key is disabled, revoked or expires, and when it is rotated.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_urlsafe
from time import time
from typing import Final

from sqlalchemy import delete, insert, select

from mlops_backend.principal import Principal
from mlops_backend.services.other.database import Database, console_sessions
from mlops_backend.services.other.keys import KeyStores

# Of one key; whoever signs in once more ends the oldest.
MAX_SESSIONS: Final = 50
_BYTES: Final = 32
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that has signed in.

    `digest` is the SHA-256 of the key's secret, `expires_at` in seconds since the epoch.
    """

    principal: Principal
    token: str
    digest: bytes
    expires_at: float

    @property
    def csrf_token(self) -> str:
        """What a page of ours sends with whatever changes something; a page of another origin cannot read it."""
        made = hmac.digest(self.token.encode(), b"mlops_backend console csrf", "sha256")
        return urlsafe_b64encode(made).rstrip(b"=").decode()

    def knows(self, csrf_token: str) -> bool:
        """Whether that is what a page of ours sends."""
        return hmac.compare_digest(self.csrf_token.encode(), csrf_token.encode("utf-8", "replace"))


class ConsoleSessions:
    """Begins sessions, finds them, ends them.

    Args:
        database: where they are.
        keys: knows whose secret it was.
        lifetime: seconds, however busy a session is.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, keys: KeyStores, lifetime: float, clock: Callable[[], float] = time) -> None:
        self._database = database
        self._keys = keys
        self._lifetime = lifetime
        self._clock = clock

    async def begin(self, principal: Principal, key: bytes) -> Session:
        """Exchange a key that is known for a session.

        Raises:
            DatabaseDown: it cannot be kept.
        """
        now = self._clock()
        session = Session(principal, token_urlsafe(_BYTES), sha256(key).digest(), now + self._lifetime)
        row = {
            "hash": _hash_of(session.token),
            "key_id": principal.id,
            "secret_hash": session.digest,
            "created_at": int(now * 1000),
            "expires_at": int(session.expires_at * 1000),
        }
        table = console_sessions.c
        newest = select(table.hash).where(table.key_id == principal.id).order_by(table.created_at.desc(), table.hash)
        async with self._database.writing() as connection:
            await connection.execute(delete(console_sessions).where(table.expires_at <= int(now * 1000)))
            kept = (await connection.execute(newest.limit(MAX_SESSIONS - 1))).scalars().all()
            mine = table.key_id == principal.id
            await connection.execute(delete(console_sessions).where(mine, table.hash.not_in(kept)))
            await connection.execute(insert(console_sessions), [row])
        return session

    async def find(self, token: str) -> Session | None:
        """The session of a token, of somebody whose key works as it did.

        Raises:
            DatabaseDown: nobody can tell.
        """
        if not token or len(token) > _LONGEST:
            return None
        table = console_sessions.c
        query = select(table.secret_hash, table.key_id, table.expires_at).where(table.hash == _hash_of(token))
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None or row.expires_at <= self._clock() * 1000:
            return None
        digest = bytes(row.secret_hash)
        principal = self._keys.find_digest(digest)
        if principal is None or principal.id != row.key_id:
            return None
        return Session(principal, token, digest, row.expires_at / 1000)

    async def end(self, token: str) -> None:
        """End a session, if there is one.

        Raises:
            DatabaseDown: it cannot be ended.
        """
        async with self._database.writing() as connection:
            await connection.execute(delete(console_sessions).where(console_sessions.c.hash == _hash_of(token)))

    async def end_all(self, key_id: str) -> int:
        """End every session of a key, and say how many there were.

        Raises:
            DatabaseDown: they cannot be ended.
        """
        async with self._database.writing() as connection:
            ended = await connection.execute(delete(console_sessions).where(console_sessions.c.key_id == key_id))
        return ended.rowcount


def _hash_of(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()
