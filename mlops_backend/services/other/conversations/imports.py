"""Conversations taken from a file: all of them, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import insert, select

from mlops_backend.schemas.conversations.exports import ConversationsDocument, ExportedConversation, ExportedMessage
from mlops_backend.services.other.conversations import images as stored_images
from mlops_backend.services.other.conversations import writes
from mlops_backend.services.other.conversations.bounds import Bounds, check_size, count
from mlops_backend.services.other.conversations.images import Image
from mlops_backend.services.other.conversations.rows import Conversation, Message, new_id
from mlops_backend.services.other.conversations.service import Conversations
from mlops_backend.services.other.conversations.writes import Draft
from mlops_backend.services.other.database import Statements, conversations, messages

T = TypeVar("T")

_CHUNK: Final = 250


@dataclass(frozen=True, slots=True)
class _Whole:
    conversation: Conversation
    drafts: Sequence[Draft]


class Imports:
    """Makes conversations of a document.

    Args:
        conversations: where they go.
        bounds: how much may be kept.
    """

    def __init__(self, conversations: Conversations, bounds: Bounds) -> None:
        self._conversations = conversations
        self._bounds = bounds
        self._turn = asyncio.Semaphore(1)

    async def take(self, key_id: str, body: Any) -> list[Conversation]:
        """Make a key's own conversations of what a document tells; they are as they were, but for their ids.

        Raises:
            ValidationError: pydantic's: it is no such document.
            InvalidBody: an image is none, is another one, or is missing.
            ConversationFull: it is more than may be kept.
            DatabaseDown: it cannot be stored.
        """
        async with self._turn:  # a large one takes a second, and two at a time would leave little to everybody else
            wholes = await asyncio.to_thread(_read, key_id, body, self._bounds)
        if wholes:
            await self._conversations.change(lambda connection: _store(connection, wholes, self._bounds))
        return [whole.conversation for whole in wholes]


def _read(key_id: str, body: Any, bounds: Bounds) -> list[_Whole]:
    told = ConversationsDocument.model_validate(body).conversations
    wholes = [_whole(key_id, each, ("conversations", index)) for index, each in enumerate(told)]
    for whole in wholes:
        check_size(whole.conversation, len(whole.drafts), _for_imports(bounds))
    return wholes


def _for_imports(bounds: Bounds) -> Bounds:
    """Replies may have made a conversation larger than anybody could have asked for: it must come back all the same."""
    return replace(bounds, messages=2 * bounds.messages, bytes=2 * bounds.bytes)


def _whole(key_id: str, told: ExportedConversation, loc: tuple[str | int, ...]) -> _Whole:
    images = {name: _image(name, text, (*loc, "images", name)) for name, text in told.images.items()}
    drafts = [
        _draft(message, sequence, images, (*loc, "messages", sequence - 1))
        for sequence, message in enumerate(told.messages, 1)
    ]
    begun = writes.begun(key_id, told.title, told.model, told.created_at, told.updated_at)
    conversation = replace(
        begun,
        version=1,
        next_sequence=len(drafts) + 1,
        message_count=sum(draft.message.replaced_at is None for draft in drafts),
        bytes=sum(draft.message.size for draft in drafts),
    )
    return _Whole(conversation, drafts)


def _image(name: str, text: str, loc: tuple[str | int, ...]) -> Image:
    image = stored_images.decode(text, loc)
    if image.stored.hash != name:
        raise stored_images.invalid(loc, f"the SHA-256 of its bytes is {image.stored.hash}")
    return image


def _draft(told: ExportedMessage, sequence: int, images: Mapping[str, Image], loc: tuple[str | int, ...]) -> Draft:
    for index, name in enumerate(told.images):
        if name not in images:
            raise stored_images.invalid((*loc, "images", index), f"{name} is not among the images of the conversation")
    message = Message(
        id=new_id(told.created_at),
        sequence=sequence,
        role=told.role,
        images=[images[name].stored for name in told.images],
        content=told.content,
        thinking=told.thinking,
        tool_calls=told.tool_calls,
        tool_name=told.tool_name,
        created_at=told.created_at,
        model=told.model,
        outcome=told.outcome or "",
        error=told.error,
        prompt_tokens=told.prompt_tokens,
        completion_tokens=told.completion_tokens,
        estimated=told.tokens_estimated,
        omitted=told.omitted_messages,
        first_byte_ms=told.first_byte_ms,
        total_ms=told.total_ms,
        replaced_at=told.replaced_at,
    )
    return Draft(message, [images[name] for name in told.images])


async def _store(connection: Statements, wholes: Sequence[_Whole], bounds: Bounds) -> None:
    """Write everything, so many rows at a time; the locks that others wait for come last."""
    for some in _chunks(writes.row(whole.conversation) for whole in wholes):
        await connection.execute(insert(conversations), some)
    for some in _chunks(row for whole in wholes for row in _rows(whole)):
        await connection.execute(insert(messages), some)
    await stored_images.keep(connection, await _shown(connection, wholes))
    size = sum(whole.conversation.bytes for whole in wholes)
    await count(connection, wholes[0].conversation.key_id, len(wholes), size, bounds)


def _rows(whole: _Whole) -> Iterator[Mapping[str, Any]]:
    """The rows of a conversation's messages, and the one by which its title is found."""
    mine = whole.conversation
    if mine.title:
        yield writes.title_row(mine)
    for draft in whole.drafts:
        yield draft.message.row(mine.id, mine.owner)


async def _shown(connection: Statements, wholes: Sequence[_Whole]) -> dict[int, Sequence[Image]]:
    """The images of messages by the numbers that these have now."""
    drafts = {draft.message.id: draft.images for whole in wholes for draft in whole.drafts if draft.images}
    shown: dict[int, Sequence[Image]] = {}
    for ids in _chunks(drafts):
        query = select(messages.c.id, messages.c.number).where(messages.c.id.in_(ids))
        for message_id, number in await connection.execute(query):
            shown[number] = drafts[message_id]
    return shown


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    left = iter(values)
    while some := list(islice(left, _CHUNK)):
        yield some
