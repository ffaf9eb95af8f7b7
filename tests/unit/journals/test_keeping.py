"""Whoever keeps journals gives back what was written, in its order, and keeps no more than its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mlops_backend.errors import NotFound, TooManyStreams
from mlops_backend.services.other.journals import Bounds, Head
from mlops_backend.services.other.journals.journal import LEFT, LOST
from tests.unit.journals.keepers import KEEPERS, SMALL, Keeper, opened

HEAD = Head(200, (("Content-Type", "application/x-ndjson"),))


@pytest.fixture(params=sorted(KEEPERS))
async def keeper(request: pytest.FixtureRequest) -> AsyncIterator[Keeper]:
    """Each who keeps journals, with small bounds."""
    async with KEEPERS[request.param](SMALL) as made:
        yield made


async def test_what_was_written_is_read_in_its_order(keeper: Keeper) -> None:
    """From its beginning, from the middle, and once it has ended; then with its outcome."""
    journals = keeper.journals
    assert await journals.begin(opened()) == opened()
    await journals.write("journal-1", head=HEAD)
    await journals.write("journal-1", [b"one", b"two"])
    await journals.write("journal-1", [b"three"])
    page = await journals.read("journal-1")
    assert (page.head, page.first, list(page.pieces), page.last) == (HEAD, 1, [b"one", b"two", b"three"], 3)
    assert (page.oldest, page.outcome) == (1, None)
    await journals.end("journal-1", "done")
    page = await journals.read("journal-1", 2)
    assert (page.first, list(page.pieces), page.last, page.outcome) == (3, [b"three"], 3, "done")
    page = await journals.read("journal-1", 3)
    assert (page.first, list(page.pieces), page.last, page.outcome) == (4, [], 3, "done")
    assert await journals.opening("journal-1") == opened()


async def test_nothing_is_written_behind_an_end(keeper: Keeper) -> None:
    """Whoever tries is told, and takes no room."""
    journals = keeper.journals
    await journals.begin(opened())
    await journals.end("journal-1", "done")
    with pytest.raises(NotFound):
        await journals.write("journal-1", [b"late"])
    assert list((await journals.read("journal-1")).pieces) == []


async def test_a_reader_waits_for_the_next_piece(keeper: Keeper) -> None:
    """And for the head, and for the end; no longer than it wants to."""
    journals = keeper.journals
    await journals.begin(opened())
    assert (await journals.read("journal-1", 0, 0.02)).head is None
    for step in ("head", "piece", "end"):
        waiting = asyncio.create_task(journals.read("journal-1", 0 if step == "head" else 1, 20))
        if step == "piece":
            waiting = asyncio.create_task(journals.read("journal-1", 0, 20))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        match step:
            case "head":
                await journals.write("journal-1", head=HEAD)
                assert (await waiting).head == HEAD
            case "piece":
                await journals.write("journal-1", [b"one"])
                assert list((await waiting).pieces) == [b"one"]
            case _:
                await journals.end("journal-1", "done")
                assert (await waiting).outcome == "done"


async def test_a_long_one_loses_its_beginning(keeper: Keeper) -> None:
    """It says from where on it is there; what is there is whole."""
    journals = keeper.journals
    await journals.begin(opened())
    for number in range(1, 21):
        await journals.write("journal-1", [b"%04d" % number * 256])
    page = await journals.read("journal-1")
    assert 10 < page.oldest == page.first <= 20
    assert [piece[:4] for piece in page.pieces] == [b"%04d" % number for number in range(page.first, 21)]
    assert page.last == 20


async def test_those_that_ended_make_room(keeper: Keeper) -> None:
    """The one that ended first goes first; while all run nothing more begins, of one key or of all."""
    journals = keeper.journals
    for number in range(1, 4):
        await journals.begin(opened(number))
    with pytest.raises(TooManyStreams):
        await journals.begin(opened(4))
    await journals.end("journal-2", "done")
    await journals.begin(opened(4))
    with pytest.raises(NotFound):
        await journals.read("journal-2")
    assert [each.opening.id for each in await journals.listed("key")] == ["journal-1", "journal-3", "journal-4"]
    for number in range(5, 8):
        await journals.begin(opened(number, "other"))
    with pytest.raises(TooManyStreams):
        await journals.begin(opened(8, "third"))


async def test_memory_for_all_has_a_bound(keeper: Keeper) -> None:
    """Those that ended go; while all run, whoever writes loses its own beginning, and nothing more begins."""
    journals = keeper.journals
    piece = b"x" * 1024
    for number in range(1, 6):
        await journals.begin(opened(number, f"key-{number}"))
    await journals.write("journal-1", [piece] * 4)
    await journals.end("journal-1", "done")
    for number in range(2, 6):
        await journals.write(f"journal-{number}", [piece] * 4)
    with pytest.raises(NotFound):
        await journals.read("journal-1")
    assert (await journals.read("journal-5")).oldest > 1
    assert (await journals.read("journal-2")).oldest == 1
    with pytest.raises(TooManyStreams):
        await journals.begin(opened(7, "last"))


async def test_nobody_takes_the_room_of_others(keeper: Keeper) -> None:
    """Of what is more than a key's share its own goes, ended ones first; what others have stays."""
    journals = keeper.journals
    piece = b"x" * 1024
    await journals.begin(opened(1, "modest"))
    await journals.write("journal-1", [piece] * 2)
    await journals.end("journal-1", "done")
    for number in (2, 3):
        await journals.begin(opened(number, "greedy"))
        await journals.write(f"journal-{number}", [piece] * 3)
        await journals.end(f"journal-{number}", "done")
    with pytest.raises(NotFound):
        await journals.read("journal-2")
    assert (await journals.read("journal-3")).oldest == 1
    assert (await journals.read("journal-1")).oldest == 1


async def test_one_that_ended_is_kept_for_its_time(keeper: Keeper) -> None:
    """And not for longer."""
    journals = keeper.journals
    await journals.begin(opened())
    await journals.write("journal-1", [b"one"])
    await journals.end("journal-1", "done")
    keeper.clock.now += SMALL.ttl - 1
    assert list((await journals.read("journal-1")).pieces) == [b"one"]
    keeper.clock.now += 2
    with pytest.raises(NotFound):
        await journals.read("journal-1")
    assert await journals.listed("key") == []


async def test_a_claim_has_one_journal(keeper: Keeper) -> None:
    """Who comes by the same name is told whose it is, until that is released or forgotten."""
    journals = keeper.journals
    first = opened(1, claim="name", fingerprint="first")
    assert await journals.begin(first) == first
    assert await journals.begin(opened(2, claim="name", fingerprint="second")) == first
    assert await journals.begin(opened(3, claim="other")) == opened(3, claim="other")
    await journals.end("journal-1", "done")
    assert await journals.begin(opened(2, claim="name")) == first
    await journals.forget("journal-1")
    second = opened(2, claim="name", fingerprint="second")
    assert await journals.begin(second) == second
    await journals.end("journal-2", "error", keeps_claim=False)
    assert await journals.begin(opened(4, claim="name")) == opened(4, claim="name")
    assert (await journals.read("journal-2")).outcome == "error"


async def test_a_writer_learns_how_long_nobody_has_read(keeper: Keeper) -> None:
    """Nobody, from its beginning on; somebody who waits reads all the time."""
    journals = keeper.journals
    await journals.begin(opened())
    keeper.clock.now += 5
    assert await journals.write("journal-1") == pytest.approx(5, abs=0.5)
    waiting = asyncio.create_task(journals.read("journal-1", 0, 20))
    await asyncio.sleep(0.05)
    assert await journals.write("journal-1") < 1
    await journals.write("journal-1", [b"one"])
    await waiting
    keeper.clock.now += 7
    assert await journals.write("journal-1") == pytest.approx(7, abs=0.5)


async def test_a_reader_learns_how_long_the_writer_is_silent(keeper: Keeper) -> None:
    """Since its last sign of life."""
    journals = keeper.journals
    await journals.begin(opened())
    await journals.write("journal-1", [b"one"])
    keeper.clock.now += 7
    assert (await journals.read("journal-1", 1)).silent == pytest.approx(7, abs=0.5)
    await journals.write("journal-1")
    assert (await journals.read("journal-1", 1)).silent < 1


async def test_what_is_not_kept_is_not_found(keeper: Keeper) -> None:
    """Read, written, looked for; its end and that it is forgotten are nothing."""
    journals = keeper.journals
    for step in (journals.read("journal-9"), journals.write("journal-9", [b"x"]), journals.opening("journal-9")):
        with pytest.raises(NotFound):
            await step
    await journals.end("journal-9", "done")
    await journals.forget("journal-9")


async def test_a_claim_whose_writer_has_left_is_anybodys(keeper: Keeper) -> None:
    """One that was not heard of for longer than any writer tries; what it wrote can be read nevertheless."""
    journals = keeper.journals
    first, second = opened(1, claim="name"), opened(2, claim="name")
    await journals.begin(first)
    await journals.write("journal-1", [b"one"])
    keeper.clock.now += LEFT - 1
    assert await journals.begin(second) == first
    keeper.clock.now += 2
    assert await journals.begin(second) == second
    assert await journals.begin(opened(3, claim="name")) == second
    assert list((await journals.read("journal-1")).pieces) == [b"one"]
    await journals.end("journal-1", "done")
    assert await journals.begin(opened(3, claim="name")) == second


async def test_one_whose_writer_has_left_is_kept_for_a_time(keeper: Keeper) -> None:
    """It makes room then, as one that ended."""
    journals = keeper.journals
    for number in range(1, 4):
        await journals.begin(opened(number))
    keeper.clock.now += LOST - 1
    await journals.write("journal-2")
    keeper.clock.now += 2
    await journals.begin(opened(4))
    with pytest.raises(NotFound):
        await journals.read("journal-1")
    assert (await journals.read("journal-2")).silent < 3


@pytest.mark.parametrize("kind", sorted(KEEPERS))
async def test_a_page_has_a_bound(kind: str) -> None:
    """A long journal comes in several; each goes on where the one before ended, and only the last has the outcome."""
    async with KEEPERS[kind](Bounds()) as large:
        journals = large.journals
        await journals.begin(opened())
        pieces = [b"%05d" % number * 2000 for number in range(100)]
        await journals.write("journal-1", pieces)
        await journals.end("journal-1", "done")
        read: list[bytes] = []
        after, outcome = 0, None
        while outcome is None:
            page = await journals.read("journal-1", after)
            assert page.first == after + 1
            assert len(page.pieces) < 40
            read += page.pieces
            after, outcome = page.last, page.outcome
        assert read == pieces
