"""How many connections each worker has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

from mlops_backend.workers.board import Board, new_board


@contextmanager
def boards(workers: int) -> Iterator[list[Board]]:
    """The shared memory as each worker sees it."""
    descriptor = new_board(workers)
    try:
        yield [Board(descriptor, workers, index) for index in range(workers)]
    finally:
        os.close(descriptor)


def test_the_one_with_more_is_ahead() -> None:
    """Who has more connections than another leaves it the next one; with as many as the others nobody does."""
    with boards(3) as (one, two, three):
        for board in (one, two, three):
            board.enter()
        assert not any(board.patience() for board in (one, two, three))
        one.note(2)
        two.note(1)
        assert (one.patience() > 0, two.patience() > 0, three.patience()) == (True, True, 0)
        assert (one.open, two.open, three.open) == (1, 2, 3)


def test_nobody_waits_for_one_that_is_not_there() -> None:
    """A worker that has not come yet, is gone or leaves is neither waited for nor counted."""
    with boards(2) as (one, two):
        one.enter()
        one.note(5)
        assert not one.patience(), "the other has not come yet"
        two.enter()
        assert one.patience()
        one.clear(1)
        assert not one.patience(), "the other is gone"
        assert one.open == 0


def test_one_that_leaves_takes_no_more_where_another_can() -> None:
    """Whatever it has, the others come first; when all leave, nobody is left to."""
    with boards(2) as (one, two):
        one.enter()
        two.enter()
        two.note(7)
        one.leave()
        one.note(0)
        assert (one.patience(), two.patience()) == (inf, 0)
        two.leave()
        assert (one.patience(), two.patience()) == (0, 0)
