"""What changes a conversation, inside a transaction that has locked it; the counts go with what they count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.errors import ConversationFull, NotFound, PreconditionFailed
from mlops_backend.services.other import stored_images
from mlops_backend.services.other.conversation_rows import Conversation, Message, is_id, new_id, owner_of, title_from
from mlops_backend.services.other.stored_images import Image
from mlops_backend.services.other.tables import conversation_owners, conversations, messages

Match = Callable[[int], bool]

_COLUMNS: Final = [conversations.c[name] for name in Conversation.__dataclass_fields__]
_TITLE: Final = "title"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be kept: of a key, and of one conversation; bytes are those of texts and images."""

    conversations: int
    messages: int
    bytes: int
    bytes_of_key: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is to be kept, and its images."""

    message: Message
    images: Sequence[Image] = ()

    @property
    def whole(self) -> Message:
        """The message with its images."""
        return self.message.with_images([image.stored for image in self.images])


async def locked(
    connection: AsyncConnection, key_id: str, conversation_id: str, match: Match | None = None
) -> Conversation:
    """One conversation, which nobody else changes until the transaction ends.

    Raises:
        NotFound: the key has none of that id.
        PreconditionFailed: it is at a version that `match` does not want.
    """
    mine = (conversations.c.id == conversation_id, conversations.c.key_id == key_id)
    query = select(*_COLUMNS).where(*mine).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none() if is_id(conversation_id) else None
    if row is None:
        raise no_such_conversation()
    found = Conversation(**row)
    if match is not None and not match(found.version):
        raise PreconditionFailed(f"The conversation has changed since: it is at version {found.version} now.")
    return found


async def locked_some(connection: AsyncConnection, key_id: str, some: int) -> list[Conversation]:
    """So many of a key's conversations, all locked before anything is changed: nobody is waited for crosswise."""
    query = select(*_COLUMNS).where(conversations.c.key_id == key_id).order_by(conversations.c.id)
    rows = await connection.execute(query.limit(some).with_for_update())
    return [Conversation(**row) for row in rows.mappings()]


def no_such_conversation() -> NotFound:
    """The same words whether it never was or is another key's."""
    return NotFound("There is no such conversation.")


async def create(
    connection: AsyncConnection, conversation: Conversation, drafts: Sequence[Draft], bounds: Bounds
) -> Conversation:
    """Make a conversation with its first messages.

    Raises:
        ConversationFull: it is one too many for its key, or too large.
    """
    await count(connection, conversation.key_id, 1, 0, bounds)
    await connection.execute(insert(conversations), [row(conversation)])
    await _keep_title(connection, conversation)
    return await append(connection, conversation, drafts, bounds)


async def append(
    connection: AsyncConnection, conversation: Conversation, drafts: Sequence[Draft], bounds: Bounds
) -> Conversation:
    """Put messages at the places that they name; the conversation is to have counted them into `next_sequence`.

    Raises:
        ConversationFull: it would become too large.
    """
    added = sum(draft.whole.size for draft in drafts)
    current = sum(draft.message.replaced_at is None for draft in drafts)
    grown = replace(
        conversation,
        message_count=conversation.message_count + current,
        bytes=conversation.bytes + added,
    )
    await check_room(connection, grown, len(drafts), bounds)
    await _insert(connection, grown, drafts)
    await count(connection, grown.key_id, 0, added, bounds)
    return await store(connection, grown)


async def add_reply(connection: AsyncConnection, conversation: Conversation, reply: Message) -> Conversation:
    """Put a reply at its place; it is kept whatever the bounds say, since it has been sent already."""
    grown = replace(
        conversation,
        message_count=conversation.message_count + (reply.replaced_at is None),
        bytes=conversation.bytes + reply.size,
    )
    await _insert(connection, grown, [Draft(reply)])
    await count(connection, grown.key_id, 0, reply.size, None)
    return await store(connection, grown)


async def named(connection: AsyncConnection, conversation: Conversation, drafts: Sequence[Draft]) -> Conversation:
    """The conversation with a title made from `drafts`, when it has none yet; to be stored."""
    if conversation.title or not (title := titled("", drafts)):
        return conversation
    titled_ = replace(conversation, title=title)
    await _keep_title(connection, titled_)
    return titled_


async def rename(connection: AsyncConnection, conversation: Conversation, title: str, model: str) -> Conversation:
    """Give it another title or model."""
    changed = replace(conversation, title=title, model=model)
    if title != conversation.title:
        await _keep_title(connection, changed)
    return await store(connection, changed)


async def cut(connection: AsyncConnection, conversation: Conversation, after: int) -> Conversation:
    """Delete the messages whose sequence is larger than `after`."""
    behind = (messages.c.conversation_id == conversation.id, messages.c.sequence > after)
    counted = select(
        func.count().filter(messages.c.replaced_at.is_(None)), func.coalesce(func.sum(messages.c.bytes), 0)
    )
    current, size = (await connection.execute(counted.where(*behind))).one()
    hashes = await stored_images.shown_by(connection, conversation.id, after)
    await connection.execute(delete(messages).where(*behind))
    await stored_images.drop_unused(connection, hashes)
    shrunk = replace(
        conversation,
        message_count=conversation.message_count - current,
        bytes=conversation.bytes - int(size),
    )
    await count(connection, shrunk.key_id, 0, -int(size), None)
    return await store(connection, shrunk)


async def remove(connection: AsyncConnection, conversation: Conversation) -> None:
    """Delete it, its messages, and the images that nothing else shows."""
    hashes = await stored_images.shown_by(connection, conversation.id, 0)
    await connection.execute(delete(conversations).where(conversations.c.id == conversation.id))
    await stored_images.drop_unused(connection, hashes)
    await count(connection, conversation.key_id, -1, -conversation.bytes, None)


async def store(connection: AsyncConnection, conversation: Conversation) -> Conversation:
    """Write what has changed of it, as one version more."""
    newer = replace(conversation, version=conversation.version + 1)
    mine = conversations.c.id == newer.id
    await connection.execute(update(conversations).where(mine).values(**row(newer)))
    return newer


async def store_quietly(connection: AsyncConnection, conversation: Conversation) -> None:
    """Write what nobody can see of it: no version more."""
    mine = conversations.c.id == conversation.id
    await connection.execute(update(conversations).where(mine).values(next_sequence=conversation.next_sequence))


def begun(key_id: str, title: str, model: str, at: int, updated_at: int) -> Conversation:
    """A conversation that is not stored yet; it is at version 1 once it is created."""
    return Conversation(
        id=new_id(at),
        key_id=key_id,
        owner=owner_of(key_id),
        title=title,
        model=model,
        created_at=at,
        updated_at=updated_at,
        version=0,
        next_sequence=1,
        message_count=0,
        bytes=0,
    )


def titled(title: str, drafts: Sequence[Draft]) -> str:
    """The title, or one made from the first message of a user; empty while there is none."""
    said = (title_from(draft.message.content) for draft in drafts if draft.message.role == "user")
    return title or next((made for made in said if made), "")


async def _insert(connection: AsyncConnection, conversation: Conversation, drafts: Sequence[Draft]) -> None:
    plain = [draft.message.row(conversation.id, conversation.owner) for draft in drafts if not draft.images]
    if plain:
        await connection.execute(insert(messages), plain)
    shown = {}
    for draft in drafts:
        if draft.images:
            row = draft.whole.row(conversation.id, conversation.owner)
            added = await connection.execute(insert(messages).returning(messages.c.number), [row])
            shown[int(added.scalar_one())] = draft.images
    await stored_images.keep(connection, shown)


async def _keep_title(connection: AsyncConnection, conversation: Conversation) -> None:
    """The row by which the title is found; a new one each time, since a search finds the newest first."""
    mine = (messages.c.conversation_id == conversation.id, messages.c.sequence == 0)
    await connection.execute(delete(messages).where(*mine))
    if conversation.title:
        await connection.execute(insert(messages), [title_row(conversation)])


def title_row(conversation: Conversation) -> Mapping[str, Any]:
    """The row by which a title is found; what it takes is not counted."""
    title = Message(
        id=new_id(conversation.updated_at),
        sequence=0,
        role=_TITLE,
        content=conversation.title,
        created_at=conversation.updated_at,
    )
    return {**title.row(conversation.id, conversation.owner), "bytes": 0}


async def check_room(connection: AsyncConnection, grown: Conversation, added: int, bounds: Bounds) -> None:
    """See that a conversation, as it is about to be, has room for so many messages more.

    Raises:
        ConversationFull: it has not.
    """
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


async def count(connection: AsyncConnection, key_id: str, number: int, size: int, bounds: Bounds | None) -> None:
    """Count what a key has; whoever does so for the same key waits here."""
    kind = sqlite if connection.dialect.name == "sqlite" else postgresql
    table = conversation_owners.c
    row = {"key_id": key_id, "conversations": number, "bytes": size}
    counted = (
        kind.insert(conversation_owners)
        .values(**row)
        .on_conflict_do_update(
            index_elements=["key_id"],
            set_={"conversations": table.conversations + number, "bytes": table.bytes + size},
        )
        .returning(table.conversations, table.bytes)
    )
    conversations_now, bytes_now = (await connection.execute(counted)).one()
    if bounds is None:
        return
    if number > 0 and conversations_now > bounds.conversations:
        raise ConversationFull(f"A key has at most {bounds.conversations} conversations (CONVERSATIONS_PER_KEY).")
    if size > 0 and bytes_now > bounds.bytes_of_key:
        raise ConversationFull(
            f"A key's conversations have at most {bounds.bytes_of_key} bytes together (CONVERSATION_BYTES_PER_KEY)."
        )


def row(conversation: Conversation) -> Mapping[str, Any]:
    """The row of `conversations`."""
    return {name: getattr(conversation, name) for name in Conversation.__dataclass_fields__}
