"""What a key has at most is what it may have: the last byte is for use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mlops_backend.errors import ConversationFull
from mlops_backend.services.other.conversations.bounds import Bounds, count
from mlops_backend.services.other.database import Database, Statements


@pytest.mark.parametrize(
    ("steps", "is_full"),
    [
        ([(1, 100)], False),
        ([(1, 101)], True),
        ([(1, 60), (1, 40)], False),
        ([(1, 60), (1, 41)], True),
        ([(1, 1), (1, 1), (1, 1)], True),
        ([(1, 1), (1, 1), (0, 1)], False),
    ],
    ids=["all at once", "a byte too many", "little by little", "too many together", "one too many", "more in one"],
)
async def test_a_key_has_up_to_its_bounds(
    database_url: str, steps: Sequence[tuple[int, int]], *, is_full: bool
) -> None:
    """Two conversations and a hundred bytes, here."""
    assert await refused(database_url, Bounds(2, 9, 100, 100), steps) is is_full


async def test_who_has_too_much_already_may_take_away(database_url: str) -> None:
    """An operator may lower the bounds below what a key has: what adds nothing is not refused for that."""
    before = [(9, 900)]
    assert not await refused(database_url, Bounds(2, 9, 100, 100), [(0, 0), (-1, -100)], before)
    assert await refused(database_url, Bounds(2, 9, 100, 100), [(0, 1)], before)


async def refused(url: str, bounds: Bounds, steps: Sequence[Any], before: Sequence[Any] = ()) -> bool:
    """Whether the last of some steps is refused, each a number of conversations and of bytes; none before it is."""
    database = Database(url)
    await database.open()

    async def work(connection: Statements) -> bool:
        for number, size in before:
            await count(connection, "key", number, size, None)
        for number, size in steps[:-1]:
            await count(connection, "key", number, size, bounds)
        try:
            await count(connection, "key", steps[-1][0], steps[-1][1], bounds)
        except ConversationFull:
            return True
        return False

    try:
        return await database.transaction(work)
    finally:
        await database.aclose()
