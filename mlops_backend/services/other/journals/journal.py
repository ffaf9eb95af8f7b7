"""What a journal is, and what can be asked of those who keep journals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import msgspec

# What is read at once, in bytes, unless one piece is longer.
PAGE: Final = 256 * 1024
# What a journal costs beside its pieces, and each piece beside its bytes.
JOURNAL_COST: Final = 2048
PIECE_COST: Final = 64
# A writer gives a sign each second, and keeps trying for ten. One that gave none for so long has left its claim to
# others; and for so long, or the time for which one is kept that has ended, its journal can still be read.
LEFT: Final = 15.0
LOST: Final = 30.0


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """A name that one journal has at a time, and what whoever comes by that name must have asked for, too."""

    name: str
    fingerprint: str


class Opening(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a journal before its first piece.

    `id` cannot be guessed. `owner` is the id of the principal that asked, `request_id` of the request that answers,
    `at` when that began, in seconds since the epoch. `about` is for whoever opened it; no keeper looks at it.
    """

    id: str
    owner: str
    request_id: str
    at: float
    about: bytes = b""
    claim: Claim | None = None


class Head(msgspec.Struct, frozen=True, array_like=True):
    """How an answer begins."""

    status: int
    headers: Sequence[tuple[str, str]] = ()


class Page(msgspec.Struct, frozen=True, array_like=True):
    """A part of a journal.

    The pieces are numbered from 1; `first` is the number of the first one here, and so the number of the next one to
    come where there is none. `oldest` is the number of the first one that is still kept. `outcome` is set once no piece
    follows those here. `silent` is how many seconds ago its writer was last heard of, 0 once it has ended.
    """

    head: Head | None
    first: int
    pieces: Sequence[bytes]
    oldest: int
    outcome: str | None = None
    silent: float = 0.0

    @property
    def last(self) -> int:
        """The number of the last piece that is here or was given before."""
        return self.first + len(self.pieces) - 1


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """A journal as its owner's list has it; `pieces` is how many have come."""

    opening: Opening
    pieces: int
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of what is kept.

    Args:
        each: bytes of one journal; of a longer one the beginning is dropped.
        all: bytes of all of them; those go first that ended first.
        count: how many there are.
        of_owner: how many of one owner.
        ttl: seconds for which one that has ended is kept.
    """

    each: int = 4 * 1024 * 1024
    all: int = 128 * 1024 * 1024
    count: int = 10_000
    of_owner: int = 1000
    ttl: float = 300.0

    @property
    def share(self) -> int:
        """Bytes of all that one owner has: a quarter, or one journal where that is more."""
        return max(self.each, self.all // 4)


@runtime_checkable
class Journals(Protocol):
    """Keeps journals, for a while.

    Whoever keeps them elsewhere raises `Unavailable` from each method while nobody is there.
    """

    async def begin(self, opening: Opening) -> Opening:
        """Begin a journal; or, where another one has the same claim, begin nothing.

        A claim whose journal has no end, and no writer any more, is anybody's.

        Returns:
            The opening of the one that has the claim: the given one, where it was begun.

        Raises:
            TooManyStreams: there are too many, of this owner or of all.
        """

    async def write(self, journal: str, pieces: Sequence[bytes] = (), head: Head | None = None) -> float:
        """Add pieces behind those that are there; without any it is a sign of life, due every second.

        Returns:
            For how many seconds nobody has read it.

        Raises:
            NotFound: it is not kept any more, or has ended.
        """

    async def end(self, journal: str, outcome: str, *, keeps_claim: bool = True) -> None:
        """No piece follows; without its claim whoever comes by that name begins anew. Nothing where it is gone."""

    async def read(self, journal: str, after: int = 0, wait: float = 0.0) -> Page:
        """The pieces behind number `after`, as soon as there is one, or its end, but in `wait` seconds at the latest.

        The first sight of its head is awaited like a piece. Each call counts as being read, from its beginning to its
        end.

        Raises:
            NotFound: there is no such journal.
        """

    async def opening(self, journal: str) -> Opening:
        """What is known of it; it does not count as being read.

        Raises:
            NotFound: there is no such journal.
        """

    async def listed(self, owner: str) -> list[Listed]:
        """Those of an owner, the oldest first."""

    async def forget(self, journal: str) -> None:
        """Keep it no longer, and its claim neither."""

    async def open(self) -> None:
        """Begin to keep them."""

    async def aclose(self) -> None:
        """Let go of what is held elsewhere."""
