"""How much may be kept, and the counts that say how much there is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import func, select

from mlops_backend.errors import ConversationFull
from mlops_backend.services.other.conversations.rows import Conversation
from mlops_backend.services.other.database import Statements, conversation_owners, insert_into, messages


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be kept: of a key, and of one conversation; bytes are those of texts and images."""

    conversations: int
    messages: int
    bytes: int
    bytes_of_key: int


@cache
def _counted(dialect: str) -> Any:
    statement = insert_into(conversation_owners, dialect)
    table, more = conversation_owners.c, statement.excluded
    sums = {"conversations": table.conversations + more.conversations, "bytes": table.bytes + more.bytes}
    added = statement.on_conflict_do_update(index_elements=["key_id"], set_=sums)
    return added.returning(table.conversations, table.bytes)


async def check_room(connection: Statements, grown: Conversation, added: int, bounds: Bounds) -> None:
    """See that a conversation has room for so many messages more, whose places are counted in `next_sequence` already.

    There are never more messages than places, so they seldom need to be counted.

    Raises:
        ConversationFull: it has not.
    """
    if grown.next_sequence - 1 <= bounds.messages:
        check_size(grown, 0, bounds)
        return
    mine = (messages.c.conversation_id == grown.id, messages.c.sequence > 0)
    there = (await connection.execute(select(func.count()).select_from(messages).where(*mine))).scalar_one()
    check_size(grown, there + added, bounds)


def check_size(conversation: Conversation, number: int, bounds: Bounds) -> None:
    """See that a conversation of so many messages may be as large as it is.

    Raises:
        ConversationFull: it may not.
    """
    if number > bounds.messages:
        raise ConversationFull(
            f"A conversation has at most {bounds.messages} messages (CONVERSATION_MESSAGES), replaced ones included."
        )
    if conversation.bytes > bounds.bytes:
        raise ConversationFull(
            f"A conversation has at most {bounds.bytes} bytes of text and images (CONVERSATION_BYTES)."
        )


async def count(connection: Statements, key_id: str, number: int, size: int, bounds: Bounds | None) -> None:
    """Count what a key has: last of all, for whoever does so for the same key waits here until the end."""
    row = {"key_id": key_id, "conversations": number, "bytes": size}
    counted = await connection.execute(_counted(connection.dialect.name), row)
    conversations_now, bytes_now = counted.one()
    if bounds is None:
        return
    if number > 0 and conversations_now > bounds.conversations:
        raise ConversationFull(f"A key has at most {bounds.conversations} conversations (CONVERSATIONS_PER_KEY).")
    if size > 0 and bytes_now > bounds.bytes_of_key:
        raise ConversationFull(
            f"A key's conversations have at most {bounds.bytes_of_key} bytes together (CONVERSATION_BYTES_PER_KEY)."
        )
