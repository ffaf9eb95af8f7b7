"""The two steps of an exchange, a question and its reply, as changes that are made together with others'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlops_backend.services.other.conversations import writes
from mlops_backend.services.other.conversations.bounds import Bounds, check_size
from mlops_backend.services.other.conversations.lots import Applied, NotTogether
from mlops_backend.services.other.conversations.rows import Conversation, Message, new_id
from mlops_backend.services.other.conversations.writes import Draft, Match


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that was stored, and the place that its reply will have.

    `last` is the sequence of the last message that the model is shown, and `message_id` that message's id; `model` the
    conversation's own, for a request that names none. `is_first` says that nothing stood behind the question at that
    version, and `shown` is what is said up to it, the newest first, where that was read along.
    """

    key_id: str
    conversation_id: str
    version: int
    message_id: str
    last: int
    reply_id: str
    reply_sequence: int
    model: str
    is_first: bool = False
    shown: Sequence[Message] | None = None


def turn_of(conversation: Conversation, message_id: str, last: int, place: int, *, is_first: bool) -> Turn:
    """The turn of a question in a conversation as it is with it."""
    return Turn(
        key_id=conversation.key_id,
        conversation_id=conversation.id,
        version=conversation.version,
        message_id=message_id,
        last=last,
        reply_id=new_id(conversation.updated_at),
        reply_sequence=place,
        model=conversation.model,
        is_first=is_first,
    )


@dataclass(frozen=True, slots=True)
class Question:
    """A message without images at the end, with a place for the reply behind it."""

    key_id: str
    conversation_id: str
    message: Message
    match: Match
    bounds: Bounds
    now: int
    size: int
    asks: bool = True

    def applied(self, mine: Conversation) -> Applied[Turn]:
        """See `Change`."""
        writes.check_version(mine, self.match)
        place = mine.next_sequence
        if place + 1 > self.bounds.messages:
            raise NotTogether  # its messages are to be counted
        asked = replace(self.message, sequence=place)
        newer = replace(
            mine,
            title=writes.titled(mine.title, [Draft(asked)]),
            next_sequence=place + 2,
            updated_at=self.now,
            version=mine.version + 1,
            message_count=mine.message_count + 1,
            bytes=mine.bytes + self.size,
        )
        check_size(newer, 0, self.bounds)
        return Applied(newer, [asked], turn_of(newer, asked.id, place, place + 1, is_first=True))

    def shown(self, result: Turn, newest_first: Sequence[Message]) -> Turn:
        """See `Change`."""
        return replace(result, shown=[message for message in newest_first if message.sequence <= result.last])


@dataclass(frozen=True, slots=True)
class Kept:
    """A reply at its place, while nothing has changed since its question."""

    turn: Turn
    reply: Message
    now: int
    size: int
    asks: bool = False

    @property
    def key_id(self) -> str:
        """See `Change`."""
        return self.turn.key_id

    @property
    def conversation_id(self) -> str:
        """See `Change`."""
        return self.turn.conversation_id

    def applied(self, mine: Conversation) -> Applied[int | None]:
        """See `Change`."""
        turn = self.turn
        if not turn.is_first or mine.version != turn.version:
            raise NotTogether  # it is to be seen what stands there by now
        newer = replace(
            mine,
            model=self.reply.model or mine.model,
            updated_at=self.now,
            version=mine.version + 1,
            message_count=mine.message_count + 1,
            bytes=mine.bytes + self.size,
        )
        return Applied(newer, [self.reply], newer.version)

    def shown(self, result: int | None, newest_first: Sequence[Message]) -> int | None:
        """See `Change`."""
        return result
