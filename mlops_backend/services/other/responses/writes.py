"""What changes stored responses, inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import Select, bindparam, delete, func, select, update

from mlops_backend.services.other.database import Statements, api_keys, insert_into, responses
from mlops_backend.services.other.responses.rows import StoredResponse

AT_ONCE: Final = 100

_table: Final = responses.c
_REVOKED: Final = select(api_keys.c.id).where(api_keys.c.id == bindparam("key"), api_keys.c.revoked_at.is_not(None))


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be kept: responses and bytes of a key, bytes of one response, and for how long, in milliseconds."""

    responses: int
    bytes_of_key: int
    bytes: int
    life: int


async def keep(connection: Statements, response: StoredResponse, used: Sequence[str], bounds: Bounds) -> None:
    """Keep a response, which may be there already, and those that it continues for as long as it.

    Of a key that has more than it may, those go that expire first; of one that was revoked meanwhile nothing is kept.
    """
    if (await connection.execute(_REVOKED, {"key": response.key_id})).first() is not None:
        return
    row = asdict(response)
    await connection.execute(insert_into(responses, connection.dialect.name).on_conflict_do_nothing(), [row])
    if used:
        later = update(responses).where(_table.id.in_(used), _table.key_id == response.key_id)
        await connection.execute(later.values(expires_at=response.expires_at))
    await _make_room(connection, response.key_id, bounds)


async def remove(connection: Statements, key_id: str, response_id: str) -> bool:
    """Delete a key's response; whether there was one."""
    mine = (_table.id == response_id, _table.key_id == key_id)
    return (await connection.execute(delete(responses).where(*mine))).rowcount > 0


async def remove_some(connection: Statements, key_id: str) -> int:
    """Delete some of a key's responses; how many."""
    return await _removed(connection, select(_table.id).where(_table.key_id == key_id))


async def remove_expired(connection: Statements, now: int) -> int:
    """Delete some of those whose time has passed; how many."""
    return await _removed(connection, select(_table.id).where(_table.expires_at <= now))


async def _removed(connection: Statements, query: Select[tuple[str]]) -> int:
    ids = (await connection.execute(query.limit(AT_ONCE))).scalars().all()
    if ids:
        await connection.execute(delete(responses).where(_table.id.in_(ids)))
    return len(ids)


async def _make_room(connection: Statements, key_id: str, bounds: Bounds) -> None:
    counted = select(func.count(), func.coalesce(func.sum(_table.bytes), 0)).where(_table.key_id == key_id)
    number, size = map(int, (await connection.execute(counted)).one())
    mine = select(_table.id, _table.bytes).where(_table.key_id == key_id)
    oldest = mine.order_by(_table.expires_at, _table.created_at).limit(AT_ONCE)
    while number > bounds.responses or size > bounds.bytes_of_key:
        gone: list[str] = []
        for row in await connection.execute(oldest):
            if number <= bounds.responses and size <= bounds.bytes_of_key:
                break
            gone.append(row.id)
            number, size = number - 1, size - row.bytes
        if not gone:
            return
        await connection.execute(delete(responses).where(_table.id.in_(gone)))
