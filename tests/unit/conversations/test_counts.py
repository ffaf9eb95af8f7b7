"""Whatever is done to conversations, in whatever order: what is counted of them is what is there."""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text

from mlops_backend.errors import AppError
from mlops_backend.schemas.conversations.bodies import (
    AppendRequest,
    AskRequest,
    ChangeConversationRequest,
    CreateConversationRequest,
)
from mlops_backend.services.other.conversations.bounds import Bounds
from mlops_backend.services.other.conversations.rows import Message
from mlops_backend.services.other.conversations.service import Conversations
from mlops_backend.services.other.conversations.steps import Turn
from mlops_backend.services.other.conversations.together import Together
from mlops_backend.services.other.conversations.turns import Turns, question
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import (
    conversation_owners,
    conversations,
    images,
    message_images,
    messages,
)

BOUNDS: Final = Bounds(3, 12, 400, 700)
KEYS: Final = ("tester", "other")
IMAGES: Final = [base64.b64encode(b"GIF89a" + bytes([n]) * n).decode() for n in (1, 30)]
a_step = st.tuples(
    st.sampled_from(("begin", "ask", "ask", "again", "keep", "keep", "keep", "append", "cut", "name", "delete", "all")),
    st.sampled_from(KEYS),
    st.integers(0, 9),
    st.integers(0, 60),
    st.lists(st.sampled_from(IMAGES), max_size=2),
)
Step = tuple[str, str, int, int, list[str]]


def anything(_: int) -> bool:
    """Each version is wanted."""
    return True


class World:
    """Two keys' conversations in one database, and the replies that are still on their way."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.conversations = Conversations(database, BOUNDS)
        self.turns = Turns(self.conversations, Together(database, BOUNDS), BOUNDS)
        self.open: list[Turn] = []
        self.made: list[tuple[str, str]] = []

    async def do(self, step: Step) -> None:
        """One change, which may be refused: then nothing of it must be there."""
        what, key, which, size, shown = step
        before = await self.state()
        try:
            await getattr(self, f"_{what}")(key, which, "x" * size, shown)
        except AppError:
            assert await self.state() == before
        await self.check()

    async def _begin(self, key: str, which: int, said: str, shown: list[str]) -> None:
        asked = {"title": f"t{which}", "messages": [_said("user", said, shown), _said("assistant", said)][: which % 3]}
        made, _ = await self.conversations.create(key, CreateConversationRequest.model_validate(asked))
        self.made.append((key, made.id))

    async def _ask(self, key: str, which: int, said: str, shown: list[str]) -> None:
        asked = AskRequest.model_validate({"content": f"?{said}", "images": shown})
        self.open.append(await self.turns.ask(*self._one(which, key), question(asked, 1), anything))

    async def _again(self, key: str, which: int, said: str, shown: list[str]) -> None:
        self.open.append(await self.turns.again(*self._one(which, key), anything))

    async def _keep(self, key: str, which: int, said: str, shown: list[str]) -> None:
        if self.open:
            turn = self.open[which % len(self.open)]  # which stays: a reply may be kept twice
            reply = Message(turn.reply_id, turn.reply_sequence, "assistant", said, outcome="done")
            await self.turns.keep(turn, reply)

    async def _append(self, key: str, which: int, said: str, shown: list[str]) -> None:
        asked = AppendRequest.model_validate({"messages": [_said("user", said, shown), _said("system", said)]})
        await self.conversations.append(*self._one(which, key), asked.messages, anything)

    async def _cut(self, key: str, which: int, said: str, shown: list[str]) -> None:
        own = self._one(which, key)
        _, there = await self.conversations.get(*own, replaced=True)
        after = there[len(said) % len(there)].id if there and which % 4 else None
        await self.conversations.truncate(*own, after, anything)

    async def _name(self, key: str, which: int, said: str, shown: list[str]) -> None:
        asked = ChangeConversationRequest.model_validate({"title": f"t{said}"})
        await self.conversations.update(*self._one(which, key), asked, anything)

    async def _delete(self, key: str, which: int, said: str, shown: list[str]) -> None:
        await self.conversations.delete(*self._one(which, key), anything)

    async def _all(self, key: str, which: int, said: str, shown: list[str]) -> None:
        if which == 0:
            await self.conversations.delete_all(key)

    def _one(self, which: int, key: str) -> tuple[str, str]:
        return self.made[-1 - which % len(self.made)] if self.made else (key, "none")

    async def state(self) -> dict[str, list[Any]]:
        """All that is stored, but for places that are kept for replies."""
        async with self.database.reading() as connection:
            found = {
                table.name: list((await connection.execute(select(table))).mappings())
                for table in (conversations, conversation_owners, messages, images, message_images)
            }
        return {name: [dict(row) for row in rows] for name, rows in found.items()}

    async def check(self) -> None:
        """Every count is what it counts."""
        there = await self.state()
        said = [row for row in there["messages"] if row["sequence"] > 0]
        for row in there["conversations"]:
            own = [each for each in said if each["conversation_id"] == row["id"]]
            assert row["message_count"] == sum(each["replaced_at"] is None for each in own)
            assert row["bytes"] == sum(each["bytes"] for each in own)
            assert row["next_sequence"] > max((each["sequence"] for each in own), default=0)
            titles = [
                each for each in there["messages"] if each["conversation_id"] == row["id"] and not each["sequence"]
            ]
            assert [each["content"] for each in titles] == [row["title"]] * bool(row["title"])
        for owner in there["conversation_owners"]:
            own = [row for row in there["conversations"] if row["key_id"] == owner["key_id"]]
            assert (owner["conversations"], owner["bytes"]) == (len(own), sum(row["bytes"] for row in own))
            assert len(own) <= BOUNDS.conversations
        sizes = {row["hash"]: row["size"] for row in there["images"]}
        assert sizes.keys() == {row["hash"] for row in there["message_images"]}
        for each in said:
            shown = sum(
                sizes[row["hash"]] for row in there["message_images"] if row["message_number"] == each["number"]
            )
            assert each["bytes"] == len(each["content"]) + shown


def _said(role: str, content: str, shown: list[str] | None = None) -> dict[str, Any]:
    return {"role": role, "content": content, "images": shown or []}


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck), database=None)
@given(steps=st.lists(a_step, min_size=5, max_size=25))
def test_what_is_counted_is_there(runner: tuple[asyncio.Runner, Database], steps: list[Step]) -> None:
    """Messages, bytes, titles, images and places, after each of any changes; with the last of them nothing stays."""
    loop, database = runner

    async def live() -> None:
        world = World(database)
        for step in steps:
            await world.do(step)
        for key in KEYS:
            await world.conversations.delete_all(key)
        left = await world.state()
        assert {name for name, rows in left.items() if rows} <= {"conversation_owners"}
        async with database.writing() as connection:
            await connection.execute(delete(conversation_owners))
            await connection.execute(text("INSERT INTO message_words (message_words) VALUES ('integrity-check')"))

    loop.run(live())
