"""The numbers of several processes as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

# What they are together: the sum, which never falls; the sum; the least.
OfAll = Literal["grows", "sum", "least"]
Told = tuple[str, float, OfAll]


def together(told: Sequence[Sequence[Told]]) -> dict[str, float]:
    """By name, what the numbers of all processes come to."""
    whole: dict[str, float] = {}
    for name, value, of_all in (number for numbers in told for number in numbers):
        if name not in whole:
            whole[name] = value
        else:
            whole[name] = min(whole[name], value) if of_all == "least" else whole[name] + value
    return whole
