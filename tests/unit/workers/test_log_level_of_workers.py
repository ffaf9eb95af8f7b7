"""The workers of one service, and their parent, log at one level."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mlops_backend.errors import Unavailable
from mlops_backend.services.other.log_level import SET, LogLevel
from mlops_backend.shared import Shared
from mlops_backend.telemetry.logging import use_level
from mlops_backend.workers.frames import packed
from mlops_backend.workers.handlers import Handlers
from tests.fakes.family import Family
from tests.settings import settings_for


@pytest.fixture
async def family() -> AsyncIterator[Family]:
    """A parent and three workers, which speak."""
    made = Family(settings_for(), 3)
    yield made
    use_level("INFO")
    async with asyncio.timeout(20):
        await made.aclose()


async def test_a_level_holds_in_all(family: Family) -> None:
    """Whoever is asked, and one that comes later knows it too, with the time that is left."""
    levels = [LogLevel("INFO", shared) for shared in family.workers]
    await family.open()
    for level in levels:
        await level.open()
    assert [level.shown()["level"] for level in levels] == ["INFO"] * 3
    await levels[1].change("DEBUG", 600)
    assert [level.shown()["level"] for level in levels] == ["DEBUG"] * 3
    later = LogLevel("INFO", family.workers[0])
    await later.open()
    assert later.shown()["level"] == "DEBUG"
    assert 590 < later.shown()["seconds_left"] <= 600
    await levels[2].change("INFO", None)
    last = LogLevel("INFO", family.workers[0])
    await last.open()
    assert last.shown() == {"level": "INFO", "configured": "INFO", "seconds_left": None}
    for level in (*levels, later, last):
        await level.aclose()


async def test_who_starts_while_the_level_is_changed_logs_at_the_newer_one() -> None:
    """It hears of that before it has taken in what it was told at its start."""
    hears = Handlers()

    class Parent:
        """Changes the level while it answers."""

        async def ask(self, name: str, payload: Any = None) -> Any:
            """What held before."""
            hears.call(None, packed((SET, ("ERROR", None))))
            return ("DEBUG", None)

        def tell(self, name: str, payload: Any = None) -> None:
            """Nothing is told."""

    level = LogLevel("INFO", Shared(0, Parent(), hears))
    await level.open()
    use_level("INFO")
    assert level.shown()["level"] == "ERROR"


async def test_the_last_word_is_the_same_for_all(family: Family) -> None:
    """Though three say something else at once."""
    levels = [LogLevel("INFO", shared) for shared in family.workers]
    await family.open()
    for _ in range(10):
        names = ("DEBUG", "WARNING", "ERROR")
        await asyncio.gather(*(level.change(name, None) for level, name in zip(levels, names, strict=True)))
        assert len({level.shown()["level"] for level in levels}) == 1


async def test_what_is_not_certain_is_an_error(family: Family) -> None:
    """A level at which only some would log is not answered as one."""
    level = LogLevel("INFO", family.workers[0])
    await family.open()
    await family.aclose()
    with pytest.raises(Unavailable):
        await level.change("DEBUG", None)
    assert level.shown()["level"] == "INFO"
