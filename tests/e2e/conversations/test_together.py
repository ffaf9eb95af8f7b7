"""Fifty writers at once, many of whom leave in the middle: each conversation stays one history, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from time import monotonic
from typing import Any, Final

import pytest

from mlops_backend.services.other.conversations.kept_replies import KeptReplies
from mlops_backend.services.other.database import database
from mlops_backend.services.other.database.database import Database
from tests.conftest import ServeFactory
from tests.e2e.writers import PLACES, WRITERS, Crowd, Writer, faults_of
from tests.service import Service
from tests.stored_conversations import CONVERSATIONS, EchoingOllama, contradictions

SECONDS: Final = 2.5
PATIENCE: Final = 15.0


@asynccontextmanager
async def nothing_left(services: list[Service], fake: EchoingOllama) -> AsyncIterator[None]:
    """Nothing that began in the block is there any more soon after it."""
    before = tasks_of_services()
    yield
    async with asyncio.timeout(PATIENCE):
        for service in services:
            pool: Any = service.services.get(Database)._engine.pool  # type: ignore[union-attr]
            while service.admission.running or service.services.get(KeptReplies).waiting or pool.checkedout():
                await asyncio.sleep(0.01)
        while fake.active or tasks_of_services() - before:
            await asyncio.sleep(0.01)


def tasks_of_services() -> Counter[str]:
    """What runs now, but for the connections that the backend keeps open."""
    names = (task.get_coro().__qualname__ for task in asyncio.all_tasks())  # type: ignore[union-attr]
    return Counter(name for name in names if not name.startswith("RecordingServer"))


@pytest.mark.parametrize("seconds", [SECONDS, pytest.param(60.0, marks=pytest.mark.soak)])
async def test_many_writers_make_one_history(
    serve: ServeFactory, database_url: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mixed changes by all at once, on SQLite by one service, on PostgreSQL by two."""
    for name in ("_POOL_TIMEOUT", "_BUSY_TIMEOUT"):  # a slow machine is not to be taken for a database that is away
        monkeypatch.setattr(database, name, 30.0)
    number = 1 if database_url.startswith("sqlite") else 2
    async with EchoingOllama() as fake, AsyncExitStack() as scope:
        settings = {"database_url": database_url, "log_level": "error"}
        services = [await scope.enter_async_context(serve(fake.url, **settings)) for _ in range(number)]
        crowd = Crowd(services, [""] * PLACES)
        writers = [Writer(crowd, number) for number in range(WRITERS)]
        for place in range(PLACES):
            await writers[place].begin(place)
        async with nothing_left(services, fake):
            until = monotonic() + seconds
            async with asyncio.TaskGroup() as tasks:
                for writer in writers:
                    tasks.create_task(writer.write(until))
        assert crowd.wrong == []
        await check(crowd)
        assert await contradictions(services[0].services.get(Database)) == []


async def check(crowd: Crowd) -> None:
    """Compare what the writers were told with what is there."""
    histories = {}
    for name in crowd.made:
        found = [await crowd.services[-1].client.get(f"{CONVERSATIONS}/{name}?replaced=true") for _ in range(2)]
        if found[0].status_code == 200:
            assert found[0].content == found[1].content
            histories[name] = found[0].json()
    assert set(histories) >= crowd.made - crowd.doomed
    assert not set(histories) & crowd.deleted
    for history in histories.values():
        assert faults_of(history["messages"]) == []
    check_versions(crowd, histories)
    check_acknowledged(crowd, histories)
    await check_search(crowd, histories)


def check_versions(crowd: Crowd, histories: Mapping[str, Any]) -> None:
    """No two changes led to the same version, and each that named a version began there."""
    versions = Counter((change.conversation, change.version) for change in crowd.changes)
    assert [each for each, count in versions.items() if count > 1] == []
    named = [change for change in crowd.changes if change.named is not None]
    assert named
    assert [change for change in named if change.version != (change.named or 0) + 1] == []
    for conversation, version in versions:
        assert conversation not in histories or version <= histories[conversation]["version"]


def check_acknowledged(crowd: Crowd, histories: Mapping[str, Any]) -> None:
    """What was acknowledged is there, unless somebody has cut it off since."""
    cuts = defaultdict(list)
    for cut in crowd.cuts:
        cuts[cut.conversation].append(cut)
    missing = []
    for change in crowd.changes:
        if (history := histories.get(change.conversation)) is not None:
            lost = set(change.message_ids) - {message["id"] for message in history["messages"]}
            excused = any(
                cut.behind < change.place and (cut.version is None or cut.version > change.version)
                for cut in cuts[change.conversation]
            )
            missing += [change] if lost and not excused else []
    assert missing == []


async def check_search(crowd: Crowd, histories: Mapping[str, Any]) -> None:
    """The index finds each word where it stands now, and nowhere else."""
    for word in Random(0).sample(crowd.words, 25):
        there = {
            name
            for name, history in histories.items()
            if any(
                word in text.split()
                for text in (
                    history["title"],
                    *(each["content"] for each in history["messages"] if "replaced_at" not in each),
                )
            )
        }
        answer = await crowd.services[0].client.get(CONVERSATIONS, params={"search": word, "limit": 200})
        assert {each["id"] for each in answer.json()["conversations"]} == there, word
