"""Coroutines that run at once as far as they can."""

from __future__ import annotations

import asyncio

import pytest

from mlops_backend.begun import Begun


async def test_what_need_not_wait_is_done_at_once() -> None:
    """No task, no turn of the loop."""
    seen: list[str] = []

    async def work() -> None:
        seen.append("worked")

    assert Begun(work()).done
    assert seen == ["worked"]


async def test_what_raises_at_once_raises_here() -> None:
    """As a call would."""

    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Begun(work())


async def test_what_waits_goes_on_as_a_task() -> None:
    """With all that a task may do."""
    asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> int:
        first = await asked
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await asyncio.sleep(0.001)
        return first + 1

    begun = Begun(work())
    assert not begun.done
    task = begun.task()
    asked.set_result(1)
    assert await task == 2


async def test_a_wait_that_ended_before_the_task_was_made_is_no_obstacle() -> None:
    """Nothing is waited for twice."""
    asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> int:
        return await asked

    begun = Begun(work())
    asked.set_result(7)
    assert await begun.task() == 7


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_cancelled_task_is_cancelled_where_it_waits(turns: int) -> None:
    """Also before its first turn."""
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = Begun(work()).task()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_an_error_of_what_is_waited_for_arrives() -> None:
    """It may be caught, and be waited behind."""
    asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> str:
        try:
            await asked
        except ValueError:
            await asyncio.sleep(0)
            return "caught"
        return "nothing"

    task = Begun(work()).task()
    asked.set_exception(ValueError())
    assert await task == "caught"


async def test_what_is_closed_ends_where_it_waits() -> None:
    """What it holds is let go, once."""
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    begun = Begun(work())
    begun.close()
    begun.close()
    assert seen == ["ended"]
