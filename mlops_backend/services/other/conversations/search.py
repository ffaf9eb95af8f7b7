"""Finding words in a key's messages, with the full-text index that each database has of its own.

Only what may be found is in the index: a reply that was replaced is not. The index knows whose a message is, so that a
word which is common with others does not lead through their messages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, RowMapping, Select, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.folding import SEARCHED
from mlops_backend.services.other.conversations.search_words import Words, excerpt
from mlops_backend.services.other.database import ExactText, conversations, messages

_FIRST: Final = 2**62
# So many of a key's messages are looked at before the index is asked: a common word is found among them.
_WALKED: Final = 2000
_READ_AT_ONCE: Final = 8

FTS5: Final = text(
    "SELECT m.number, m.conversation_id FROM message_words CROSS JOIN messages m ON m.number = message_words.rowid"
    " WHERE message_words MATCH :query AND message_words.rowid < :before ORDER BY message_words.rowid DESC"
)
FTS5_NEWER: Final = text(
    "SELECT DISTINCT m.conversation_id FROM message_words CROSS JOIN messages m ON m.number = message_words.rowid"
    " WHERE message_words MATCH :query AND message_words.rowid >= :before"
)
# PostgreSQL's planner must not guess from how common a word is with all keys how common it is with this one: the query
# comes from a SELECT, so that it cannot see it. The order by pairs keeps it from walking through other keys' messages,
# LIMIT and OFFSET from asking the index of words there.
WALK: Final = text(
    "SELECT m.number, m.conversation_id FROM (SELECT owner, number, conversation_id, words FROM messages"
    " WHERE (owner, number) < (:owner, :before) AND owner >= :owner ORDER BY owner DESC, number DESC LIMIT :walked) m"
    " WHERE m.words @@ (SELECT to_tsquery('simple', :query)) ORDER BY m.owner DESC, m.number DESC LIMIT :some"
)
NEWER: Final = text(
    "SELECT DISTINCT conversation_id FROM (SELECT conversation_id, words FROM messages"
    " WHERE conversation_id IN :conversations AND number >= :before OFFSET 0) m"
    " WHERE m.words @@ (SELECT to_tsquery('simple', :query))"
).bindparams(bindparam("conversations", expanding=True))
GIN: Final = text(
    "SELECT max(number) AS number, conversation_id FROM messages WHERE words @@ (SELECT CAST(:of_owner AS tsquery))"
    " AND words @@ (SELECT to_tsquery('simple', :query))"
    " GROUP BY conversation_id HAVING max(number) < :before ORDER BY 1 DESC LIMIT :some"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation and its newest match; `message_id` is None where that is the title."""

    conversation: RowMapping
    number: int
    message_id: str | None
    excerpt: str


async def found(
    connection: AsyncConnection, owner: str, key_id: str, words: Words, before: int | None, limit: int
) -> list[Found]:
    """The key's conversations that have all the words in one message, the one with the newest match first.

    Args:
        connection: one to read with.
        owner: what stands for the key in the index.
        key_id: the key; nothing of another one is found.
        words: what is looked for.
        before: only conversations whose newest match has a smaller number: that of the last one of a page is where the
            next page begins.
        limit: how many at most.
    """
    search = (_Fts5 if connection.dialect.name == "sqlite" else _Gin)(connection, owner, words)
    newest = await search.newest(_FIRST if before is None else before, limit)
    return await _described(connection, key_id, newest, words)


@dataclass(frozen=True, slots=True)
class _Fts5:
    connection: AsyncConnection
    owner: str
    words: Words

    async def newest(self, before: int, limit: int) -> Mapping[str, int]:
        return await _collected(self, before, limit)

    async def matches(self, before: int, limit: int) -> AsyncGenerator[Sequence[Row[Any]], None]:
        """Matches in portions, the newest first; the index reads no further than is asked for."""
        query = f'owner : "{self.owner}" AND content : ({self.words.fts5()})'
        async with self.connection.stream(FTS5, {"query": query, "before": before}) as rows:
            async for portion in rows.partitions(limit):
                yield portion

    async def newer(self, among: Collection[str], before: int) -> set[str]:
        """Those of the conversations with a match at `before` or behind it."""
        either = " OR ".join(f'"{conversation}"' for conversation in among)
        query = f"conversation_id : ({either}) AND content : ({self.words.fts5()})"
        return set((await self.connection.execute(FTS5_NEWER, {"query": query, "before": before})).scalars())


@dataclass(frozen=True, slots=True)
class _Gin:
    connection: AsyncConnection
    owner: str
    words: Words

    async def newest(self, before: int, limit: int) -> Mapping[str, int]:
        """A common word is among the newest messages; the index tells of all, which is not much for any other word."""
        newest = await _collected(self, before, limit)
        if len(newest) == limit:
            return newest
        values = {"of_owner": f"'@{self.owner}'", "query": self.words.tsquery(), "before": before, "some": limit}
        rows = await self.connection.execute(GIN, values)
        return {row.conversation_id: row.number for row in rows}

    async def matches(self, before: int, limit: int) -> AsyncGenerator[Sequence[Row[Any]], None]:
        """Matches among the newest messages."""
        values = {"owner": self.owner, "before": before, "walked": _WALKED, "query": self.words.tsquery()}
        rows = (await self.connection.execute(WALK, {**values, "some": 4 * limit})).all()
        for start in range(0, len(rows), limit):
            yield rows[start : start + limit]

    async def newer(self, among: Collection[str], before: int) -> set[str]:
        """Those of the conversations with a match at `before` or behind it."""
        values = {"conversations": list(among), "before": before, "query": self.words.tsquery()}
        return set((await self.connection.execute(NEWER, values)).scalars())


async def _collected(search: _Fts5 | _Gin, before: int, limit: int) -> Mapping[str, int]:
    """The first conversations that matches tell of, without those that an earlier page has shown."""
    newest: dict[str, int] = {}
    shown: set[str] = set()
    async with aclosing(search.matches(before, limit)) as portions:
        async for rows in portions:
            fresh: dict[str, int] = {}
            for number, conversation in rows:
                if conversation not in newest and conversation not in shown:
                    fresh.setdefault(conversation, number)
            if fresh and before != _FIRST:
                shown |= await search.newer(fresh, before)
            newest |= {conversation: number for conversation, number in fresh.items() if conversation not in shown}
            if len(newest) >= limit:
                break
    return dict(list(newest.items())[:limit])


async def _described(connection: AsyncConnection, key_id: str, newest: Mapping[str, int], words: Words) -> list[Found]:
    """Texts may be long: a few are read at once, and no more of them is kept than is shown."""
    own = select(conversations).where(conversations.c.id.in_(newest), conversations.c.key_id == key_id)
    rows = {row["id"]: row for row in (await connection.execute(own)).mappings()}
    numbers = [number for conversation, number in newest.items() if conversation in rows]
    described = []
    for start in range(0, len(numbers), _READ_AT_ONCE):
        for row in await connection.execute(_texts(numbers[start : start + _READ_AT_ONCE])):
            message_id = row.id if row.sequence else None
            described.append(Found(rows[row.conversation_id], row.number, message_id, excerpt(row.content, words)))
    return described


def _texts(numbers: Sequence[int]) -> Select[Any]:
    columns = messages.c
    content = func.substr(columns.content, 1, SEARCHED, type_=ExactText).label("content")
    chosen = select(columns.number, columns.id, columns.conversation_id, columns.sequence, content)
    return chosen.where(columns.number.in_(numbers)).order_by(columns.number.desc())
