"""What is kept of an answer, and what can be asked of those who keep it."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

# What one costs beside its bytes, so that a bound of bytes is one of their number too.
_ENTRY: Final = 1024


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A whole answer of status 200.

    `at` is when it ended, in seconds since the epoch; `streamed` says that it came in pieces. `model` and
    `requested_model` are what the ledger has of the call that it is of.
    """

    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: float
    streamed: bool
    model: str
    requested_model: str

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return _ENTRY + len(self.body)


class Keeper(Protocol):
    """Keeps entries for a while, and only so many bytes of them; nothing that is asked of it ever fails."""

    @property
    def entries(self) -> int:
        """How many are kept, as far as it knows."""

    @property
    def bytes(self) -> int:
        """How many bytes they take."""

    async def get(self, name: str) -> Entry | None:
        """What is kept by that name."""

    async def put(self, name: str, entry: Entry) -> None:
        """Keep an entry in the place of what has that name; those make room for it that came first."""

    async def open(self) -> None:
        """Begin to keep."""

    async def aclose(self) -> None:
        """Let go of what is held elsewhere."""
