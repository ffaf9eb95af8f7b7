"""Which piece comes next in what is written here: what is sent again, for want of an answer, is there once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mlops_backend.services.other.journals.journal import PAGE

# Whoever writes forgets what it has ended; of more only those are left whose keeper has never come back.
_MOST: Final = 20_000


class NextNumbers:
    """By journal, as far as its keeper has said; 0 is one that is not known here."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def of(self, journal: str) -> int:
        """The number of the piece that comes next."""
        return self._next.get(journal, 0)

    def note(self, journal: str, number: int) -> None:
        """All before that number are there."""
        self._next[journal] = number
        if len(self._next) > _MOST:
            del self._next[next(iter(self._next))]

    def forget(self, journal: str) -> None:
        """Nothing comes any more."""
        self._next.pop(journal, None)


def parts_of(pieces: Sequence[bytes], most: int) -> Iterator[Sequence[bytes]]:
    """The same in parts of a page's bytes, unless one piece is longer, and of `most` pieces; one part at least."""
    begin = size = 0
    for at, piece in enumerate(pieces):
        if at > begin and (size + len(piece) > PAGE or at - begin >= most):
            yield pieces[begin:at]
            begin, size = at, 0
        size += len(piece)
    yield pieces[begin:]
