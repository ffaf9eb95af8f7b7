"""Work on what is large: where it is done, how it rests, and when it ends."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from mlops_backend import aside as module
from mlops_backend.aside import LARGE, aside, rest
from mlops_backend.errors import InvalidJSON

WHO: ContextVar[str] = ContextVar("who", default="nobody")


async def test_small_work_is_done_here() -> None:
    """And what is large in another thread, in the same context."""
    WHO.set("somebody")
    assert await aside(LARGE, threading.current_thread) is threading.current_thread()
    assert await aside(LARGE + 1, threading.current_thread) is not threading.current_thread()
    assert await aside(LARGE + 1, WHO.get) == "somebody"


async def test_very_large_work_keeps_no_other_waiting() -> None:
    """It has a thread of its own."""
    begun, over = threading.Event(), threading.Event()

    def long() -> str:
        begun.set()
        return "long" if over.wait(10) else "late"

    waiting = asyncio.create_task(aside(100 * LARGE, long))
    await asyncio.to_thread(begun.wait, 10)
    assert await aside(2 * LARGE, lambda: "short") == "short"
    over.set()
    assert await waiting == "long"


async def test_errors_are_the_callers() -> None:
    """Of small work and of large."""

    def fail() -> None:
        raise InvalidJSON("wrong")

    for size in (1, 2 * LARGE):
        with pytest.raises(InvalidJSON, match="wrong"):
            await aside(size, fail)


async def test_work_that_nobody_waits_for_ends_at_its_next_rest() -> None:
    """Its thread is free for the next one."""
    begun = threading.Event()
    rests = 0

    def endless() -> None:
        nonlocal rests
        begun.set()
        while True:
            rest()
            rests += 1

    waiting = asyncio.create_task(aside(2 * LARGE, endless))
    await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.wait_for(aside(2 * LARGE, lambda: "next"), 10) == "next"
    rested = rests
    assert await aside(2 * LARGE, lambda: rests) == rested


async def test_work_rests_once_it_has_worked_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only in the thread, and not behind every step."""
    now, slept = [0.0], list[float]()
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    monkeypatch.setattr(module, "sleep", slept.append)

    def work() -> None:
        for _ in range(10):
            now[0] += 0.003
            rest()

    work()
    assert slept == []
    await aside(2 * LARGE, work)
    assert len(slept) == 5
