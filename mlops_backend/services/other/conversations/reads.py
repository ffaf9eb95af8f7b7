"""What is read of conversations: one, its messages, a page of a key's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from sqlalchemy import RowMapping, Select, bindparam, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.errors import NotFound
from mlops_backend.services.other.conversations import images as stored_images
from mlops_backend.services.other.conversations.rows import Conversation, Message, is_id
from mlops_backend.services.other.conversations.writes import no_such_conversation
from mlops_backend.services.other.database import Statements, conversations, messages

Cursor = tuple[int, str]

LAST: Final = 2**62  # behind every sequence

_COLUMNS: Final = [conversations.c[name] for name in Conversation.__dataclass_fields__]
# All but what stands for the text in the index.
_MESSAGE: Final = [column for column in messages.c if column is not messages.c.folded]
# Of a message what a model is shown, in the order of `Message.as_shown`.
AS_SHOWN: Final = [
    messages.c[name] for name in ("id", "sequence", "role", "content", "thinking", "tool_calls", "tool_name")
]
_SAID: Final = messages.c.sequence > 0
_PORTION: Final = (
    select(*_MESSAGE)
    .where(
        messages.c.conversation_id == bindparam("conversation"),
        messages.c.replaced_at.is_(None),
        _SAID,
        messages.c.sequence <= bindparam("last"),
    )
    .order_by(messages.c.sequence.desc())
    .limit(bindparam("some"))
)


def listed(key_id: str, after: Cursor | None, limit: int) -> Select[Any]:
    """A page of a key's conversations, the newest first; `after` is the time and the id of the last one before."""
    table = conversations.c
    query = select(*_COLUMNS).where(table.key_id == key_id).order_by(table.updated_at.desc(), table.id.desc())
    if after is not None:
        query = query.where(tuple_(table.updated_at, table.id) < after)
    return query.limit(limit)


def said(conversation_id: str, *, replaced: bool = False) -> Select[Any]:
    """A conversation's messages in their order."""
    query = select(*_MESSAGE).where(messages.c.conversation_id == conversation_id, _SAID).order_by(messages.c.sequence)
    return query if replaced else query.where(messages.c.replaced_at.is_(None))


async def see_one_moment(connection: AsyncConnection) -> None:
    """Let the statements that follow see the same: PostgreSQL shows each what was written since the one before."""
    if connection.dialect.name == "postgresql":
        await connection.execution_options(isolation_level="REPEATABLE READ")


async def one(connection: Statements, key_id: str, conversation_id: str) -> Conversation:
    """One conversation.

    Raises:
        NotFound: the key has none of that id.
    """
    query = select(*_COLUMNS).where(conversations.c.id == conversation_id, conversations.c.key_id == key_id)
    row = (await connection.execute(query)).mappings().one_or_none() if is_id(conversation_id) else None
    if row is None:
        raise no_such_conversation()
    return Conversation(**row)


async def page(connection: Statements, key_id: str, after: Cursor | None, limit: int) -> list[Conversation]:
    """See `listed`."""
    return [Conversation(**row) for row in (await connection.execute(listed(key_id, after, limit))).mappings()]


async def messages_of(connection: Statements, conversation_id: str, *, replaced: bool = False) -> list[Message]:
    """A conversation's messages in their order."""
    rows = (await connection.execute(said(conversation_id, replaced=replaced))).mappings().all()
    return await _with_images(connection, rows)


async def newest_first(
    connection: Statements, conversation_id: str, last: int, some: int
) -> AsyncGenerator[Message, None]:
    """The current messages up to the sequence `last`, backwards, read in portions of `some`."""
    while portion := await portion_of(connection, conversation_id, last, some):
        for message in portion:
            yield message
        if len(portion) < some:
            return
        last = portion[-1].sequence - 1


async def portion_of(connection: Statements, conversation_id: str, last: int, some: int) -> list[Message]:
    """So many of the current messages up to the sequence `last`, backwards."""
    asked = {"conversation": conversation_id, "last": last, "some": some}
    return await _with_images(connection, (await connection.execute(_PORTION, asked)).mappings().all())


async def system_messages(connection: Statements, conversation_id: str, last: int) -> list[Message]:
    """The current messages that tell the model who it is."""
    query = said(conversation_id).where(messages.c.role == "system", messages.c.sequence <= last)
    return await _with_images(connection, (await connection.execute(query)).mappings().all())


async def sequence_of(connection: Statements, conversation_id: str, message_id: str) -> int:
    """Where a message stands.

    Raises:
        NotFound: there is no such message in the conversation.
    """
    mine = (messages.c.conversation_id == conversation_id, messages.c.id == message_id, _SAID)
    query = select(messages.c.sequence).where(*mine)
    found = (await connection.execute(query)).scalar_one_or_none() if is_id(message_id) else None
    if found is None:
        raise NotFound("There is no such message in the conversation.")
    return int(found)


async def _with_images(connection: Statements, rows: Sequence[RowMapping]) -> list[Message]:
    found = {row["number"]: Message.of_row(row) for row in rows}
    # What is more than its texts is images.
    showing = [row["number"] for row in rows if row["bytes"] > found[row["number"]].size]
    shown = await stored_images.of_messages(connection, showing)
    return [message.with_images(shown.get(number, ())) for number, message in found.items()]
