"""The numbers of several processes as one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

# What they are together: the sum, which never falls; the sum; the least; the most.
OfAll = Literal["grows", "sum", "least", "most"]
Told = tuple[str, float, OfAll]
_REMEMBERED: Final = 10_000


def together(told: Sequence[Sequence[Told]]) -> dict[str, float]:
    """By name, what the numbers of all processes come to."""
    whole: dict[str, float] = {}
    for name, value, of_all in (number for numbers in told for number in numbers):
        if name not in whole:
            whole[name] = value
        elif of_all in ("grows", "sum"):
            whole[name] += value
        else:
            whole[name] = min(whole[name], value) if of_all == "least" else max(whole[name], value)
    return whole


def named(name: str, labels: Mapping[str, str]) -> str:
    """One name for a number and its labels."""
    return f"{name}{json.dumps(labels, sort_keys=True)}" if labels else name


@lru_cache(maxsize=_REMEMBERED)
def parted(name: str) -> tuple[str, Mapping[str, str]]:
    """The name and the labels of what was `named`."""
    plain, mark, labels = name.partition("{")
    return plain, json.loads(mark + labels) if mark else {}
