"""Those who keep journals, each with a clock that a test moves where it can be moved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from mlops_backend.services.other.journals import Bounds, Claim, Journals, MemoryJournals, Opening

SMALL: Final = Bounds(each=8 * 1024, all=24 * 1024, count=6, of_owner=3, ttl=30.0)


@dataclass
class Clock:
    """Seconds that only a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass
class Keeper:
    """One who keeps them, and what moves its clock."""

    journals: Journals
    clock: Clock = field(default_factory=Clock)


Making = Callable[[Bounds], AbstractAsyncContextManager[Keeper]]


@asynccontextmanager
async def in_memory(bounds: Bounds) -> AsyncIterator[Keeper]:
    """This process itself."""
    clock = Clock()
    journals = MemoryJournals(bounds, clock)
    await journals.open()
    yield Keeper(journals, clock)
    await journals.aclose()


KEEPERS: Final[dict[str, Making]] = {"memory": in_memory}


def opened(number: int = 1, owner: str = "key", claim: str = "", fingerprint: str = "same") -> Opening:
    """An opening."""
    wanted = Claim(claim, fingerprint) if claim else None
    return Opening(f"journal-{number}", owner, f"request-{number}", 1.5 * number, b"about %d" % number, wanted)
