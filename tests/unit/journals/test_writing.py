"""A journal that is written while it is read: by whoever makes an answer, in step with its keeper."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mlops_backend.errors import NotFound, StreamBroken, StreamGone, Unavailable
from mlops_backend.services.other.journals import Bounds, Head, MemoryJournals, Writer, follow, reading, writing
from tests.unit.journals.keepers import Clock, opened

HEAD = Head(200)


class Away(MemoryJournals):
    """One that is away while `away` is set."""

    away = False

    async def write(self, journal: str, pieces: Sequence[bytes] = (), head: Head | None = None) -> float:
        """See `Journals`."""
        self._look()
        return await super().write(journal, pieces, head)

    async def end(self, journal: str, outcome: str, *, keeps_claim: bool = True) -> None:
        """See `Journals`."""
        self._look()
        await super().end(journal, outcome, keeps_claim=keeps_claim)

    async def read(self, journal: str, after: int = 0, wait: float = 0.0):  # type: ignore[no-untyped-def]
        """See `Journals`."""
        self._look()
        return await super().read(journal, after, wait)

    def _look(self) -> None:
        if self.away:
            raise Unavailable("Nobody is there.")


async def read_all(journals: MemoryJournals, after: int = 0) -> tuple[list[bytes], str | None]:
    """Its pieces to the end, and its outcome."""
    pieces: list[bytes] = []
    outcome = None
    async for page in follow(journals, "journal-1", after):
        pieces += page.pieces
        outcome = page.outcome
    return pieces, outcome


async def test_readers_get_everything_while_it_is_written() -> None:
    """Whenever each of them comes, and in the order of writing."""
    journals = MemoryJournals(Bounds())
    await journals.begin(opened())
    writer = Writer(journals, "journal-1", 60, lambda: None)
    writer.begin(HEAD)
    readers = [asyncio.create_task(read_all(journals))]
    for number in range(300):
        await writer.add([b"%d" % number])
        if number % 50 == 0:
            await asyncio.sleep(0)
            readers.append(asyncio.create_task(read_all(journals)))
    await writer.close("done")
    for reader in [*readers, asyncio.create_task(read_all(journals))]:
        assert await reader == ([b"%d" % number for number in range(300)], "done")


async def test_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the grace whoever makes the answer is told to stop, once."""
    monkeypatch.setattr(writing, "SIGN", 0.01)
    clock, stopped = Clock(), []
    journals = MemoryJournals(Bounds(), clock)
    await journals.begin(opened())
    writer = Writer(journals, "journal-1", 20, lambda: stopped.append(clock.now))
    clock.now += 19
    await asyncio.sleep(0.05)
    assert not stopped
    clock.now += 2
    async with asyncio.timeout(30):
        while not stopped:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert len(stopped) == 1
    await writer.add([b"the last word"])
    await writer.close("client_gone")
    assert await read_all(journals) == ([b"the last word"], "client_gone")


async def test_its_keeper_is_away_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came meanwhile is written when it is back; readers wait, and miss nothing."""
    monkeypatch.setattr(writing, "_AGAIN", 0.01)
    monkeypatch.setattr(reading, "_AGAIN", 0.01)
    journals = Away(Bounds())
    await journals.begin(opened())
    writer = Writer(journals, "journal-1", 60, lambda: None)
    await writer.add([b"before"])
    reader = asyncio.create_task(read_all(journals))
    await asyncio.sleep(0.02)
    journals.away = True
    await writer.add([b"meanwhile"])
    await asyncio.sleep(0.05)
    journals.away = False
    await writer.add([b"after"])
    await writer.close("done")
    assert await reader == ([b"before", b"meanwhile", b"after"], "done")


async def test_its_keeper_was_away_from_its_writer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is back the writer is given the time to say so, before a reader takes it for dead."""
    monkeypatch.setattr(reading, "_AGAIN", 0.01)
    monkeypatch.setattr(reading, "_WAIT", 0.02)
    monkeypatch.setattr(reading, "_SILENT", 3)
    clock = Clock()
    journals = Away(Bounds(), clock)
    await journals.begin(opened())
    reader = asyncio.create_task(read_all(journals))
    await asyncio.sleep(0.05)
    journals.away = True
    await asyncio.sleep(0.05)
    clock.now += 7
    journals.away = False
    await asyncio.sleep(0.05)
    await journals.write("journal-1", [b"one"])
    await journals.end("journal-1", "done")
    assert await reader == ([b"one"], "done")

    monkeypatch.setattr(reading, "_SILENT", 0.05)
    await journals.forget("journal-1")
    await journals.begin(opened())
    reader = asyncio.create_task(read_all(journals))
    await asyncio.sleep(0)
    journals.away = True
    await asyncio.sleep(0.05)
    clock.now += 7
    journals.away = False
    async with asyncio.timeout(30):
        with pytest.raises(StreamBroken):
            await reader


async def test_its_keeper_is_away_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end is written when it is back, and readers get it; where pieces are missing there is no end."""
    monkeypatch.setattr(writing, "_AGAIN", 0.01)
    journals = Away(Bounds())
    await journals.begin(opened())
    writer = Writer(journals, "journal-1", 60, lambda: None)
    await writer.add([b"all of it"])
    async with asyncio.timeout(30):
        while not (await journals.read("journal-1")).pieces:
            await asyncio.sleep(0.01)
    journals.away = True
    closing = asyncio.create_task(writer.close("done"))
    await asyncio.sleep(0.05)
    assert not closing.done()
    journals.away = False
    await closing
    assert await read_all(journals) == ([b"all of it"], "done")

    monkeypatch.setattr(writing, "_PATIENCE", 0.05)
    await journals.begin(opened(2))
    writer = Writer(journals, "journal-2", 60, lambda: None)
    journals.away = True
    await writer.add([b"lost"])
    await writer.close("done")
    journals.away = False
    assert (await journals.read("journal-2")).outcome is None


async def test_its_keeper_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes the answer is told to stop, and readers get an error; nobody waits for ever."""
    for module in (reading, writing):
        monkeypatch.setattr(module, "_AGAIN", 0.01)
        monkeypatch.setattr(module, "_PATIENCE", 0.05)
    stopped = asyncio.Event()
    journals = Away(Bounds())
    await journals.begin(opened())
    writer = Writer(journals, "journal-1", 60, stopped.set)
    reader = asyncio.create_task(read_all(journals))
    await asyncio.sleep(0.01)
    journals.away = True
    await writer.add([b"x" * 2_000_000])
    async with asyncio.timeout(30):
        await stopped.wait()
        with pytest.raises(StreamBroken):
            await reader
        await writer.add([b"x" * 2_000_000])
        await writer.close("client_gone")


async def test_its_writer_has_died() -> None:
    """What had come is given, and then an error."""
    clock = Clock()
    journals = MemoryJournals(Bounds(), clock)
    await journals.begin(opened())
    await journals.write("journal-1", [b"one"], HEAD)
    clock.now += 7
    pages = follow(journals, "journal-1")
    assert list((await anext(pages)).pieces) == [b"one"]
    with pytest.raises(StreamBroken):
        await anext(pages)


async def test_a_reader_that_is_too_late() -> None:
    """It is told so, and is given nothing with a gap."""
    journals = MemoryJournals(Bounds(each=4096))
    await journals.begin(opened())
    await journals.write("journal-1", [b"x" * 1000] * 5)
    with pytest.raises(StreamGone):
        await read_all(journals)
    oldest = (await journals.read("journal-1")).oldest
    await journals.end("journal-1", "done")
    assert await read_all(journals, oldest - 1) == ([b"x" * 1000] * (6 - oldest), "done")


async def test_it_is_forgotten_meanwhile() -> None:
    """Readers are told that there is none, and the writer to stop."""
    journals = MemoryJournals(Bounds())
    await journals.begin(opened())
    stopped = asyncio.Event()
    writer = Writer(journals, "journal-1", 60, stopped.set)
    reader = asyncio.create_task(read_all(journals))
    await asyncio.sleep(0.01)
    await journals.forget("journal-1")
    with pytest.raises(NotFound):
        await reader
    await writer.add([b"one"])
    async with asyncio.timeout(30):
        await stopped.wait()
    await writer.close("cancelled")
