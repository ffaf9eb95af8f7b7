"""Conversations written into a file, one at a time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.errors import DatabaseBusy, NotFound
from mlops_backend.schemas.conversations.exports import FORMAT, VERSION
from mlops_backend.services.llm.dialects import dumped
from mlops_backend.services.other.conversations import images as stored_images
from mlops_backend.services.other.conversations import markdown as conversation_markdown
from mlops_backend.services.other.conversations import reads
from mlops_backend.services.other.conversations.rows import Conversation, Message, written
from mlops_backend.services.other.conversations.writes import in_order_of_id
from mlops_backend.services.other.database import Database, conversations
from mlops_backend.shares import NoTurn, Shares

# The pool has 15 connections, and the keys and the ledger need some of them whatever is exported.
AT_ONCE: Final = 4
_PATIENCE: Final = 30.0
_PAGE: Final = 2000
_PIECE: Final = 256 * 1024
# Ends of lines for some editors: one conversation is to stay one line.
_LINE_ENDS: Final = {b"\xc2\x85": rb"\u0085", b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029"}


@dataclass(frozen=True, slots=True)
class Whole:
    """A conversation, its messages with the replaced ones, and the bytes of what they show, by hash."""

    conversation: Conversation
    messages: Sequence[Message]
    images: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Format:
    """How a file is written: what stands before, between and behind its conversations, and one of these in pieces."""

    media_type: str
    suffix: str
    head: bytes
    between: bytes
    end: bytes
    pieces: Callable[[Whole], Iterator[bytes]]


class Exports:
    """Reads conversations as they are at one moment each; nothing is held between one and the next.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = Shares(AT_ONCE, AT_ONCE // 2, _PATIENCE)

    async def one(self, key_id: str, conversation_id: str) -> AsyncGenerator[Whole, None]:
        """One conversation.

        Raises:
            NotFound: the key has none of that id.
            DatabaseDown: it cannot be read.
        """
        yield await self._whole(key_id, conversation_id)

    async def every(self, key_id: str) -> AsyncGenerator[Whole, None]:
        """All of a key's, the oldest first; one that is begun or deleted meanwhile may be among them or not.

        Raises:
            DatabaseDown: one cannot be read.
        """
        after = ""
        while ids := await self._ids(key_id, after):
            for after in ids:
                try:
                    whole = await self._whole(key_id, after)
                except NotFound:
                    continue  # deleted since
                yield whole

    @asynccontextmanager
    async def _reading(self, key_id: str) -> AsyncIterator[AsyncConnection]:
        """A connection, when it is this key's turn: whoever exports much keeps nobody else from it."""
        try:
            async with self._turns.turn(key_id), self._database.reading() as connection:
                yield connection
        except NoTurn:
            raise DatabaseBusy("Too much is exported at present; try again soon.") from None

    async def _ids(self, key_id: str, after: str) -> Sequence[str]:
        mine = select(conversations.c.id).where(*in_order_of_id(key_id, after))
        query = mine.order_by(conversations.c.key_id, conversations.c.id).limit(_PAGE)
        async with self._reading(key_id) as connection:
            return (await connection.execute(query)).scalars().all()

    async def _whole(self, key_id: str, conversation_id: str) -> Whole:
        async with self._reading(key_id) as connection:
            await reads.see_one_moment(connection)
            conversation = await reads.one(connection, key_id, conversation_id)
            messages = await reads.messages_of(connection, conversation_id, replaced=True)
            hashes = (image.hash for message in messages for image in message.images)
            return Whole(conversation, messages, await stored_images.bytes_of(connection, hashes))


async def document(form: Format, wholes: AsyncGenerator[Whole, None]) -> AsyncGenerator[bytes, None]:
    """A file in pieces; the first comes when the first conversation is there.

    Raises:
        NotFound, DatabaseDown: as `wholes` does, before the first piece or between two.
    """
    before = form.head
    async with aclosing(wholes):
        async for whole in wholes:
            yield before
            before = form.between
            for piece in form.pieces(whole):
                yield piece
                await asyncio.sleep(0)  # a large one is not to keep the others waiting
    yield form.end if before is form.between else form.head + form.end


def _json_pieces(whole: Whole) -> Iterator[bytes]:
    """One line: an object, written member by member."""
    yield _opened(_told(whole.conversation)) + b',"messages":['
    yield from _joined(_escaped(dumped(_exported(message))) for message in whole.messages)
    yield b'],"images":{'
    yield from _joined(b'"%b":"%b"' % (name.encode(), base64.b64encode(data)) for name, data in whole.images.items())
    yield b"}}"


def _joined(members: Iterable[bytes]) -> Iterator[bytes]:
    """With commas between them, small ones together."""
    held, size, comma = [], 0, b""
    for member in members:
        held += [comma, member]
        size += len(member)
        comma = b","
        if size > _PIECE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _told(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "title": conversation.title,
        "model": conversation.model,
        "created_at": written(conversation.created_at),
        "updated_at": written(conversation.updated_at),
    }


def _exported(message: Message) -> dict[str, Any]:
    return {**message.shown(), "images": [image.hash for image in message.images]}


def _opened(told: Mapping[str, Any]) -> bytes:
    return _escaped(dumped(told))[:-1]


def _escaped(text: bytes) -> bytes:
    for end, escape in _LINE_ENDS.items():
        text = text.replace(end, escape)
    return text


def _markdown_pieces(whole: Whole) -> Iterator[bytes]:
    for piece in conversation_markdown.pieces(whole.conversation, whole.messages, whole.images):
        yield piece.encode("utf-8", "replace")


FORMATS: Final[Mapping[str, Format]] = {
    "json": Format(
        media_type="application/json",
        suffix="json",
        head=_opened({"format": FORMAT, "version": VERSION}) + b',"conversations":[\n',
        between=b",\n",
        end=b"\n]}\n",
        pieces=_json_pieces,
    ),
    "markdown": Format(
        media_type="text/markdown; charset=utf-8",
        suffix="md",
        head=b"",
        between=conversation_markdown.RULE.encode(),
        end=b"",
        pieces=_markdown_pieces,
    ),
}
