"""Images of messages: each kept once, by the SHA-256 of its bytes, for as long as some message shows it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeVar

from sqlalchemy import delete, exists, insert, select

from mlops_backend.aside import rest
from mlops_backend.errors import InvalidBody
from mlops_backend.services.other.conversations.rows import StoredImage
from mlops_backend.services.other.database import Statements, images, insert_into, message_images, messages

T = TypeVar("T")

_CHUNK: Final = 500
_BEGINNINGS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image and its bytes."""

    stored: StoredImage
    data: bytes


def decoded(texts: Sequence[str], *loc: str | int) -> list[Image]:
    """Read images as clients send them.

    Args:
        texts: base64, without a `data:` prefix.
        loc: where in the body they stand, for the error.

    Raises:
        InvalidBody: one is no base64, or no image of a kind that is known.
    """
    return [decode(text, (*loc, index)) for index, text in enumerate(texts)]


def decode(text: str, loc: Sequence[str | int]) -> Image:
    """Read one image; see `decoded`."""
    rest()
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(loc, "must be base64, without a data: prefix") from None
    if not (media_type := _media_type(data)):
        raise invalid(loc, "must be a PNG, JPEG, GIF or WebP image")
    return Image(StoredImage(sha256(data).hexdigest(), media_type, len(data)), data)


def _media_type(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for beginning, media_type in _BEGINNINGS if data.startswith(beginning)), "")


def invalid(loc: Sequence[str | int], what: str) -> InvalidBody:
    """What is wrong at a place of the body."""
    return InvalidBody("The body does not fit the schema.", [{"loc": list(loc), "msg": what, "type": "value_error"}])


async def keep(connection: Statements, shown: Mapping[int, Sequence[Image]]) -> None:
    """Keep the images of messages, given by their numbers.

    In the order of their hashes: two writers of the same images wait for each other, and never crosswise.
    """
    every = {image.stored.hash: image for of_message in shown.values() for image in of_message}
    statement = insert_into(images, connection.dialect.name).on_conflict_do_nothing(index_elements=["hash"])
    for some in _chunks(sorted(every)):
        await connection.execute(statement, [_row(every[name]) for name in some])
    links = [
        {"message_number": number, "position": position, "hash": image.stored.hash}
        for number, of_message in shown.items()
        for position, image in enumerate(of_message)
    ]
    for chunk in _chunks(links):
        await connection.execute(insert(message_images), chunk)


def _row(image: Image) -> Mapping[str, Any]:
    stored = image.stored
    return {"hash": stored.hash, "media_type": stored.media_type, "size": stored.size, "data": image.data}


async def of_messages(connection: Statements, numbers: Iterable[int]) -> dict[int, list[StoredImage]]:
    """The images of messages, by their numbers, without their bytes."""
    found: dict[int, list[StoredImage]] = {}
    columns = (message_images.c.message_number, images.c.hash, images.c.media_type, images.c.size)
    joined = select(*columns).join(images, images.c.hash == message_images.c.hash)
    for some in _chunks(list(numbers)):
        query = joined.where(message_images.c.message_number.in_(some)).order_by(
            message_images.c.message_number, message_images.c.position
        )
        for number, *image in await connection.execute(query):
            found.setdefault(number, []).append(StoredImage(*image))
    return found


async def of_conversation(connection: Statements, conversation_id: str, hash_: str) -> tuple[str, bytes] | None:
    """Media type and bytes of an image that some message of the conversation shows."""
    query = (
        select(images.c.media_type, images.c.data)
        .join(message_images, message_images.c.hash == images.c.hash)
        .join(messages, messages.c.number == message_images.c.message_number)
        .where(images.c.hash == hash_, messages.c.conversation_id == conversation_id)
        .limit(1)
    )
    row: Any = (await connection.execute(query)).one_or_none()
    return None if row is None else (str(row[0]), bytes(row[1]))


async def bytes_of(connection: Statements, hashes: Iterable[str]) -> dict[str, bytes]:
    """The bytes of images, by hash."""
    found: dict[str, bytes] = {}
    for some in _chunks(list(dict.fromkeys(hashes))):
        query = select(images.c.hash, images.c.data).where(images.c.hash.in_(some))
        found.update({name: bytes(data) for name, data in await connection.execute(query)})
    return found


async def shown_by(connection: Statements, conversation_id: str, after: int) -> list[str]:
    """The hashes of what the messages behind a sequence show, before they are deleted."""
    query = (
        select(message_images.c.hash)
        .join(messages, messages.c.number == message_images.c.message_number)
        .where(messages.c.conversation_id == conversation_id, messages.c.sequence > after)
        .distinct()
    )
    return list((await connection.execute(query)).scalars())


async def drop_unused(connection: Statements, hashes: Sequence[str]) -> None:
    """Delete those of the images that no message shows any more."""
    for some in _chunks(sorted(hashes)):
        unused = ~exists(select(message_images.c.hash).where(message_images.c.hash == images.c.hash))
        await connection.execute(delete(images).where(images.c.hash.in_(some), unused))


def _chunks(values: Sequence[T]) -> Iterable[Sequence[T]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
