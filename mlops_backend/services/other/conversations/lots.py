"""Changes of many conversations in one transaction: as many statements for a hundred as for one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from sqlalchemy import ARRAY, BindParameter, ColumnElement, String, bindparam, func, insert, select, text

from mlops_backend.services.other.conversations import writes
from mlops_backend.services.other.conversations.bounds import Bounds
from mlops_backend.services.other.conversations.reads import AS_SHOWN
from mlops_backend.services.other.conversations.rows import Conversation, Message
from mlops_backend.services.other.database import (
    Prepared,
    Statements,
    conversation_owners,
    conversations,
    messages,
    run,
)

R = TypeVar("R")

# Beyond it a history is read when it is needed, and not while others wait to write.
_FEW_MESSAGES: Final = 50
_FEW_BYTES: Final = 64 * 1024
_MANY_BYTES: Final = 1024 * 1024


class NotTogether(Exception):
    """A change that is to be made in a transaction of its own."""


@dataclass(frozen=True, slots=True)
class Applied(Generic[R]):
    """A conversation as a change leaves it, in its next version, with the messages that are new."""

    conversation: Conversation
    new: Sequence[Message]
    result: R


class Change(Protocol[R]):
    """What is to become of one conversation."""

    @property
    def key_id(self) -> str:
        """Whose it is."""
        ...

    @property
    def conversation_id(self) -> str:
        """Which one."""
        ...

    @property
    def size(self) -> int:
        """Bytes that it brings."""
        ...

    @property
    def asks(self) -> bool:
        """Whether a model is to be shown what is said then; such a one is refused where its key has too much."""
        ...

    def applied(self, mine: Conversation) -> Applied[R]:
        """What comes of it, found out without the database.

        Raises:
            AppError: it is refused; nothing is changed.
            NotTogether: there is more to know.
        """
        ...

    def shown(self, result: R, newest_first: Sequence[Message]) -> R:
        """The result, with what a model is to be shown."""
        ...


async def written(connection: Statements, changes: Sequence[Change[Any]], bounds: Bounds) -> list[Any]:
    """Make changes in their order; for each its result, or the error that refused it.

    A conversation that another process has locked is not waited for.

    Raises:
        NotTogether: each is to be made in a transaction of its own.
    """
    lot = _Lot(bounds.bytes_of_key)
    ids = _ids(connection, (change.conversation_id for change in changes))
    for *mine, of_key in await run(connection, _LOCKED[connection.dialect.name], ids):
        lot.found(Conversation(*mine), of_key or 0)
    outcomes = [lot.outcome(change) for change in changes]
    if lot.rows:
        await run(connection, _ADDED, lot.rows)
        await _count(connection, lot)
        await run(connection, writes.STORED, [writes.stored_row(each) for each in lot.changed.values()])
    return await _with_histories(connection, lot, changes, outcomes)


@dataclass(slots=True)
class _Lot:
    """What is known and what is to be written; `of_key` is what each key has, as far as this transaction sees."""

    most_of_key: int
    there: dict[str, Conversation] = field(default_factory=dict)
    changed: dict[str, Conversation] = field(default_factory=dict)
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    of_key: dict[str, int] = field(default_factory=dict)
    added: dict[str, int] = field(default_factory=dict)
    bounded: set[str] = field(default_factory=set)

    def found(self, conversation: Conversation, of_key: int) -> None:
        self.there[conversation.id] = conversation
        self.of_key[conversation.key_id] = of_key

    def outcome(self, change: Change[Any]) -> Any:
        """Apply a change to what is there by now; its result or its error."""
        mine = self.there.get(change.conversation_id)
        if mine is None or mine.key_id != change.key_id or self._is_too_much(change):
            return NotTogether()  # one that is made alone tells what it is
        try:
            applied = change.applied(mine)
        except Exception as error:
            return error
        self._take(mine, applied)
        if change.asks:
            self.bounded.add(mine.key_id)
        return applied.result

    def overruns(self, key_id: str, of_key: int) -> bool:
        """Whether a key has too much for what was asked of it."""
        return key_id in self.bounded and of_key > self.most_of_key

    def _take(self, mine: Conversation, applied: Applied[Any]) -> None:
        newer = applied.conversation
        self.there[mine.id] = self.changed[mine.id] = newer
        self.added[mine.key_id] = self.added.get(mine.key_id, 0) + newer.bytes - mine.bytes
        if newer.title and not mine.title:
            self.rows.append(writes.title_row(newer))
        self.rows += [message.row(newer.id, newer.owner) for message in applied.new]

    def _is_too_much(self, change: Change[Any]) -> bool:
        has = self.of_key[change.key_id] + self.added.get(change.key_id, 0)
        return change.asks and has + change.size > self.most_of_key


async def _count(connection: Statements, lot: _Lot) -> None:
    """Count what keys have, after everything else: whoever does so for the same keys waits here until the end."""
    keys = sorted(lot.added)
    rows = {"keys": keys, "sizes": [lot.added[key] for key in keys]}
    is_sqlite = connection.dialect.name == "sqlite"
    values = {name: json.dumps(value) for name, value in rows.items()} if is_sqlite else rows
    counted = await run(connection, _COUNTED[connection.dialect.name], values)
    if any(lot.overruns(key_id, of_key) for key_id, of_key in counted):
        raise NotTogether


async def _with_histories(
    connection: Statements, lot: _Lot, changes: Sequence[Change[Any]], outcomes: list[Any]
) -> list[Any]:
    """The results, those of short conversations with all that is said there."""
    ids = _short(lot, changes, outcomes)
    said: dict[str, list[Message]] = {each: [] for each in ids}
    rows: Iterable[Any] = ()
    if ids:
        rows = await run(connection, _SAID[connection.dialect.name], _ids(connection, ids))
    for conversation_id, size, *told in rows:
        message = Message.as_shown(*told)
        if message.size != size:  # what is more than its texts is images, which are read when they are needed
            said.pop(conversation_id, None)
        if conversation_id in said:
            said[conversation_id].append(message)
    return [
        change.shown(outcome, said[change.conversation_id])
        if change.conversation_id in said and not isinstance(outcome, Exception)
        else outcome
        for change, outcome in zip(changes, outcomes, strict=True)
    ]


def _short(lot: _Lot, changes: Sequence[Change[Any]], outcomes: Sequence[Any]) -> list[str]:
    """The conversations that a model is to be shown and that are quickly read, together too."""
    ids: list[str] = []
    left = _MANY_BYTES
    for change, outcome in zip(changes, outcomes, strict=True):
        if not change.asks or isinstance(outcome, Exception):
            continue
        mine = lot.there[change.conversation_id]
        if mine.next_sequence <= _FEW_MESSAGES and mine.bytes <= min(_FEW_BYTES, left):
            left -= mine.bytes
            ids.append(mine.id)
    return ids


def _ids(connection: Statements, ids: Iterable[str]) -> dict[str, Any]:
    named = sorted(set(ids))
    return {"ids": json.dumps(named) if connection.dialect.name == "sqlite" else named}


def _among_ids(column: ColumnElement[str], kind: str) -> ColumnElement[bool]:
    """Whether it is one of the ids, however many these are: each statement is prepared once."""
    if kind == "sqlite":
        each = func.json_each(bindparam("ids")).table_valued("value")
        return column.in_(select(each.c.value))
    ids: BindParameter[Any] = bindparam("ids", type_=ARRAY(String))
    return column == func.any(ids)


def _locked(kind: str) -> Any:
    owner = conversation_owners.c
    return (
        select(*writes.COLUMNS, owner.bytes)
        .select_from(conversations.outerjoin(conversation_owners, owner.key_id == conversations.c.key_id))
        .where(_among_ids(conversations.c.id, kind))
        .order_by(conversations.c.id)
        .with_for_update(of=conversations, skip_locked=True)
    )


def _said(kind: str) -> Any:
    table = messages.c
    return (
        select(table.conversation_id, table.bytes, *AS_SHOWN)
        .where(_among_ids(table.conversation_id, kind), table.replaced_at.is_(None), table.sequence > 0)
        .order_by(table.conversation_id, table.sequence.desc())
    )


_KINDS: Final = ("sqlite", "postgresql")
_LOCKED: Final = {kind: Prepared(_locked(kind)) for kind in _KINDS}
_SAID: Final = {kind: Prepared(_said(kind)) for kind in _KINDS}
_ADDED: Final = Prepared(insert(messages), tuple(Message(id="", sequence=0, role="").row("", "")))
_COUNTED: Final = {
    "sqlite": Prepared(
        text("""INSERT INTO conversation_owners (key_id, conversations, bytes)
        SELECT keys.value, 0, sizes.value
        FROM json_each(:keys) AS keys JOIN json_each(:sizes) AS sizes ON sizes.key = keys.key WHERE true
        ON CONFLICT (key_id) DO UPDATE SET bytes = conversation_owners.bytes + excluded.bytes
        RETURNING key_id, bytes""")
    ),
    "postgresql": Prepared(
        text("""INSERT INTO conversation_owners (key_id, conversations, bytes)
        SELECT key_id, 0, size
        FROM unnest(CAST(:keys AS text[]), CAST(:sizes AS bigint[])) AS added (key_id, size) ORDER BY key_id
        ON CONFLICT (key_id) DO UPDATE SET bytes = conversation_owners.bytes + excluded.bytes
        RETURNING key_id, bytes""")
    ),
}
