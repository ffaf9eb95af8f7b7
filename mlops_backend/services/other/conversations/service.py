"""Conversations that live here: made, listed, read, changed and deleted, each by the key that owns it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from random import random
from time import time
from typing import Any, Final, TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError

from mlops_backend.aside import aside
from mlops_backend.errors import DatabaseBusy, InvalidBody, NotFound
from mlops_backend.schemas.conversations.bodies import (
    ChangeConversationRequest,
    CreateConversationRequest,
    ListConversationsQuery,
    MessageRequest,
)
from mlops_backend.services.other.conversations import images as stored_images
from mlops_backend.services.other.conversations import reads, writes
from mlops_backend.services.other.conversations.bounds import Bounds
from mlops_backend.services.other.conversations.rows import Conversation, Message, is_id, new_id, owner_of
from mlops_backend.services.other.conversations.search import Found, found
from mlops_backend.services.other.conversations.search_words import parsed
from mlops_backend.services.other.conversations.writes import Draft, Match
from mlops_backend.services.other.database import Database, Statements

T = TypeVar("T")

_TRIES: Final = 5
_PAUSE: Final = 0.05
_AT_ONCE: Final = 100
# PostgreSQL's word for two transactions that wait for each other, of which it ended one.
_DEADLOCK: Final = "40P01"


@dataclass(frozen=True, slots=True)
class Listed:
    """A conversation in a list; `match` says where a search found it."""

    conversation: Conversation
    match: dict[str, Any] | None = None

    def shown(self) -> dict[str, Any]:
        """As people see it."""
        shown = self.conversation.shown()
        return shown if self.match is None else {**shown, "match": self.match}


class Conversations:
    """Every method takes the id of the key that asks: another key's conversation does not exist for it.

    Args:
        database: where they are.
        bounds: how much may be kept.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, bounds: Bounds, clock: Callable[[], float] = time) -> None:
        self._database = database
        self._bounds = bounds
        self._clock = clock

    async def create(self, key_id: str, asked: CreateConversationRequest) -> tuple[Conversation, list[Message]]:
        """Begin a conversation.

        Raises:
            InvalidBody: an image cannot be read.
            ConversationFull: it would be one too many, or too large.
            DatabaseDown: it cannot be stored.
        """
        now = self._now()
        drafts = await aside(_size(asked.messages), _drafts, asked.messages, now, 1)
        begun = writes.begun(key_id, writes.titled(asked.title or "", drafts), asked.model or "", now, now)
        begun = replace(begun, next_sequence=len(drafts) + 1)
        made = await self.change(lambda connection: writes.create(connection, begun, drafts, self._bounds))
        return made, [draft.whole for draft in drafts]

    async def page(self, key_id: str, asked: ListConversationsQuery) -> tuple[list[Listed], str | None]:
        """A page of a key's conversations, the newest first, and the cursor of the next one.

        Raises:
            InvalidBody: the cursor is none, or there is nothing to search for.
            DatabaseDown: they cannot be read.
        """
        if asked.search is not None:
            return await self._search(key_id, asked, asked.search)
        after = _cursor(asked.after) if asked.after is not None else None
        async with self._database.reading() as connection:
            rows = await reads.page(connection, key_id, after, asked.limit + 1)
        last = rows[asked.limit - 1] if len(rows) > asked.limit else None
        return [Listed(row) for row in rows[: asked.limit]], f"{last.updated_at}-{last.id}" if last else None

    async def get(self, key_id: str, conversation_id: str, *, replaced: bool) -> tuple[Conversation, list[Message]]:
        """A conversation and its messages, of one moment.

        Raises:
            NotFound: the key has none of that id.
            DatabaseDown: it cannot be read.
        """
        async with self._database.reading() as connection:
            await reads.see_one_moment(connection)
            found_ = await reads.one(connection, key_id, conversation_id)
            return found_, await reads.messages_of(connection, conversation_id, replaced=replaced)

    async def image(self, key_id: str, conversation_id: str, hash_: str) -> tuple[str, bytes]:
        """Media type and bytes of an image.

        Raises:
            NotFound: there is no such conversation, or no such image in it.
            DatabaseDown: it cannot be read.
        """
        async with self._database.reading() as connection:
            await reads.one(connection, key_id, conversation_id)
            image = await stored_images.of_conversation(connection, conversation_id, hash_) if is_id(hash_) else None
        if image is None:
            raise NotFound("There is no such image.")
        return image

    async def update(
        self, key_id: str, conversation_id: str, asked: ChangeConversationRequest, match: Match
    ) -> Conversation:
        """Give a conversation another title or model.

        Raises:
            NotFound, PreconditionFailed, DatabaseDown: see `create` and `conversation_writes.locked`.
        """

        async def work(connection: Statements) -> Conversation:
            mine = await writes.locked(connection, key_id, conversation_id, match)
            title, model = asked.title or mine.title, asked.model or mine.model
            if (title, model) == (mine.title, mine.model):
                return mine
            return await writes.rename(connection, replace(mine, updated_at=self._now()), title, model)

        return await self.change(work)

    async def delete(self, key_id: str, conversation_id: str, match: Match) -> None:
        """Delete a conversation and all that belongs to it.

        Raises:
            NotFound, PreconditionFailed, DatabaseDown: see `update`.
        """

        async def work(connection: Statements) -> None:
            await writes.remove(connection, await writes.locked(connection, key_id, conversation_id, match))

        await self.change(work)

    async def delete_all(self, key_id: str) -> int:
        """Delete everything that a key has, some at a time; how many conversations there were.

        Raises:
            DatabaseDown: it cannot be reached; what was deleted by then is.
        """

        async def work(connection: Statements) -> int:
            some = await writes.locked_some(connection, key_id, _AT_ONCE)
            for conversation in some:
                await writes.remove(connection, conversation)
            return len(some)

        deleted = 0
        while "\0" not in key_id and (some := await self.change(work)):  # which PostgreSQL does not take
            deleted += some
        return deleted

    async def append(
        self, key_id: str, conversation_id: str, asked: Sequence[MessageRequest], match: Match
    ) -> tuple[Conversation, list[Message]]:
        """Put messages at the end.

        Raises:
            ConversationFull: it would become too large.
            InvalidBody, NotFound, PreconditionFailed, DatabaseDown: see `create` and `update`.
        """
        drafts = await aside(_size(asked), _drafts, asked, self._now(), 0)

        async def work(connection: Statements) -> tuple[Conversation, list[Message]]:
            mine = await writes.locked(connection, key_id, conversation_id, match)
            placed = [
                replace(draft, message=replace(draft.message, sequence=mine.next_sequence + index))
                for index, draft in enumerate(drafts)
            ]
            mine = await writes.named(connection, mine, placed)
            mine = replace(mine, next_sequence=mine.next_sequence + len(placed), updated_at=self._now())
            return await writes.append(connection, mine, placed, self._bounds), [draft.whole for draft in placed]

        return await self.change(work)

    async def truncate(self, key_id: str, conversation_id: str, after: str | None, match: Match) -> Conversation:
        """Delete the messages behind one, or all of them.

        Raises:
            NotFound: there is no such conversation, or no such message in it.
            PreconditionFailed, DatabaseDown: see `update`.
        """

        async def work(connection: Statements) -> Conversation:
            mine = await writes.locked(connection, key_id, conversation_id, match)
            last = 0 if after is None else await reads.sequence_of(connection, conversation_id, after)
            return await writes.cut(connection, replace(mine, updated_at=self._now()), last)

        return await self.change(work)

    async def change(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Run a transaction, anew when another one came in its way.

        An image that this one shows may be deleted by another one that ends before it; and two that delete may wait
        for each other.

        Raises:
            DatabaseDown: it cannot be stored.
        """
        for tried in range(_TRIES):
            try:
                return await self._database.transaction(work)
            except DBAPIError as error:
                if not _is_passing(error) or (tried + 1 == _TRIES and isinstance(error, IntegrityError)):
                    raise
            await asyncio.sleep(random() * _PAUSE * tried)  # noqa: S311 - not to meet the same one again
        raise DatabaseBusy("Others write the same at present; try again soon.")

    async def _search(self, key_id: str, asked: ListConversationsQuery, text: str) -> tuple[list[Listed], str | None]:
        words = parsed(text)
        before = _number(asked.after) if asked.after is not None else None
        async with self._database.reading() as connection:
            rows = await found(connection, owner_of(key_id), key_id, words, before, asked.limit + 1)
        shown = [Listed(Conversation(**row.conversation), _match(row)) for row in rows[: asked.limit]]
        return shown, str(rows[asked.limit - 1].number) if len(rows) > asked.limit else None

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _match(row: Found) -> dict[str, Any]:
    return {"message_id": row.message_id, "excerpt": row.excerpt}


def _size(asked: Sequence[MessageRequest]) -> int:
    return sum(len(message.content) + sum(map(len, message.images)) for message in asked)


def _drafts(asked: Sequence[MessageRequest], now: int, first: int) -> list[Draft]:
    return [_draft(message, now, first + index, index) for index, message in enumerate(asked)]


def _draft(asked: MessageRequest, now: int, sequence: int, index: int) -> Draft:
    message = Message(
        id=new_id(now),
        sequence=sequence,
        role=asked.role,
        content=asked.content,
        thinking=asked.thinking,
        tool_calls=asked.tool_calls,
        tool_name=asked.tool_name,
        created_at=now,
    )
    return Draft(message, stored_images.decoded(asked.images, "messages", index, "images"))


def _cursor(text: str) -> reads.Cursor:
    moment, _, conversation_id = text.partition("-")
    return _number(moment if is_id(conversation_id) else ""), conversation_id


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        wrong = {"loc": ["after"], "msg": "must be the `next` of a page before", "type": "value_error"}
        raise InvalidBody("The query does not fit the schema.", [wrong])
    return int(text)


def _is_passing(error: DBAPIError) -> bool:
    return isinstance(error, IntegrityError) or getattr(error.orig, "sqlstate", None) == _DEADLOCK
