"""How many connections each worker has: a page of memory that they share, where each writes its own number."""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import suppress
from math import inf
from typing import Final

# In the place of a number: this one takes no connections, and nobody need wait for it.
_NOBODY: Final = 2**64 - 1
_SIZE: Final = 8
# A worker that takes longer to come is busy.
_PATIENCE: Final = 0.02


class Board:
    """The numbers of all workers, as one of them or their parent sees them.

    Args:
        descriptor: of the shared memory.
        workers: how many there are.
        index: whose number is written here.
    """

    def __init__(self, descriptor: int, workers: int, index: int = 0) -> None:
        self._numbers = memoryview(mmap.mmap(descriptor, workers * _SIZE)).cast("Q")
        self._index = index
        self._others = [other for other in range(workers) if other != index]

    @property
    def open(self) -> int:
        """How many connections the others have."""
        return sum(number for number in self._of_others() if number != _NOBODY)

    def note(self, connections: int) -> None:
        """This one has so many; once it has left it is not asked any more."""
        if self._numbers[self._index] != _NOBODY:
            self._numbers[self._index] = connections

    def patience(self) -> float:
        """How many seconds the next connection is left to others, of whom one has fewer.

        For ever, by one that leaves: another one can.
        """
        own = self._numbers[self._index]
        if own <= min(self._of_others(), default=_NOBODY):
            return 0.0
        return inf if own == _NOBODY else _PATIENCE

    def enter(self) -> None:
        """This one begins to take connections."""
        self._numbers[self._index] = 0

    def leave(self) -> None:
        """This one takes no more connections than it must."""
        self.clear(self._index)

    def clear(self, index: int) -> None:
        """Somebody is gone."""
        self._numbers[index] = _NOBODY

    def _of_others(self) -> list[int]:
        return [self._numbers[other] for other in self._others]


def memory_file(content: bytes) -> int:
    """A file that has no name, for children: its descriptor, at its begin."""
    with suppress(AttributeError, OSError):
        descriptor = os.memfd_create("mlops_backend")
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(content)
        descriptor = os.dup(file.fileno())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def new_board(workers: int) -> int:
    """The shared memory's descriptor; nobody takes connections yet."""
    return memory_file(b"\xff" * (_SIZE * workers))
