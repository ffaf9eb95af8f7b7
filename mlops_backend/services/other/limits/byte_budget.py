"""The memory that request bodies may take: of all keys together, and of each."""

from __future__ import annotations

from collections import Counter
from typing import Final

from mlops_backend.errors import BodiesFull, KeyBodiesFull

# A body as small as this finds room where larger ones have left none: an eighth is kept for such.
SMALL: Final = 64 * 1024
_KEPT: Final = 8


class ByteBudget:
    """Counts bytes as they arrive, and until they are let go.

    Args:
        most: of all keys together.
        per_key: of one key, or of all that have none.
    """

    def __init__(self, most: int, per_key: int) -> None:
        self._most = most
        self._per_key = per_key
        self._of_key: Counter[str] = Counter()
        self.held = 0

    def take(self, who: str, size: int, *, small: bool = False) -> None:
        """Count `size` bytes more.

        Args:
            who: a principal's id; empty while nobody knows.
            size: bytes.
            small: they belong to a body of at most `SMALL` bytes.

        Raises:
            KeyBodiesFull: it would be more than the key may have.
            BodiesFull: it would be more than all may have.
        """
        if self._of_key[who] + size > self._per_key:
            raise KeyBodiesFull("The bodies of this key's requests take all the memory that they may; try again soon.")
        if self.held + size > self._most + (self._most // _KEPT if small else 0):
            raise BodiesFull("The bodies of requests take all the memory that they may; try again soon.")
        self._of_key[who] += size
        self.held += size

    def give(self, who: str, size: int) -> None:
        """Let go of bytes that were taken."""
        self.held -= size
        self._of_key[who] -= size
        if self._of_key[who] <= 0:
            del self._of_key[who]
