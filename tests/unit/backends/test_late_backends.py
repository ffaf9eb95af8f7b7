"""A backend of which nothing is known yet is not waited for, unless those that are known are of no use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mlops_backend.errors import BackendRefused
from mlops_backend.services.llm.backends import pool as routing
from mlops_backend.services.llm.backends.pool import BackendPool


class Listing:
    """A backend that lists one model, once it may."""

    note = ""

    def __init__(self, name: str, *, at_once: bool = True) -> None:
        self.address = name
        self.is_away = False
        self.may = asyncio.Event()
        if at_once:
            self.may.set()

    async def version(self) -> str:
        """Its version, if it is there."""
        if self.is_away:
            raise BackendRefused("The backend refuses connections.")
        return "1"

    async def tags(self) -> list[dict[str, Any]]:
        """Its model."""
        await self.may.wait()
        return [{"name": "llama3:latest", "model": "llama3:latest"}]

    async def running(self) -> list[dict[str, Any]]:
        """Nothing."""
        return []

    def aliases(self) -> frozenset[str]:
        """None."""
        return frozenset()


@asynccontextmanager
async def pooled(*backends: Any) -> AsyncIterator[BackendPool]:
    """A pool of them, about which nothing is known."""
    pool = BackendPool(timeout=5)
    pool.use(backends)
    yield pool
    await pool.close()


@pytest.mark.parametrize("in_order", [False, True])
async def test_it_is_asked_when_the_known_ones_are_of_no_use(in_order: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says within `PATIENCE` that it has the model too."""
    monkeypatch.setattr(routing, "PATIENCE", 20)
    quick, slow = Listing("quick"), Listing("slow", at_once=False)
    async with pooled(quick, slow) as pool:
        candidates = await pool.candidates("llama3", in_order=in_order)
        slow.may.set()
        assert await candidates.pass_over(candidates.left[0])
        assert [backend.address for backend in candidates.left] == ["slow"]
        assert not await candidates.pass_over(candidates.left[0])


async def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than `PATIENCE`."""
    monkeypatch.setattr(routing, "PATIENCE", 0.01)
    quick, silent = Listing("quick"), Listing("silent", at_once=False)
    async with pooled(quick, silent) as pool:
        candidates = await pool.candidates("llama3")
        assert [backend.address for backend in candidates.left] == ["quick"]
        assert not await candidates.pass_over(candidates.left[0])


async def test_nobody_is_late_where_all_are_known() -> None:
    """Each of them was asked."""
    one, two = Listing("one"), Listing("two")
    async with pooled(one, two) as pool:
        await pool.probe()
        candidates = await pool.candidates("llama3")
        assert {backend.address for backend in candidates.left} == {"one", "two"}
        await candidates.pass_over(candidates.left[0])
        assert not await candidates.pass_over(candidates.left[0])


@pytest.mark.parametrize("is_back", [True, False])
async def test_one_that_was_away_is_asked_before_an_error_is(is_back: bool) -> None:
    """When those that are there cannot answer: it may have come back since it was looked at, however soon that is."""
    there, away = Listing("there"), Listing("away")
    async with pooled(there, away) as pool:
        await pool.probe()
        away.is_away = True
        await pool.asked("away")
        away.is_away = not is_back
        candidates = await pool.candidates("llama3")
        assert [backend.address for backend in candidates.left] == ["there"]
        assert await candidates.pass_over(candidates.left[0])
        assert [backend.address for backend in candidates.left] == ["away"]
        assert pool.state("away").probe.reachable == is_back
        assert not await candidates.pass_over(candidates.left[0])


async def test_one_that_was_away_and_never_had_the_model_is_not_asked() -> None:
    """Its failure would say nothing of the model."""
    there, away = Listing("there"), Listing("away")
    away.is_away = True
    async with pooled(there, away) as pool:
        await pool.probe()
        candidates = await pool.candidates("llama3")
        assert not await candidates.pass_over(candidates.left[0])


async def test_where_all_were_away_they_are_looked_at_again() -> None:
    """Before it is said that there is none."""
    one, two = Listing("one"), Listing("two")
    one.is_away = two.is_away = True
    async with pooled(one, two) as pool:
        await pool.probe()
        two.is_away = False
        candidates = await pool.candidates("llama3")
        assert [backend.address for backend in candidates.left] == ["two"]
        assert [backend.address for backend in (await pool.reachable()).left] == ["two"]
