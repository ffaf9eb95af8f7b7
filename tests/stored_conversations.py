"""Stored conversations in tests: a backend whose replies tell the question, replies as clients read them, a recount."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import RowMapping, Table, select
from sqlalchemy.exc import DBAPIError

from mlops_backend.services.other.conversations.rows import Conversation, Message, StoredImage, owner_of
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import (
    conversation_owners,
    conversations,
    images,
    message_images,
    messages,
)
from tests.fakes.gate import Gate
from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama import FakeOllama, Mode
from tests.fakes.ollama_infer import infer
from tests.fakes.ollama_modes import Script

CONVERSATIONS: Final = "/api/database/conversations"
# Two of the smallest images there are, as far as anybody looks.
PICTURES: Final = (b"\x89PNG\r\n\x1a\n" + b"one", b"GIF89a" + b"two")
_INTEGRITY: Final = "INSERT INTO message_words (message_words, rank) VALUES ('integrity-check', 1)"


@dataclass(kw_only=True, eq=False)
class EchoingOllama(FakeOllama):
    """Replies with `re` and the words of the question.

    A question that names a mode, as `CUT_MID_STREAM`, gets it; the gate is only for those that say `wait`.
    """

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer as the question wants it."""
        if request.path != "/api/chat":
            await super().answer(connection, request)
            return
        question = json.loads(request.body)["messages"][-1]["content"]
        said = question.split()
        mode = next((mode for mode in Mode if mode.name in said), Mode.NORMAL)
        gate = self.gate if "wait" in said else Gate()
        script = Script(words=echo_of(question), mode=mode, gate=gate, models=self.models, token_delay=0.005)
        await infer(script, connection, request, request.path)


def echo_of(question: str) -> tuple[str, ...]:
    """The reply of an `EchoingOllama`, in its tokens."""
    return tuple(f" {word}" for word in ("re", *question.split()))


@dataclass
class Heard:
    """A reply, put together from what a client has received; `place` is what the last object tells beside it."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> dict[str, Any]:
        """Where the reply is kept."""
        return dict(self.last["conversation"])

    def is_as(self, stored: Mapping[str, Any]) -> bool:
        """Whether a stored message has the same text, thoughts and calls."""
        kept = (stored["content"], stored.get("thinking", ""), stored.get("tool_calls", []))
        return kept == (self.content, self.thinking, self.tool_calls)


def heard(received: bytes) -> Heard:
    """Read lines, or events, or one whole answer."""
    reply = Heard()
    for line in received.split(b"\n"):
        text = line.removeprefix(b"data: ")
        if not text.startswith(b"{"):
            continue
        reply.last = json.loads(text)
        message = reply.last.get("message", {})
        reply.content += message.get("content", "")
        reply.thinking += message.get("thinking", "")
        reply.tool_calls += message.get("tool_calls", [])
    return reply


async def contradictions(database: Database) -> list[str]:
    """What in the tables does not agree with a recount of the messages; nothing, if all is well."""
    stored = await _read(database, conversations, messages, conversation_owners, images, message_images)
    of_conversation = defaultdict(list)
    for message in _messages(stored):
        of_conversation[message["conversation_id"]].append(message)
    known = [Conversation(**row) for row in stored["conversations"]]
    found = [
        f"{each.id}: {fault}" for each in known for fault in _of_conversation(each, of_conversation.pop(each.id, []))
    ]
    found += [f"messages of {name}, which is not there" for name in of_conversation]
    found += _of_owners(known, stored["conversation_owners"])
    found += _of_images(stored)
    return found + await _of_index(database)


async def _read(database: Database, *tables: Table) -> dict[str, Sequence[RowMapping]]:
    async with database.reading() as connection:
        return {table.name: (await connection.execute(select(table))).mappings().all() for table in tables}


def _messages(stored: Mapping[str, Sequence[RowMapping]]) -> list[dict[str, Any]]:
    """Every row, in order, with its own size as it should be."""
    sizes = {row["hash"]: StoredImage(row["hash"], row["media_type"], row["size"]) for row in stored["images"]}
    shown = defaultdict(list)
    for link in stored["message_images"]:
        shown[link["message_number"]].append(sizes.get(link["hash"], StoredImage("", "", -1)))
    rows = sorted(stored["messages"], key=lambda row: row["sequence"])
    return [{**row, "recounted": Message.of_row(dict(row)).with_images(shown[row["number"]]).size} for row in rows]


def _of_conversation(conversation: Conversation, rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    titles = [row["content"] for row in rows if row["sequence"] == 0]
    said = [row for row in rows if row["sequence"] > 0]
    if titles != [conversation.title][: len(conversation.title)]:
        yield f"titles {titles}, not {conversation.title!r}"
    if (count := sum(row["replaced_at"] is None for row in said)) != conversation.message_count:
        yield f"{count} messages, {conversation.message_count} counted"
    if (size := sum(row["recounted"] for row in said)) != conversation.bytes:
        yield f"{size} bytes, {conversation.bytes} counted"
    if any(row["bytes"] != row["recounted"] for row in said):
        yield "a message is counted with another size than it has"
    if said and said[-1]["sequence"] >= conversation.next_sequence:
        yield f"a message at {said[-1]['sequence']}, the next one at {conversation.next_sequence}"
    if {row["owner"] for row in rows} - {owner_of(conversation.key_id)}:
        yield "a message of another owner"
    yield from _of_replies(said)


def _of_replies(said: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """One current reply to a question at most, and none without one."""
    current = 1
    for row in said:
        if row["role"] in {"user", "tool"}:
            current = 0
        elif row["outcome"] and row["replaced_at"] is None:
            current += 1
            if current > 1:
                yield f"a second current reply to one question, or one without, at {row['sequence']}"


def _of_owners(known: Iterable[Conversation], counted: Iterable[RowMapping]) -> Iterable[str]:
    numbers, sizes = Counter[str](), Counter[str]()
    for each in known:
        numbers[each.key_id] += 1
        sizes[each.key_id] += each.bytes
    for row in counted:
        recounted = (numbers.pop(row["key_id"], 0), sizes[row["key_id"]])
        if recounted != (row["conversations"], row["bytes"]):
            yield f"{row['key_id']} has {recounted}, {row['conversations']} and {row['bytes']} are counted"
    yield from (f"{key_id} is not counted" for key_id in numbers)


def _of_images(stored: Mapping[str, Sequence[RowMapping]]) -> Iterable[str]:
    kept, numbers = ({row["hash"] for row in stored["images"]}, {row["number"] for row in stored["messages"]})
    shown = {row["hash"] for row in stored["message_images"]}
    if kept != shown:
        yield f"images that no message shows: {kept - shown}; that are not there: {shown - kept}"
    if not {row["message_number"] for row in stored["message_images"]} <= numbers:
        yield "images of messages that are not there"


async def _of_index(database: Database) -> list[str]:
    """SQLite compares its full-text index with the texts itself; PostgreSQL's is a column that it generates."""
    if not database.is_sqlite:
        return []
    try:
        async with database.writing() as connection:
            await connection.exec_driver_sql(_INTEGRITY)
    except DBAPIError as error:
        return [f"the full-text index: {error.orig}"]
    return []
