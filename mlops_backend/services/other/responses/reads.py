"""What is read of stored responses: one, and what it continues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, literal, select

from mlops_backend.services.other.database import Statements, responses

# So many responses may continue each other.
MOST_LINKS: Final = 1000

_table: Final = responses.c
_ONE: Final = select(_table.input, _table.response).where(
    _table.id == bindparam("response"), _table.key_id == bindparam("key"), _table.expires_at > bindparam("now")
)


class Link(NamedTuple):
    """One of those that continue each other."""

    id: str
    previous_id: str | None
    bytes: int
    expires_at: int


async def one(connection: Statements, key_id: str, response_id: str, now: int) -> tuple[str, str] | None:
    """`input` and `response` of a key's response, where there is one."""
    row = (await connection.execute(_ONE, {"response": response_id, "key": key_id, "now": now})).one_or_none()
    return None if row is None else (row.input, row.response)


async def links(connection: Statements, key_id: str, response_id: str, now: int) -> list[Link]:
    """A key's response, the one that it continues, and so on, as far as they are there; `MOST_LINKS` at most."""
    found = await connection.execute(_chain(), {"response": response_id, "key": key_id, "now": now})
    return [Link(row.id, row.previous_id, row.bytes, row.expires_at) for row in found]


async def texts(connection: Statements, ids: Sequence[str]) -> list[tuple[str, str]]:
    """`input` and `response` of each, in this order; of those that are gone by now none."""
    rows = await connection.execute(select(_table.id, _table.input, _table.response).where(_table.id.in_(ids)))
    found = {row.id: (row.input, row.response) for row in rows}
    return [found[each] for each in ids if each in found]


def _chain() -> Any:
    columns = (_table.id, _table.previous_id, _table.bytes, _table.expires_at)
    mine = (_table.key_id == bindparam("key"), _table.expires_at > bindparam("now"))
    link = (
        select(*columns, literal(1).label("place"))
        .where(_table.id == bindparam("response"), *mine)
        .cte("link", recursive=True)
    )
    older = select(*columns, link.c.place + 1).where(_table.id == link.c.previous_id, link.c.place < MOST_LINKS, *mine)
    chain = link.union_all(older)
    return select(chain).order_by(chain.c.place)
