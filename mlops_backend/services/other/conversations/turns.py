"""Turns: a question takes its place and keeps one for its reply, which comes later, if it comes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from time import time
from typing import Any, Final

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, exists, func, select, update

from mlops_backend.errors import Conflict
from mlops_backend.schemas.conversations.bodies import AskRequest
from mlops_backend.services.other.conversations import images as stored_images
from mlops_backend.services.other.conversations import reads, writes
from mlops_backend.services.other.conversations.bounds import Bounds, check_room
from mlops_backend.services.other.conversations.lots import NotTogether
from mlops_backend.services.other.conversations.reads import LAST
from mlops_backend.services.other.conversations.rows import Message, is_id, new_id
from mlops_backend.services.other.conversations.service import Conversations
from mlops_backend.services.other.conversations.steps import Kept, Question, Turn, turn_of
from mlops_backend.services.other.conversations.together import Together
from mlops_backend.services.other.conversations.writes import Draft, Match
from mlops_backend.services.other.database import Statements, messages

_ASKING: Final = ("user", "tool")


class Turns:
    """Takes questions and keeps replies.

    Args:
        conversations: where they stand.
        together: makes the changes that need nothing of their own.
        bounds: how much may be kept; a reply that has come is kept anyway.
        clock: seconds since the epoch.
    """

    def __init__(
        self, conversations: Conversations, together: Together, bounds: Bounds, clock: Callable[[], float] = time
    ) -> None:
        self._conversations = conversations
        self._together = together
        self._bounds = bounds
        self._clock = clock

    async def ask(self, key_id: str, conversation_id: str, asked: Draft, match: Match) -> Turn:
        """Put a message at the end, with a place for the reply behind it.

        Raises:
            NotFound: the key has no such conversation.
            PreconditionFailed: it is at another version.
            ConversationFull: it would become too large.
            DatabaseDown: it cannot be stored.
        """
        if is_id(conversation_id) and not asked.images:
            message, now = asked.message, self._now()
            one = Question(key_id, conversation_id, message, match, self._bounds, now, message.size)
            with suppress(NotTogether):
                return await self._together.make(one)

        async def work(connection: Statements) -> Turn:
            mine = await writes.locked(connection, key_id, conversation_id, match)
            place = mine.next_sequence
            draft = replace(asked, message=replace(asked.message, sequence=place))
            mine = await writes.named(connection, mine, [draft])
            mine = replace(mine, next_sequence=place + 2, updated_at=self._now())
            mine = await writes.append(connection, mine, [draft], self._bounds, and_replies=1)
            return turn_of(mine, draft.message.id, place, place + 1, is_first=True)

        return await self._conversations.change(work)

    async def again(self, key_id: str, conversation_id: str, match: Match) -> Turn:
        """Keep a place for another reply to what was asked last.

        Raises:
            Conflict: nothing was asked.
            NotFound, PreconditionFailed, ConversationFull, DatabaseDown: see `ask`.
        """

        async def work(connection: Statements) -> Turn:
            mine = await writes.locked(connection, key_id, conversation_id, match)
            question, is_answered = await _asked_last(connection, conversation_id)
            place = mine.next_sequence
            mine = replace(mine, next_sequence=place + 1)
            if is_answered:  # else the question has had room for its reply
                await check_room(connection, mine, 1, self._bounds)
            mine = await writes.store(connection, mine)
            return turn_of(mine, question.id, question.sequence, place, is_first=False)

        return await self._conversations.change(work)

    async def keep(self, turn: Turn, reply: Message) -> int | None:
        """Put a reply at its place; the version that the conversation has then, `None` when it is not wanted any more.

        Of several replies to one question the one that was asked for last is the current one. Done twice it is done
        once.

        Raises:
            DatabaseDown: it cannot be stored.
        """
        if turn.is_first:
            with suppress(NotTogether):
                return await self._together.make(Kept(turn, reply, self._now(), reply.size))

        async def work(connection: Statements) -> int | None:
            mine = await writes.locked(connection, turn.key_id, turn.conversation_id)
            there = await _looked_at(connection, turn)
            if there.reply:
                return mine.version
            if not there.question:
                return None
            if there.older:
                await connection.execute(_SET_ASIDE, {**_values(turn), "replaced": self._now()})
            mine = replace(
                mine,
                message_count=mine.message_count - there.older,
                updated_at=self._now(),
                # One that was chosen meanwhile stays.
                model=reply.model if reply.model and mine.model == turn.model else mine.model,
            )
            kept = replace(reply, replaced_at=self._now() if there.newer else None)
            return (await writes.add_reply(connection, mine, kept)).version

        return await self._conversations.change(work)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def question(asked: AskRequest, now: int) -> Draft:
    """A message as it is asked, without its place.

    Raises:
        InvalidBody: an image cannot be read.
    """
    message = Message(
        id=new_id(now),
        sequence=0,
        role=asked.role,
        content=asked.content,
        tool_name=asked.tool_name,
        created_at=now,
    )
    return Draft(message, stored_images.decoded(asked.images, "images"))


async def _asked_last(connection: Statements, conversation_id: str) -> tuple[Message, bool]:
    """What was asked last, and whether there is a reply to it."""
    is_answered = False
    async with aclosing(reads.newest_first(connection, conversation_id, LAST, 4)) as backwards:
        async for message in backwards:
            if message.role in _ASKING:
                return message, is_answered
            is_answered |= message.role == "assistant"
    raise Conflict("Nothing was asked in this conversation yet.")


@dataclass(frozen=True, slots=True)
class _There:
    """What a reply finds: itself already, its question, so many older replies to that, and a newer one."""

    reply: bool
    question: bool
    older: int
    newer: bool


async def _looked_at(connection: Statements, turn: Turn) -> _There:
    """In a statement of its own, once the conversation is locked: what another one wrote before is seen."""
    found = (await connection.execute(_LOOK, _values(turn))).one()
    return _There(bool(found[0]), bool(found[1]), int(found[2]), bool(found[3]))


def _values(turn: Turn) -> dict[str, Any]:
    return {
        "conversation": turn.conversation_id,
        "asked": turn.message_id,
        "last": turn.last,
        "reply": turn.reply_id,
        "place": turn.reply_sequence,
    }


def _rivals() -> list[ColumnElement[bool]]:
    """The current replies to the same question: up to whatever was asked next."""
    table, later = messages.c, messages.alias("later").c
    next_asked = select(func.min(later.sequence)).where(
        later.conversation_id == bindparam("conversation"),
        later.replaced_at.is_(None),
        later.sequence > bindparam("last"),
        later.role.in_(_ASKING),
    )
    return [
        table.conversation_id == bindparam("conversation"),
        table.replaced_at.is_(None),
        table.role == "assistant",
        table.sequence > bindparam("last"),
        table.sequence < func.coalesce(next_asked.scalar_subquery(), LAST),
    ]


def _look() -> Select[Any]:
    """Whether the reply is there already, and its question; the older replies to that, and whether there is a newer."""
    table, rivals = messages.c, _rivals()
    here = table.conversation_id == bindparam("conversation")
    place: BindParameter[int] = bindparam("place")
    older = select(func.count()).select_from(messages).where(*rivals, table.sequence < place)
    # What somebody appended has no outcome: it is no reply that was asked for.
    newer = select(table.sequence).where(*rivals, table.sequence > place, table.outcome != "")
    return select(
        exists(select(table.sequence).where(here, table.id == bindparam("reply"))),
        exists(select(table.sequence).where(here, table.id == bindparam("asked"))),
        older.scalar_subquery(),
        exists(newer),
    )


# Made once: to put such statements together takes longer than to run them.
_LOOK: Final = _look()
_SET_ASIDE: Final = (
    update(messages)
    .where(*_rivals(), messages.c.sequence < bindparam("place"))
    .values(replaced_at=bindparam("replaced"))
)
