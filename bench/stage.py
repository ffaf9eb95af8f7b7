"""The servers of one run, and whom each job visits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.wire import Address

Visits = Callable[[str, int], Sequence[Address]]


@dataclass(frozen=True)
class Stage:
    """All servers that run; `visits` takes a scenario and the job's number."""

    servers: Sequence[Address]
    visits: Visits


def rotated(addresses: Sequence[Address], number: int) -> list[Address]:
    """Return the addresses in the order of a job of this number: each job begins with another."""
    turn = number % max(len(addresses), 1)
    return [*addresses[turn:], *addresses[:turn]]
