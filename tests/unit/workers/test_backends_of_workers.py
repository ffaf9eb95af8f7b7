"""What the workers of one service know together of their backends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mlops_backend.errors import Unavailable
from mlops_backend.services.llm.backends import news
from mlops_backend.services.llm.backends.news import WorkersNews
from mlops_backend.services.llm.backends.pool import BackendPool
from mlops_backend.shared import Shared
from mlops_backend.workers import backends as of_parent
from mlops_backend.workers.frames import packed
from mlops_backend.workers.handlers import Handlers
from tests.fakes.family import Family
from tests.settings import settings_for


@pytest.fixture
async def family() -> AsyncIterator[Family]:
    """A parent and three workers, which speak."""
    made = Family(settings_for(), 3)
    yield made
    async with asyncio.timeout(20):
        await made.aclose()


def told(family: Family) -> list[tuple[BackendPool, WorkersNews]]:
    """Each worker's backends, and what it hears."""
    pools = [BackendPool(timeout=1) for _ in family.workers]
    return [(pool, WorkersNews(pool, shared)) for pool, shared in zip(pools, family.workers, strict=True)]


def test_both_ends_use_the_same_names() -> None:
    """The parent does not import the workers' module, which would bring their libraries."""
    names = ("BEGIN", "DRAIN", "GOOD", "REREAD")
    assert [getattr(news, name) for name in names] == [getattr(of_parent, name) for name in names]


async def test_a_drain_holds_in_all(family: Family) -> None:
    """Whoever is told, and one that comes later knows it too."""
    first, second, third = told(family)
    await family.open()
    await first[1].drain("a", drained=True)
    await second[1].drain("b", drained=True)
    await second[1].drain("a", drained=False)
    assert [list(pool._drained) for pool, _ in (first, second, third)] == [["b"]] * 3
    later = BackendPool(timeout=1)
    assert await WorkersNews(later, family.workers[2]).begin() == ""
    assert list(later._drained) == ["b"]


async def test_who_starts_while_a_backend_is_resumed_asks_it() -> None:
    """It hears of that behind what it is told of all, and before it has taken that in: both came at once."""
    hears = Handlers()

    class Parent:
        """Resumes a backend while it answers."""

        async def ask(self, name: str, payload: Any = None) -> Any:
            """Two are drained."""
            hears.call(None, packed((news.DRAIN, ("a", False))))
            return (["a", "b"], "")

        def tell(self, name: str, payload: Any = None) -> None:
            """Nothing is told."""

    pool = BackendPool(timeout=1)
    await WorkersNews(pool, Shared(0, Parent(), hears)).begin()
    assert list(pool._drained) == ["b"]


async def test_the_last_word_is_the_same_for_all(family: Family) -> None:
    """Though two say the opposite at once."""
    told_ = told(family)
    await family.open()
    for _ in range(20):
        await asyncio.gather(
            *(worker.drain("a", drained=bool(index % 2)) for index, (_, worker) in enumerate(told_)),
        )
        assert len({"a" in pool._drained for pool, _ in told_}) == 1


async def test_who_starts_later_can_use_the_last_good_file(family: Family) -> None:
    """A worker that takes a dead one's place while somebody mends the file."""
    (_, first), (_, second), _ = told(family)
    await family.open()
    assert await second.begin() == ""
    first.good("[[backend]]")
    await family.channels[0].ask("hello")  # short messages keep their order
    assert await second.begin() == "[[backend]]"


async def test_the_parent_has_all_read_the_file(family: Family) -> None:
    """Once it gets the signal."""
    heard: list[int] = []
    for index, (_, worker) in enumerate(told(family)):
        worker.on_reread(lambda index=index: heard.append(index))  # type: ignore[misc]
    await family.open()
    family.common.backends.reread()
    async with asyncio.timeout(20):
        while len(heard) < 3:
            await asyncio.sleep(0.005)
    assert sorted(heard) == [0, 1, 2]


async def test_what_is_not_certain_is_an_error(family: Family) -> None:
    """A drain that only some would hold to is not answered as one."""
    (pool, worker), *_ = told(family)
    await family.open()
    await family.aclose()
    with pytest.raises(Unavailable):
        await worker.drain("a", drained=True)
    assert not pool._drained


async def test_what_the_parent_remembers_is_bounded(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many drained names the oldest is forgotten."""
    monkeypatch.setattr(of_parent, "_MOST_DRAINED", 2)
    (_, worker), *_ = told(family)
    await family.open()
    for name in ("a", "b", "c"):
        await worker.drain(name, drained=True)
    later = BackendPool(timeout=1)
    await WorkersNews(later, family.workers[1]).begin()
    assert list(later._drained) == ["b", "c"]
