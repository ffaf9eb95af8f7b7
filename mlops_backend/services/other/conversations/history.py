"""What a model is shown of a conversation: as much of its end as the context takes, and who it is told to be."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.errors import Conflict
from mlops_backend.services.other.conversations import images as stored_images
from mlops_backend.services.other.conversations import reads
from mlops_backend.services.other.conversations.rows import Message
from mlops_backend.services.other.database import messages

_PORTION: Final = 50
_ASCII_PER_TOKEN: Final = 3
# However large a context is said to be: all of it is in memory for as long as the model speaks, more than once.
MOST_BYTES: Final = 16 * 1024 * 1024
_TOKENS_PER_MESSAGE: Final = 8
# What today's models make of one image is between 256 and 1,600 tokens.
_TOKENS_PER_IMAGE: Final = 768


@dataclass(frozen=True, slots=True)
class History:
    """The messages of a request, as a model takes them; `omitted` counts those that did not fit."""

    messages: Sequence[Mapping[str, Any]]
    omitted: int


def room(context: int, asked: Mapping[str, Any]) -> int:
    """How many tokens of a context may be history.

    Args:
        context: what the model takes, prompt and reply together.
        asked: the request's own fields: a reply of `num_predict` tokens is left room for, within half of the context,
            or else a quarter of it; tools count as they are written.
    """
    options = asked.get("options")
    most = options.get("num_predict") if isinstance(options, Mapping) else None
    half, quarter = context // 2, context // 4
    reply = int(min(most, half)) if isinstance(most, int | float) and most > 0 else quarter
    tools = sum(tokens_of(str(tool)) for tool in asked.get("tools") or ())
    return context - reply - tools


def tokens_of(text: str) -> int:
    """A guess that errs towards too many: a token for three letters of ASCII, or for one of anything else."""
    if text.isascii():
        return -(-len(text) // _ASCII_PER_TOKEN)
    ascii_ = len(text.encode("ascii", "ignore"))
    return -(-ascii_ // _ASCII_PER_TOKEN) + len(text) - ascii_


async def history(connection: AsyncConnection, conversation_id: str, last: int, tokens: int) -> History:
    """The end of a conversation, in whole turns: from one message of a user to the next.

    Args:
        connection: to read with.
        conversation_id: which one.
        last: sequence of the message to reply to; it is always there, with its turn, whatever its size.
        tokens: how many there may be, what the system says included.

    Raises:
        Conflict: somebody has deleted that message.
    """
    await reads.see_one_moment(connection)
    first = await reads.portion_of(connection, conversation_id, last, _PORTION)
    if len(first) < _PORTION:
        system = [message for message in first if message.role == "system"]
    else:
        system = await reads.system_messages(connection, conversation_id, last)
    left = tokens - sum(map(_tokens, system))
    async with aclosing(_backwards(connection, conversation_id, first)) as backwards:
        kept, is_all = await _fitting(backwards, left)
    if not kept or kept[0].sequence != last:
        raise Conflict("What was asked is not there any more.")
    shown = sorted([*system, *kept], key=lambda message: message.sequence)
    omitted = 0 if is_all else await _number_of(connection, conversation_id, last) - len(shown)
    hashes = [image.hash for message in shown for image in message.images]
    data = await stored_images.bytes_of(connection, hashes)
    lines = [_line(message, data) for message in shown if not _says_nothing(message)]
    return History(lines, omitted)


async def of_all(newest_first: Sequence[Message], tokens: int) -> History:
    """The same of a conversation whose messages are all here, none of them with an image."""
    system = [message for message in newest_first if message.role == "system"]
    async with aclosing(_each(newest_first)) as backwards:
        kept, _ = await _fitting(backwards, tokens - sum(map(_tokens, system)))
    shown = sorted([*system, *kept], key=lambda message: message.sequence)
    lines = [_line(message, {}) for message in shown if not _says_nothing(message)]
    return History(lines, len(newest_first) - len(shown))


async def _each(read: Sequence[Message]) -> AsyncGenerator[Message, None]:
    for message in read:
        yield message


async def _backwards(
    connection: AsyncConnection, conversation_id: str, first: Sequence[Message]
) -> AsyncGenerator[Message, None]:
    """The messages that were read already, and those before them as they are needed."""
    for message in first:
        yield message
    if len(first) == _PORTION:
        async with aclosing(
            reads.newest_first(connection, conversation_id, first[-1].sequence - 1, _PORTION)
        ) as before:
            async for message in before:
                yield message


async def _fitting(backwards: AsyncGenerator[Message, None], left: int) -> tuple[list[Message], bool]:
    """Whole turns, as long as they fit, and whether all do; the newest one is there anyway."""
    kept: list[Message] = []
    turn: list[Message] = []
    left_bytes = MOST_BYTES
    async for message in backwards:
        if message.role == "system":
            continue
        turn.append(message)
        left -= _tokens(message)
        left_bytes -= message.size
        if kept and (left < 0 or left_bytes < 0):
            return kept, False
        if message.role == "user":
            kept += turn
            turn = []
    return kept + turn, True


async def _number_of(connection: AsyncConnection, conversation_id: str, last: int) -> int:
    every = select(func.count()).select_from(reads.said(conversation_id).where(messages.c.sequence <= last).subquery())
    return int((await connection.execute(every)).scalar_one())


def _tokens(message: Message) -> int:
    thoughts = message.thinking if message.tool_calls else ""  # see `_line`
    texts = (message.content, thoughts, *map(str, message.tool_calls))
    return sum(map(tokens_of, texts)) + _TOKENS_PER_MESSAGE + _TOKENS_PER_IMAGE * len(message.images)


def _says_nothing(message: Message) -> bool:
    """Whether it is a reply that was cut short before its first word, which would only confuse a model."""
    return message.role == "assistant" and not (message.content or message.tool_calls)


def _line(message: Message, data: Mapping[str, bytes]) -> dict[str, Any]:
    """A message in Ollama's words; what a model thought is shown to it again only with the tools that it called."""
    line: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        shown = [data[image.hash] for image in message.images if image.hash in data]
        line["images"] = [base64.b64encode(each).decode() for each in shown]
    if message.tool_calls:
        line["tool_calls"] = list(message.tool_calls)
        line |= {"thinking": message.thinking} if message.thinking else {}
    if message.tool_name:
        line["tool_name"] = message.tool_name
    return line
