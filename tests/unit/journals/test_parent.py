"""Journals that a parent keeps for its workers: one that dies takes nothing along, and none fills the channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf

import pytest

from mlops_backend.errors import NotFound, StreamBroken, StreamGone
from mlops_backend.services.other.journals import (
    Bounds,
    Head,
    JournalsForWorkers,
    MemoryJournals,
    WorkersJournals,
    Writer,
    follow,
    parent,
)
from mlops_backend.services.other.journals.parent import MOST_OF_ONE
from mlops_backend.workers import channel as channels
from mlops_backend.workers.frames import ChannelError
from tests.fakes.family import Family
from tests.settings import settings_for
from tests.unit.journals.keepers import SMALL, Clock, opened

HEAD = Head(200, (("Content-Type", "text/event-stream"),))


class Kept:
    """A parent with journals, and two workers."""

    def __init__(self) -> None:
        self.family = Family(settings_for())
        self.memory = MemoryJournals(Bounds(each=MOST_OF_ONE))
        self.parent = JournalsForWorkers(self.family.hub.handlers, self.memory)
        self.family.hub.when_one_leaves(self.parent.lose)
        self.first, self.second = map(WorkersJournals, self.family.workers)


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    """They speak."""
    made = Kept()
    await made.family.open()
    yield made
    async with asyncio.timeout(20):
        await made.family.aclose()


async def text(journals: WorkersJournals, after: int = 0) -> bytes:
    """The rest of the first journal."""
    return b"".join([b"".join(page.pieces) async for page in follow(journals, "journal-1", after)])


async def test_a_worker_that_died_is_told_at_once(kept: Kept) -> None:
    """What it wrote can be read to its last piece, then its readers hear of it; its claim is anybody's."""
    await kept.first.begin(opened(1, claim="name"))
    await kept.first.begin(opened(2))
    await kept.first.write("journal-1", [b"one", b"two"], HEAD)
    await kept.first.end("journal-2", "done")
    reader = asyncio.create_task(text(kept.second, 2))
    await asyncio.sleep(0.01)
    kept.family.channels[0].leave("it was killed")
    async with asyncio.timeout(0.9):
        with pytest.raises(StreamBroken):
            await reader
    pages = follow(kept.second, "journal-1")
    assert list((await anext(pages)).pieces) == [b"one", b"two"]
    with pytest.raises(StreamBroken):
        await anext(pages)
    assert (await kept.second.read("journal-2")).outcome == "done"
    assert await kept.second.begin(opened(3, claim="name")) == opened(3, claim="name")


async def test_a_reader_whose_worker_died_reads_no_more(kept: Kept) -> None:
    """Nor does one that has left by itself, from when its question ends."""
    await kept.first.begin(opened())
    readers = [asyncio.create_task(kept.second.read("journal-1", 0, 0.2)) for _ in range(3)]
    while not (found := kept.memory._kept["journal-1"]).readers:
        await asyncio.sleep(0)
    assert found.readers == 1  # those who ask alike ask once
    for reader in readers:
        reader.cancel()
    async with asyncio.timeout(20):
        while found.readers:
            await asyncio.sleep(0.01)
    reader = asyncio.create_task(kept.second.read("journal-1", 0, 5))
    while not found.readers:
        await asyncio.sleep(0)
    kept.family.channels[1].leave("it was killed")
    async with asyncio.timeout(1):
        while found.readers:
            await asyncio.sleep(0)
    await asyncio.gather(reader, return_exceptions=True)


async def test_a_hundred_readers_at_another_worker(kept: Kept) -> None:
    """Each gets all of it, once and in order, whenever it comes."""
    await kept.first.begin(opened())
    writer = Writer(kept.first, "journal-1", 60, lambda: None)
    writer.begin(HEAD)
    readers = []
    for number in range(200):
        await writer.add([b"%d " % number])
        if number % 2:
            readers.append(asyncio.create_task(text(kept.second)))
        await asyncio.sleep(0)
    await writer.close("done")
    whole = b"".join(b"%d " % number for number in range(200))
    assert set(await asyncio.gather(*readers)) == {whole}


async def test_long_pieces_go_through(kept: Kept) -> None:
    """Many at once, of many journals; one that is longer than any journal is an error for its readers, never a gap."""
    sizes = [3_000_000, 70_000, 5_000_000, 10, 300_000, 300_000]
    for number in range(1, 9):
        await kept.first.begin(opened(number, f"key-{number}"))
    pieces = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    await asyncio.gather(*(kept.first.write(f"journal-{number}", pieces[number % 3 :]) for number in range(1, 9)))
    await asyncio.gather(*(kept.first.end(f"journal-{number}", "done") for number in range(1, 9) if number != 2))
    assert await text(kept.second, 1) == b"".join(pieces[2:])
    await kept.first.write("journal-2", [b"x" * (2 * channels.MOST_WAITING), b"y"])
    page = await kept.second.read("journal-2", 4)
    assert (page.oldest, list(page.pieces)) == (6, [b"y"])
    with pytest.raises(StreamGone):
        await anext(follow(kept.second, "journal-2", 4))


async def test_what_is_sent_again_is_there_once(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The channel was full when a part of it had gone."""
    await kept.first.begin(opened())
    pieces = [b"x" * 200_000, b"y" * 200_000, b"z" * 10]
    asked, channel = [], kept.family.channels[0]
    ask = channel.ask

    async def full(name: str, payload: object = None) -> object:
        asked.append(name)
        if len(asked) == 2:
            raise ChannelError("Too many questions wait for the parent.")
        return await ask(name, payload)

    monkeypatch.setattr(channel, "ask", full)
    with pytest.raises(ChannelError):
        await kept.first.write("journal-1", pieces)
    await kept.first.write("journal-1", [*pieces, b"more"])
    await kept.first.end("journal-1", "done")
    assert await text(kept.second) == b"".join([*pieces, b"more"])


async def test_one_who_leaves_while_a_journal_begins_leaves_none(kept: Kept) -> None:
    """Its name can be claimed again."""
    beginning = asyncio.create_task(kept.first.begin(opened(1, claim="name")))
    await asyncio.sleep(0)
    beginning.cancel()
    await asyncio.gather(beginning, return_exceptions=True)
    assert await kept.first.begin(opened(2, claim="name")) == opened(2, claim="name")
    with pytest.raises(NotFound):
        await kept.first.opening("journal-1")


async def test_a_reader_may_wait_longer_than_the_channel(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long one would, the parent answers before a worker loses patience with it."""
    assert parent._WAIT < channels.PATIENCE / 2
    monkeypatch.setattr(parent, "_WAIT", 0.05)
    await kept.first.begin(opened())
    async with asyncio.timeout(30):
        assert (await kept.second.read("journal-1", 0, 3600)).first == 1


async def test_what_a_dead_worker_wrote_makes_room() -> None:
    """As what has ended does, in its time or before, though an older one is still written."""
    small = MemoryJournals(SMALL, clock := Clock())
    for number in range(1, 4):
        await small.begin(opened(number))
    small.lose("journal-2")
    assert (await small.read("journal-2", 0, 20)).silent == inf
    await small.begin(opened(4))
    small.lose("journal-3")
    for _ in range(2):
        clock.now += SMALL.ttl / 2 + 1
        await small.write("journal-1")
        await small.write("journal-4")
    assert [each.opening.id for each in await small.listed("key")] == ["journal-1", "journal-4"]
