"""Questions and replies that are written in one transaction: each stands or falls by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import pytest
from sqlalchemy.exc import IntegrityError

from mlops_backend.errors import ConversationFull, DatabaseBusy, DatabaseDown, NotFound, PreconditionFailed
from mlops_backend.schemas.conversations.bodies import AskRequest, CreateConversationRequest
from mlops_backend.services.other.conversations import together, writes
from mlops_backend.services.other.conversations.bounds import Bounds
from mlops_backend.services.other.conversations.rows import Message
from mlops_backend.services.other.conversations.service import Conversations
from mlops_backend.services.other.conversations.steps import Turn
from mlops_backend.services.other.conversations.together import Together
from mlops_backend.services.other.conversations.turns import Turns, question
from mlops_backend.services.other.conversations.writes import Draft
from mlops_backend.services.other.database import Database
from tests.stored_conversations import contradictions

BOUNDS: Final = Bounds(20, 12, 400, 900)
KEY: Final = "tester"


class World:
    """Conversations in a database whose transactions are counted, and wait until `go` is set."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.conversations = Conversations(database, BOUNDS)
        self.together = Together(database, BOUNDS)
        self.turns = Turns(self.conversations, self.together, BOUNDS)
        self.transactions = 0
        self.go = asyncio.Event()
        self._transaction = database.transaction
        database.transaction = self._counted  # type: ignore[method-assign]

    async def _counted(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        self.transactions += 1
        await self.go.wait()
        return await self._transaction(work)

    async def begun(self, number: int, key: str = KEY) -> list[str]:
        """New conversations."""
        self.go.set()
        body = CreateConversationRequest.model_validate({"messages": [{"role": "system", "content": "Be brief."}]})
        made = [(await self.conversations.create(key, body))[0].id for _ in range(number)]
        self.go.clear()
        self.transactions = 0
        return made

    async def ask(self, name: str, said: str = "Hi", key: str = KEY, *, version: int | None = None) -> Turn:
        """Ask a question."""
        return await self.turns.ask(key, name, asked(said), lambda found: version in {None, found})

    async def asking(self, *questions: Awaitable[Any]) -> list[asyncio.Future[Any]]:
        """Ask them in this order; the first one is being written while the others come."""
        tasks = list[asyncio.Future[Any]]()
        for each in questions:
            tasks.append(asyncio.ensure_future(each))
            for _ in range(5):  # turns of the loop
                await asyncio.sleep(0)
        return tasks

    async def contents(self, name: str, key: str = KEY) -> list[str]:
        """What is said in a conversation."""
        _, told = await self.conversations.get(key, name, replaced=True)
        return [each.content for each in told]


def asked(said: str) -> Draft:
    """A question."""
    return question(AskRequest.model_validate({"content": said}), 1)


def reply_to(turn: Turn, said: str = "Well.") -> Message:
    """A reply to a question."""
    return Message(turn.reply_id, turn.reply_sequence, "assistant", said, outcome="done", model="llama3")


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A world on either database; in the end what is counted is there."""
    database = Database(database_url)
    await database.open()
    yield World(database)
    assert await contradictions(database) == []
    await database.aclose()


async def test_what_comes_while_one_is_written_is_written_together(world: World) -> None:
    """One transaction for the first, one for all others; questions come with what a model is to be shown."""
    names = await world.begun(10)
    tasks = await world.asking(*map(world.ask, names))
    world.go.set()
    turns = await asyncio.gather(*tasks)
    assert world.transactions == 2
    assert [turn.conversation_id for turn in turns] == names
    assert [[each.content for each in turn.shown or ()] for turn in turns] == [["Hi", "Be brief."]] * 10
    world.go.clear()
    keeping = await world.asking(*(world.turns.keep(turn, reply_to(turn)) for turn in turns))
    world.go.set()
    assert await asyncio.gather(*keeping) == [3] * 10
    assert world.transactions == 4
    assert [await world.contents(name) for name in names] == [["Be brief.", "Hi", "Well."]] * 10


async def test_a_refused_one_leaves_the_others(world: World) -> None:
    """Each is told its own error, and nothing of it is stored."""
    first, *names = await world.begun(4)
    [other] = await world.begun(1, "other")
    tasks = await world.asking(
        world.ask(first),
        world.ask(names[0]),
        world.ask("0" * 32),
        world.ask("no\0id"),
        world.ask(other),
        world.ask(names[1], version=7),
        world.ask(names[1], "x" * 401),
        world.ask(names[2], version=1),
    )
    world.go.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    wanted = [Turn, Turn, NotFound, NotFound, NotFound, PreconditionFailed, ConversationFull, Turn]
    assert [type(each) for each in got] == wanted
    assert [len(await world.contents(name)) for name in names] == [2, 1, 2]
    assert await world.contents(other, "other") == ["Be brief."]


async def test_what_the_database_does_not_take_is_its_own_fault_alone(world: World) -> None:
    """Two messages of one id cannot both be there: one of them is refused, and everything else is stored."""
    names = await world.begun(5)
    twice = asked("twice")
    tasks = await world.asking(
        world.ask(names[0]),
        world.ask(names[1]),
        *(world.turns.ask(KEY, name, twice, lambda _: True) for name in names[2:4]),
        world.ask(names[4]),
    )
    world.go.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(type(each).__name__ for each in got) == [IntegrityError.__name__, *["Turn"] * 4]
    assert [len(await world.contents(name)) for name in (names[0], names[1], names[4])] == [2, 2, 2]


async def test_a_key_has_no_more_than_it_may(world: World) -> None:
    """Of questions that are written together, those that fit are taken, to the byte; other keys have their own room."""
    names = await world.begun(4)
    [other] = await world.begun(1, "other")
    tasks = await world.asking(world.ask(names[0], "x"), *(world.ask(name, "x" * 320) for name in names[1:]))
    tasks += await world.asking(world.ask(other, "x" * 320, "other"))
    world.go.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in got] == [Turn, Turn, Turn, ConversationFull, Turn]


async def test_two_questions_in_one_conversation_stand_in_their_order(world: World) -> None:
    """Each has a place for its reply behind it; the second model sees both questions, the first only its own."""
    first, name = await world.begun(2)
    tasks = await world.asking(world.ask(first), world.ask(name, "One"), world.ask(name, "Two"))
    world.go.set()
    _, one, two = await asyncio.gather(*tasks)
    assert [[each.content for each in turn.shown or ()] for turn in (one, two)] == [
        ["One", "Be brief."],
        ["Two", "One", "Be brief."],
    ]
    await asyncio.gather(world.turns.keep(two, reply_to(two, "2")), world.turns.keep(one, reply_to(one, "1")))
    assert await world.contents(name) == ["Be brief.", "One", "1", "Two", "2"]


async def test_a_reply_that_is_kept_twice_is_there_once(world: World) -> None:
    """Also when both are written together; the version is that of the first."""
    [name] = await world.begun(1)
    world.go.set()
    turn = await world.ask(name)
    kept = await asyncio.gather(*(world.turns.keep(turn, reply_to(turn)) for _ in range(3)))
    assert kept == [3, 3, 3]
    assert await world.contents(name) == ["Be brief.", "Hi", "Well."]


async def test_who_leaves_does_not_take_the_others_along(world: World) -> None:
    """One whose turn has not come is not stored; the others are."""
    names = await world.begun(4)
    tasks = await world.asking(*map(world.ask, names))
    tasks[0].cancel()
    tasks[2].cancel()
    await asyncio.sleep(0)
    world.go.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in got] == [asyncio.CancelledError, Turn, asyncio.CancelledError, Turn]
    assert [len(await world.contents(name)) for name in names[1:]] == [2, 1, 2]


async def test_a_writing_that_is_ended_leaves_nobody_waiting(world: World) -> None:
    """Whoever ends it from outside, as the end of the loop does: each of those who wait is told."""
    names = await world.begun(3)
    tasks = await world.asking(*map(world.ask, names))
    assert world.together._task is not None
    world.together._task.cancel()
    async with asyncio.timeout(20):
        got = await asyncio.gather(tasks[0], return_exceptions=True)
    assert [type(each) for each in got] == [asyncio.CancelledError]
    world.go.set()
    assert isinstance(await world.ask(names[0]), Turn)
    await asyncio.gather(*tasks[1:])


async def test_whose_turn_does_not_come_in_time_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a question is not stored."""
    names = await world.begun(2)
    monkeypatch.setattr(together, "_PATIENCE", 0.05)
    first, late = await world.asking(*map(world.ask, names))
    with pytest.raises(DatabaseBusy):
        await late
    world.go.set()
    await first
    assert [len(await world.contents(name)) for name in names] == [2, 1]


async def test_a_database_that_is_away_is_told_to_each(world: World) -> None:
    """With an error of its own, which nobody else changes; what comes afterwards is stored."""
    names = await world.begun(4)
    tasks = await world.asking(*map(world.ask, names))
    world.database._ready = False
    world.go.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in got] == [DatabaseDown] * 4
    assert len({id(each) for each in got}) == 4
    world.database._ready = True
    assert (await world.ask(names[0])).last == 2


async def test_keys_take_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks much does not keep it from the others."""
    monkeypatch.setattr(together, "_MOST", 2)
    names = await world.begun(6)
    [other] = await world.begun(1, "other")
    done: list[str] = []

    async def noted(name: str, key: str) -> None:
        await world.ask(name, key=key)
        done.append(name)

    tasks = await world.asking(*(noted(name, KEY) for name in names), noted(other, "other"))
    world.go.set()
    await asyncio.gather(*tasks)
    assert other in done[:3]


async def test_one_that_is_locked_is_not_waited_for(world: World) -> None:
    """Another process changes a conversation: the others are stored meanwhile, and that one when it is free."""
    if world.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    names = await world.begun(3)
    world.go.set()
    async with world.database.writing() as another:
        await writes.locked(another, KEY, names[1])
        tasks = await world.asking(*map(world.ask, names))
        await asyncio.wait_for(asyncio.gather(tasks[0], tasks[2]), 5)
        assert not tasks[1].done()
    await tasks[1]
    assert [len(await world.contents(name)) for name in names] == [2, 2, 2]


async def test_who_is_cancelled_leaves_the_file_to_the_next(world: World) -> None:
    """A transaction that has begun in the thread is over, one way or the other, before another one begins."""
    names = await world.begun(2)
    world.go.set()
    for _ in range(5):
        task = asyncio.create_task(world.conversations.truncate(KEY, names[0], None, lambda _: True))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await world.ask(names[1])
    assert len(await world.contents(names[1])) == 6


async def test_a_transaction_waits_for_nothing_else(world: World) -> None:
    """What would hold SQLite's thread for others is an error at once, and is rolled back."""
    if not world.database.is_sqlite:
        pytest.skip("PostgreSQL's transactions are in the loop")
    world.go.set()

    async def work(_: Any) -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waited for something else"):
        await world.database.transaction(work)
