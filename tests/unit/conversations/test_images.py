"""Images: read from base64, kept once by their hash, and dropped with the last message that shows them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.errors import InvalidBody
from mlops_backend.schemas.conversations.bodies import CreateConversationRequest
from mlops_backend.services.other.conversations import images as stored_images
from mlops_backend.services.other.conversations.bounds import Bounds
from mlops_backend.services.other.conversations.images import Image
from mlops_backend.services.other.conversations.rows import Message, StoredImage
from mlops_backend.services.other.conversations.service import Conversations
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import conversations, images, message_images, messages
from tests.ledger_rows import opened

BEGINNINGS: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"RIFF\0\0\0\0WEBP": "image/webp",
}
NO_IMAGES: Final = (
    b"",
    b"\x89PNG",
    b"RIFF\0\0\0\0WAVE",
    b"GIF88a",
    b"<svg/>",
    b"%PDF-1.7",
    b"BM",
    b"\xff\xd8",
    b"xGIF89a",
)
NO_BASE64: Final = (
    "?",
    "a",
    "ab=c",
    "YWJj\n",
    " YWJj",
    "data:image/png;base64,iVBORw0KGgo=",
    "\u00e9\u00e9\u00e9\u00e9",
    "YW-_",
    "\0",
)


def image(data: bytes) -> Image:
    """An image of the bytes, whatever they are."""
    return Image(StoredImage(sha256(data).hexdigest(), "image/png", len(data)), data)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with one conversation."""
    async with opened(database_url) as found:
        await Conversations(found, Bounds(10, 10, 10_000, 10_000)).create(
            "tester", CreateConversationRequest.model_validate({})
        )
        yield found


async def show(connection: AsyncConnection, sequence: int, shown: Sequence[Image]) -> int:
    """Keep a message with images; its number."""
    of = (await connection.execute(select(conversations.c.id, conversations.c.owner))).one()
    row = Message(id=f"m{sequence}", sequence=sequence, role="user").row(of.id, of.owner)
    number = (await connection.execute(insert(messages).returning(messages.c.number), [row])).scalar_one()
    await stored_images.keep(connection, {number: shown})
    return int(number)


@given(st.sampled_from(list(BEGINNINGS)), st.binary(max_size=200))
def test_an_image_is_known_by_its_beginning(beginning: bytes, rest: bytes) -> None:
    """PNG, JPEG, GIF and WebP, whatever follows; what was sent can be sent again, letter by letter."""
    text = base64.b64encode(beginning + rest).decode()
    (found,) = stored_images.decoded([text], "images")
    assert found.data == beginning + rest
    assert found.stored == StoredImage(sha256(found.data).hexdigest(), BEGINNINGS[beginning], len(found.data))
    assert base64.b64encode(found.data).decode() == text


@pytest.mark.parametrize("data", NO_IMAGES)
def test_anything_else_is_no_image(data: bytes) -> None:
    """Other formats and halves of the known ones are refused, with their place."""
    good = base64.b64encode(b"GIF89a").decode()
    with pytest.raises(InvalidBody) as refused:
        stored_images.decoded([good, base64.b64encode(data).decode()], "messages", 3, "images")
    assert [detail["loc"] for detail in refused.value.details] == [["messages", 3, "images", 1]]


@pytest.mark.parametrize("text", NO_BASE64)
def test_what_is_not_base64_is_refused(text: str) -> None:
    """Nothing is skipped or made up."""
    with pytest.raises(InvalidBody) as refused:
        stored_images.decoded([text], "images")
    assert refused.value.details[0]["msg"] == "must be base64, without a data: prefix"


async def test_each_is_kept_once(database: Database) -> None:
    """In the order in which each message shows them, doubles too; the bytes are there once."""
    one, two = image(b"1"), image(b"2")
    async with database.writing() as connection:
        first = await show(connection, 1, [two, one, two])
        second = await show(connection, 2, [one])
        none = await show(connection, 3, [])
        found = await stored_images.of_messages(connection, [first, second, none, 12345])
        assert found == {first: [two.stored, one.stored, two.stored], second: [one.stored]}
        assert sorted((await connection.execute(select(images.c.data))).scalars()) == [b"1", b"2"]
        hashes = [two.stored.hash, one.stored.hash, two.stored.hash, "0" * 64]
        assert await stored_images.bytes_of(connection, hashes) == {one.stored.hash: b"1", two.stored.hash: b"2"}


async def test_many_messages_are_looked_up(database: Database) -> None:
    """More of them than a statement takes at once, each with its own."""
    async with database.writing() as connection:
        numbers = [await show(connection, sequence, [image(b"%d" % (sequence % 7))]) for sequence in range(1, 30)]
        found = await stored_images.of_messages(connection, [*numbers, *range(10_000, 13_000)])
        assert [each.hash for number in numbers for each in found[number]] == [
            image(b"%d" % (sequence % 7)).stored.hash for sequence in range(1, 30)
        ]


async def test_the_last_message_takes_them_along(database: Database) -> None:
    """Those of a range of messages are named before they go; what another one shows stays."""
    one, two, three = image(b"1"), image(b"2"), image(b"3")
    async with database.writing() as connection:
        await show(connection, 1, [one, two])
        await show(connection, 2, [two, three, three])
        of = (await connection.execute(select(conversations.c.id))).scalar_one()
        assert set(await stored_images.shown_by(connection, of, 0)) == {each.stored.hash for each in (one, two, three)}
        gone = await stored_images.shown_by(connection, of, 1)
        assert sorted(gone) == sorted({two.stored.hash, three.stored.hash})
        assert await stored_images.shown_by(connection, "another", 0) == []
        await stored_images.drop_unused(connection, gone)
        assert len((await connection.execute(select(images.c.hash))).all()) == 3
        await connection.execute(delete(messages).where(messages.c.sequence > 1))
        await stored_images.drop_unused(connection, gone)
        assert set((await connection.execute(select(images.c.data))).scalars()) == {b"1", b"2"}
        assert len((await connection.execute(select(message_images))).all()) == 2
        assert await stored_images.of_conversation(connection, of, one.stored.hash) == ("image/png", b"1")
        assert await stored_images.of_conversation(connection, of, three.stored.hash) is None
        assert await stored_images.of_conversation(connection, "another", one.stored.hash) is None
