"""The stall probe's part of a run."""

from __future__ import annotations

from bench import gaps
from bench.stalls import Stall


def test_each_of_the_worst_bodies_is_one_that_the_probe_sends() -> None:
    """A name that the probe has no longer would be left out in silence."""
    sent = {(case.path, case.title) for case in gaps.worst()}
    assert sent == {(path, title) for path, titles in gaps.WORST.items() for title in titles}


def test_the_longest_wait_is_held_to_the_bound() -> None:
    """One body that keeps everybody waiting misses it."""
    stalls = [Stall("integers", "/api/chat", 30.0, 200, 1.0, gap, gap / 2) for gap in (20.0, 101.0)]
    rows = gaps.rows_of(stalls)
    assert (rows[0].result, rows[0].passed, len(rows)) == (101.0, False, 3)
    assert gaps.rows_of(stalls[:1])[0].passed is True
