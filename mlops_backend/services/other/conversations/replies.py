"""Replies: a stored question goes through the one door to inference, and what comes back is kept as it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter, time
from typing import Any, Final, Literal, Protocol

from mlops_backend.principal import Principal
from mlops_backend.services.llm.dialects import dumped, parse_object
from mlops_backend.services.other.conversations.history import history, of_all, room
from mlops_backend.services.other.conversations.kept_replies import KeptReplies
from mlops_backend.services.other.conversations.passing import Passing
from mlops_backend.services.other.conversations.reply_text import ReplyText
from mlops_backend.services.other.conversations.rows import Message
from mlops_backend.services.other.conversations.steps import Turn
from mlops_backend.services.other.database import Database
from mlops_backend.services.other.usage import fitting
from mlops_backend.telemetry.record import RequestRecord, Straight

_LONGEST_NAME: Final = 512
_CLIENT_WAITS: Final = 5.0
_DRAINED_CLIENT_WAITS: Final = 0.3


class Door(Protocol):
    """The way to inference, where keys, limits and the ledger are."""

    async def call(self, operation: Literal["chat"], body: Mapping[str, Any], record: RequestRecord) -> bytes:
        """One whole answer."""
        ...

    async def stream(
        self, operation: Literal["chat"], body: Mapping[str, Any], record: RequestRecord
    ) -> AsyncGenerator[bytes, None]:
        """A stream of whole lines."""
        ...

    async def context_length(self, model: str, caller: Principal | None) -> int | None:
        """How many tokens a model takes, as far as anybody tells."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client is answered, whole or as lines; `omitted` counts the messages that a model was not shown.

    `through` makes of a straight way to the client one that keeps what passes.
    """

    omitted: int
    body: bytes | AsyncGenerator[bytes, None]
    through: Callable[[Straight], Straight] | None = None


class Replies:
    """Asks, and relays what is answered.

    Args:
        database: where the history is read.
        kept: where replies go.
        door: the way to inference.
        context: tokens that a model is taken to have, of which nobody tells more.
    """

    def __init__(self, database: Database, kept: KeptReplies, door: Door, context: int) -> None:
        self._database = database
        self._kept = kept
        self._door = door
        self._context = context

    async def reply(self, turn: Turn, asked: Mapping[str, Any], record: RequestRecord, *, stream: bool) -> Reply:
        """The reply to a question that was stored; its first bytes have already arrived.

        Args:
            turn: the question, and the place of the reply.
            asked: what a model may be told beside the messages.
            record: filled in on the way.
            stream: whether its lines are wanted as they come.

        Raises:
            AppError: whatever kept the reply away; the question stays.
        """
        body, omitted = await self._body(turn, asked, record)
        turn = replace(turn, shown=None)  # the texts are not held for as long as the model speaks
        if stream:
            lines = await self._door.stream("chat", body, record)
            passing = Passing(record)
            return Reply(omitted, self._relayed(turn, omitted, lines, record, passing), passing.through)
        whole = await self._door.call("chat", body, record)
        return Reply(omitted, await self._whole(turn, omitted, whole, record))

    async def _body(self, turn: Turn, asked: Mapping[str, Any], record: RequestRecord) -> tuple[dict[str, Any], int]:
        model = str(asked.get("model") or turn.model)
        turned: list[None] = []  # whether others had a turn meanwhile, who may have deleted what was read before
        turn_of_others = asyncio.get_running_loop().call_soon(turned.append, None)
        context = _wanted_context(asked) or await self._door.context_length(model, record.caller) or self._context
        turn_of_others.cancel()
        if turn.shown is not None and not turned:
            shown = await of_all(turn.shown, room(context, asked))
        else:
            async with self._database.reading() as connection:
                shown = await history(connection, turn.conversation_id, turn.last, room(context, asked))
        named = {"model": model} if model else {}
        return {**asked, **named, "messages": shown.messages}, shown.omitted

    async def _relayed(
        self,
        turn: Turn,
        omitted: int,
        lines: AsyncGenerator[bytes, None],
        record: RequestRecord,
        passing: Passing,
    ) -> AsyncGenerator[bytes, None]:
        """The lines as they come; the last one when the reply is kept.

        A line counts as sent when the next one is asked for, which the client's connection does once it has taken it.
        """
        text = passing.text
        try:
            async for chunk in lines:
                if passing.held:  # it was not the last one
                    yield (held := passing.released())
                    text.add(held)
                if not passing.holds(chunk):
                    yield chunk
                    text.add(chunk)
        except BaseException:
            try:
                await lines.aclose()
            finally:
                self._keep(turn, omitted, text, record)
            raise
        held = passing.ended()
        keeping = self._keep(turn, omitted, text, record)
        # When the process stops every stream ends at once, and each is to have its end.
        seconds = _DRAINED_CLIENT_WAITS if record.outcome == "drained" else _CLIENT_WAITS
        place = await self._place(turn, omitted, keeping, seconds)
        if held:
            yield _with_place(held, place)

    async def _whole(self, turn: Turn, omitted: int, answer: bytes, record: RequestRecord) -> bytes:
        text = ReplyText()
        text.take(parse_object(answer))
        keeping = self._keep(turn, omitted, text, record)
        return _with_place(answer, await self._place(turn, omitted, keeping, _CLIENT_WAITS))

    async def _place(
        self, turn: Turn, omitted: int, keeping: asyncio.Task[int | None] | None, seconds: float
    ) -> dict[str, Any]:
        """What the last object tells of where the reply is kept; it waits for that, but not for long."""
        version = None
        if keeping is not None:
            await asyncio.wait({keeping}, timeout=seconds)
            version = keeping.result() if keeping.done() and not keeping.cancelled() else None
        is_none = keeping is None or (keeping.done() and version is None)
        return {
            "id": turn.conversation_id,
            "version": version or turn.version,
            "message_id": turn.message_id,
            "reply_id": None if is_none else turn.reply_id,
            "omitted_messages": omitted,
            "stored": version is not None,
        }

    def _keep(
        self, turn: Turn, omitted: int, text: ReplyText, record: RequestRecord
    ) -> asyncio.Task[int | None] | None:
        """Keep what has come of a reply; where not a word had, there is none, unless that was the whole of it."""
        text.read()
        outcome = record.outcome or "error"
        if outcome != "done" and not (text.content or text.thinking or text.tool_calls):
            return None
        return self._kept.keep(turn, _message(turn, omitted, text, record, outcome))


def _wanted_context(asked: Mapping[str, Any]) -> int | None:
    options = asked.get("options")
    wanted = options.get("num_ctx") if isinstance(options, Mapping) else None
    return int(wanted) if isinstance(wanted, int | float) and wanted >= 1 else None


def _message(turn: Turn, omitted: int, text: ReplyText, record: RequestRecord, outcome: str) -> Message:
    first_byte = record.first_byte
    return Message(
        id=turn.reply_id,
        sequence=turn.reply_sequence,
        role="assistant",
        content=text.content,
        thinking=text.thinking,
        tool_calls=text.tool_calls,
        created_at=int(time() * 1000),
        model=fitting(text.model or record.model, _LONGEST_NAME),
        outcome=outcome,
        error="too_long_to_keep" if text.too_long else record.error,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        estimated=record.estimated,
        omitted=omitted,
        first_byte_ms=None if first_byte is None else round((first_byte - record.started) * 1000),
        total_ms=round((perf_counter() - record.started) * 1000),
    )


def _with_place(lines: bytes, place: Mapping[str, Any]) -> bytes:
    """The last object with one member more; every byte that it had stays."""
    body = lines.rstrip()
    if not body.endswith(b"}"):
        return lines
    comma = b"" if body == b"{}" else b","
    return body[:-1] + comma + b'"conversation":' + dumped(place) + b"}" + lines[len(body) :]
