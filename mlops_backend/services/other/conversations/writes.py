"""What changes a conversation, inside a transaction that has locked it; the counts go with what they count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, select, tuple_, update

from mlops_backend.errors import NotFound, PreconditionFailed
from mlops_backend.services.other.conversations import images as stored_images
from mlops_backend.services.other.conversations.bounds import Bounds, check_room, check_size, count
from mlops_backend.services.other.conversations.images import Image
from mlops_backend.services.other.conversations.rows import Conversation, Message, is_id, new_id, owner_of, title_from
from mlops_backend.services.other.database import Prepared, Statements, conversations, messages, run

Match = Callable[[int], bool]

COLUMNS: Final = [conversations.c[name] for name in Conversation.__dataclass_fields__]
_TITLE: Final = "title"
_LOCKED: Final = (
    select(*COLUMNS)
    .where(conversations.c.id == bindparam("conversation"), conversations.c.key_id == bindparam("key"))
    .with_for_update()
)
# What a conversation never changes: to set it again would be to write two indices more.
_FOREVER: Final = ("id", "key_id", "owner", "created_at")
_CHANGING: Final = tuple(name for name in Conversation.__dataclass_fields__ if name not in _FOREVER)
STORED: Final = Prepared(update(conversations).where(conversations.c.id == bindparam("conversation")), _CHANGING)


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is to be kept, and its images."""

    message: Message
    images: Sequence[Image] = ()

    @property
    def whole(self) -> Message:
        """The message with its images."""
        return self.message.with_images([image.stored for image in self.images])


async def locked(connection: Statements, key_id: str, conversation_id: str, match: Match | None = None) -> Conversation:
    """One conversation, which nobody else changes until the transaction ends.

    Raises:
        NotFound: the key has none of that id.
        PreconditionFailed: it is at a version that `match` does not want.
    """
    if not is_id(conversation_id):
        raise no_such_conversation()
    mine = {"conversation": conversation_id, "key": key_id}
    row = (await connection.execute(_LOCKED, mine)).mappings().one_or_none()
    if row is None:
        raise no_such_conversation()
    found = Conversation(**row)
    if match is not None:
        check_version(found, match)
    return found


def check_version(conversation: Conversation, match: Match) -> None:
    """See that a conversation is at a version that is wanted.

    Raises:
        PreconditionFailed: it is not.
    """
    if not match(conversation.version):
        raise PreconditionFailed(f"The conversation has changed since: it is at version {conversation.version} now.")


def in_order_of_id(key_id: str, after: str) -> tuple[ColumnElement[bool], ...]:
    """A key's conversations behind an id, with `order_by(key_id, id)`.

    By pairs: of `key_id = … ORDER BY id` PostgreSQL thinks that everybody's ids are quicker to walk through.
    """
    table = conversations.c
    return tuple_(table.key_id, table.id) > (key_id, after), table.key_id <= key_id


async def locked_some(connection: Statements, key_id: str, some: int) -> list[Conversation]:
    """So many of a key's conversations, all locked before anything is changed: nobody is waited for crosswise."""
    query = select(*COLUMNS).where(*in_order_of_id(key_id, ""))
    ordered = query.order_by(conversations.c.key_id, conversations.c.id)
    rows = await connection.execute(ordered.limit(some).with_for_update())
    return [Conversation(**row) for row in rows.mappings()]


def no_such_conversation() -> NotFound:
    """The same words whether it never was or is another key's."""
    return NotFound("There is no such conversation.")


async def create(
    connection: Statements, conversation: Conversation, drafts: Sequence[Draft], bounds: Bounds
) -> Conversation:
    """Make a conversation with its first messages.

    Raises:
        ConversationFull: it is one too many for its key, or too large.
    """
    made = replace(_grown(conversation, drafts), version=1)
    check_size(made, len(drafts), bounds)
    await connection.execute(insert(conversations), [row(made)])
    await _keep_title(connection, made)
    await _insert(connection, made, drafts)
    await count(connection, made.key_id, 1, made.bytes, bounds)
    return made


async def append(
    connection: Statements,
    conversation: Conversation,
    drafts: Sequence[Draft],
    bounds: Bounds,
    *,
    and_replies: int = 0,
) -> Conversation:
    """Put messages at the places that they name; the conversation is to have counted them into `next_sequence`.

    So many replies that are to follow need room as well.

    Raises:
        ConversationFull: it would become too large.
    """
    grown = _grown(conversation, drafts)
    await check_room(connection, grown, len(drafts) + and_replies, bounds)
    await _insert(connection, grown, drafts)
    await count(connection, grown.key_id, 0, grown.bytes - conversation.bytes, bounds)
    return await store(connection, grown)


async def add_reply(connection: Statements, conversation: Conversation, reply: Message) -> Conversation:
    """Put a reply at its place; it is kept whatever the bounds say, since it has been sent already."""
    grown = _grown(conversation, [Draft(reply)])
    await _insert(connection, grown, [Draft(reply)])
    await count(connection, grown.key_id, 0, reply.size, None)
    return await store(connection, grown)


async def named(connection: Statements, conversation: Conversation, drafts: Sequence[Draft]) -> Conversation:
    """The conversation with a title made from `drafts`, when it has none yet; to be stored."""
    if conversation.title or not (title := titled("", drafts)):
        return conversation
    titled_ = replace(conversation, title=title)
    await _keep_title(connection, titled_)
    return titled_


async def rename(connection: Statements, conversation: Conversation, title: str, model: str) -> Conversation:
    """Give it another title or model."""
    changed = replace(conversation, title=title, model=model)
    if title != conversation.title:
        await _keep_title(connection, changed)
    return await store(connection, changed)


async def cut(connection: Statements, conversation: Conversation, after: int) -> Conversation:
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


async def remove(connection: Statements, conversation: Conversation) -> None:
    """Delete it, its messages, and the images that nothing else shows."""
    hashes = await stored_images.shown_by(connection, conversation.id, 0)
    await connection.execute(delete(conversations).where(conversations.c.id == conversation.id))
    await stored_images.drop_unused(connection, hashes)
    await count(connection, conversation.key_id, -1, -conversation.bytes, None)


async def store(connection: Statements, conversation: Conversation) -> Conversation:
    """Write what has changed of it, as one version more."""
    newer = replace(conversation, version=conversation.version + 1)
    await run(connection, STORED, [stored_row(newer)])
    return newer


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


def _grown(conversation: Conversation, drafts: Sequence[Draft]) -> Conversation:
    """The conversation with so many messages more in its counts."""
    current = sum(draft.message.replaced_at is None for draft in drafts)
    return replace(
        conversation,
        message_count=conversation.message_count + current,
        bytes=conversation.bytes + sum(draft.whole.size for draft in drafts),
    )


async def _insert(connection: Statements, conversation: Conversation, drafts: Sequence[Draft]) -> None:
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


async def _keep_title(connection: Statements, conversation: Conversation) -> None:
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


def stored_row(conversation: Conversation) -> Mapping[str, Any]:
    """The values of `STORED`."""
    return {name: getattr(conversation, name) for name in _CHANGING} | {"conversation": conversation.id}


def row(conversation: Conversation) -> Mapping[str, Any]:
    """The row of `conversations`."""
    return {name: getattr(conversation, name) for name in Conversation.__dataclass_fields__}
