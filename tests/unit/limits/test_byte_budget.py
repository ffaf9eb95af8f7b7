"""The memory that bodies may take: of all keys, and of each."""

from __future__ import annotations

import pytest

from mlops_backend.errors import BodiesFull, KeyBodiesFull
from mlops_backend.services.other.limits import ByteBudget


def test_a_key_has_its_share() -> None:
    """One key's bodies take what they may, and no byte more; another's find room."""
    budget = ByteBudget(150, 100)
    budget.take("one", 60)
    budget.take("one", 40)
    with pytest.raises(KeyBodiesFull):
        budget.take("one", 1)
    budget.take("other", 50)
    assert budget.held == 150


def test_all_keys_together_have_a_bound() -> None:
    """However many keys there are."""
    budget = ByteBudget(150, 100)
    budget.take("one", 100)
    budget.take("two", 50)
    with pytest.raises(BodiesFull):
        budget.take("three", 1)
    assert budget.held == 150


def test_a_small_body_finds_room_behind_large_ones() -> None:
    """An eighth is kept for such, and is bounded too."""
    budget = ByteBudget(800, 800)
    budget.take("one", 800)
    for _ in range(10):
        budget.take("two", 10, small=True)
    with pytest.raises(BodiesFull):
        budget.take("two", 1, small=True)


def test_what_is_given_back_is_room_again() -> None:
    """A key that holds nothing is forgotten."""
    budget = ByteBudget(100, 100)
    for _ in range(1000):
        budget.take("one", 100)
        budget.give("one", 60)
        budget.give("one", 40)
    assert budget.held == 0
    assert not budget._of_key
