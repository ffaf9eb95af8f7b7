"""The watch: deadlines and interruption of one task's waits."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref

import pytest

from mlops_backend.errors import Draining, IdleTimedOut
from mlops_backend.services.llm.generation.watch import Watch


def late() -> IdleTimedOut:
    """What a late wait raises here."""
    return IdleTimedOut("late")


async def never() -> None:
    """Wait for ever."""
    await asyncio.Event().wait()


async def test_a_result_in_time_is_returned() -> None:
    """A wait that ends in time gives its result, and leaves no timer behind."""
    watch = Watch()
    assert await watch.wait(lambda: asyncio.sleep(0, "done"), 1, late) == "done"
    watch.close()


async def test_a_late_wait_raises() -> None:
    """Each wait has its own deadline: a short one after a long one is kept too."""
    watch = Watch()
    await watch.wait(lambda: asyncio.sleep(0), 600, late)
    async with asyncio.timeout(20):
        with pytest.raises(IdleTimedOut):
            await watch.wait(never, 0.02, late)
    watch.close()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_time_between_waits_does_not_count() -> None:
    """What the owner does between two waits is not timed."""
    watch = Watch()
    for _ in range(3):
        await watch.wait(lambda: asyncio.sleep(0), 0.02, late)
        await asyncio.sleep(0.03)
    watch.close()


async def test_a_clock_begins_behind_a_wait_that_has_another() -> None:
    """However long that was: also where the timer has rung meanwhile."""
    watch = Watch()

    async def queued_and_never_answered() -> None:
        watch.moved(math.inf)
        await asyncio.sleep(0.05)
        watch.began(0.02)
        await never()

    async with asyncio.timeout(20):
        with pytest.raises(IdleTimedOut):
            await watch.wait(queued_and_never_answered, 0.01, late)
    watch.close()


async def test_an_interrupt_ends_the_wait_of_the_moment_and_the_next() -> None:
    """An interrupt reaches a wait under way, and otherwise the next one; the first reason stays."""
    watch = Watch()
    asyncio.get_running_loop().call_later(0.01, watch.interrupt, Draining("first"))
    with pytest.raises(Draining, match="first"):
        await watch.wait(never, 600, late)
    watch.interrupt(Draining("second"))
    with pytest.raises(Draining, match="first"):
        await watch.wait(never, 600, late)
    watch.close()


async def test_somebody_elses_cancel_is_not_swallowed() -> None:
    """A cancel from outside stays a cancel, even at the same moment as an interrupt."""
    watch = Watch()

    async def owner() -> None:
        await watch.wait(never, 600, late)

    for interrupted in (False, True):
        task = asyncio.create_task(owner())
        await asyncio.sleep(0)
        if interrupted:
            watch.interrupt(Draining("stop"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    watch.close()


class Asked:
    """What a generation holds, and can be watched going away."""


@pytest.mark.parametrize("ending", ["late", "interrupted", "interrupted before"])
async def test_a_watch_that_is_over_holds_nothing(ending: str) -> None:
    """Once it is closed, what its owner held goes with the error that it raised; no garbage collector is needed."""
    gone: list[weakref.ref[Asked]] = []

    async def owner(asked: Asked) -> None:
        watch = Watch()
        gone.append(weakref.ref(asked))
        if ending == "interrupted before":
            watch.interrupt(Draining("stop"))
        elif ending == "interrupted":
            asyncio.get_running_loop().call_later(0.01, watch.interrupt, Draining("stop"))
        try:
            await watch.wait(never, 0.02 if ending == "late" else 600, late)
        finally:
            watch.close()

    gc.disable()
    try:
        with pytest.raises((Draining, IdleTimedOut)) as raised:
            await owner(Asked())
        assert gone[0]() is not None
        del raised
        assert gone[0]() is None
    finally:
        gc.enable()


async def test_a_watch_may_be_closed_twice() -> None:
    """Nor does its timer ring any more."""
    watch = Watch()
    await watch.wait(lambda: asyncio.sleep(0), 0.01, late)
    watch.close()
    watch.close()
    await asyncio.sleep(0.02)
