"""Journals in the memory of one process."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from math import inf
from time import monotonic

from mlops_backend.errors import NotFound, TooManyStreams
from mlops_backend.services.other.journals.journal import (
    JOURNAL_COST,
    LEFT,
    LOST,
    PAGE,
    PIECE_COST,
    Bounds,
    Head,
    Listed,
    Opening,
    Page,
)


class _Journal:
    """One of them."""

    def __init__(self, opening: Opening, now: float) -> None:
        self.opening = opening
        self.head: Head | None = None
        self.pieces: deque[bytes] = deque()
        self.oldest = 1
        self.bytes = JOURNAL_COST + len(opening.about)
        self.outcome: str | None = None
        self.readers = 0
        self.is_left = False
        self.read_at = self.written_at = now
        self.changed = asyncio.Event()

    @property
    def next(self) -> int:
        """The number that the next piece has."""
        return self.oldest + len(self.pieces)

    def has_news(self, after: int) -> bool:
        """Whether there is a piece behind that number, or nothing more to wait for."""
        return self.next - 1 > after or self.outcome is not None or self.is_left

    def tell(self) -> None:
        """Wake who waits."""
        self.changed.set()
        self.changed = asyncio.Event()

    def drop_oldest(self) -> int:
        """Drop the oldest piece; how many bytes that gives."""
        given = len(self.pieces.popleft()) + PIECE_COST
        self.oldest += 1
        self.bytes -= given
        return given


class MemoryJournals:
    """Keeps them itself; see `Journals`.

    Args:
        bounds: of what is kept.
        clock: seconds that only grow.
    """

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = monotonic) -> None:
        self._bounds, self._clock = bounds, clock
        self._kept: dict[str, _Journal] = {}
        self._ended: OrderedDict[str, float] = OrderedDict()
        self._of_owner: Counter[str] = Counter()
        self._bytes_of: Counter[str] = Counter()
        self._ended_of: defaultdict[str, OrderedDict[str, None]] = defaultdict(OrderedDict)
        self._claims: dict[str, str] = {}
        self.bytes = 0

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    async def begin(self, opening: Opening) -> Opening:
        """See `Journals.begin`."""
        self._drop_old()
        if opening.claim is not None and (holder := self._holder(opening.claim.name)) is not None:
            return holder.opening
        self._make_room(opening.owner)
        made = self._kept[opening.id] = _Journal(opening, self._clock())
        self._of_owner[opening.owner] += 1
        self._count(made, made.bytes)
        if opening.claim is not None:
            self._claims[opening.claim.name] = opening.id
        return opening

    async def write(self, journal: str, pieces: Sequence[bytes] = (), head: Head | None = None) -> float:
        """See `Journals.write`."""
        return self.write_at_once(journal, pieces, head)

    def write_at_once(
        self, journal: str, pieces: Sequence[bytes] = (), head: Head | None = None, first: int = 0
    ) -> float:
        """See `Journals.write`; with the number of the first piece, those that are there already are not added."""
        found, now = self._find(journal), self._clock()
        if found.outcome is not None or found.is_left:  # what makes room may have dropped it, and counted it out
            raise _not_kept()
        if first:
            pieces = pieces[found.next - first :]
        found.written_at = now
        if head is not None:
            found.head = head
        if pieces:
            self._add(found, pieces)
        if pieces or head is not None:
            found.tell()
        return 0.0 if found.readers else now - found.read_at

    async def end(self, journal: str, outcome: str, *, keeps_claim: bool = True) -> None:
        """See `Journals.end`."""
        found = self._kept.get(journal)
        if found is None or found.outcome is not None:
            return
        found.outcome = outcome
        self._ended[journal] = self._clock() + self._bounds.ttl
        self._ended_of[found.opening.owner][journal] = None
        if not keeps_claim:
            self._release(found.opening)
        found.tell()

    async def read(self, journal: str, after: int = 0, wait: float = 0.0) -> Page:
        """See `Journals.read`."""
        found = self._find(journal)
        was_headless = found.head is None
        found.readers += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait)):
                    while not (found.has_news(after) or (was_headless and found.head)):
                        await found.changed.wait()
        finally:
            found.readers -= 1
            found.read_at = self._clock()
        if self._kept.get(journal) is not found:
            raise _not_kept()
        return self._page(found, after)

    async def opening(self, journal: str) -> Opening:
        """See `Journals.opening`."""
        return self._find(journal).opening

    def lose(self, journal: str) -> None:
        """Its writer is not there any more; nothing where it has ended."""
        found = self._kept.get(journal)
        if found is not None and found.outcome is None:
            found.is_left = True
            self._ended[journal] = self._clock() + self._bounds.ttl
            self._ended_of[found.opening.owner][journal] = None
            self._release(found.opening)
            found.tell()

    async def listed(self, owner: str) -> list[Listed]:
        """See `Journals.listed`."""
        self._drop_old()
        mine = (each for each in self._kept.values() if each.opening.owner == owner)
        return [Listed(each.opening, each.next - 1, each.outcome) for each in mine]

    async def forget(self, journal: str) -> None:
        """See `Journals.forget`."""
        self._drop(journal)

    async def open(self) -> None:
        """Nothing is needed."""

    async def aclose(self) -> None:
        """Nothing is held elsewhere."""

    def _find(self, journal: str) -> _Journal:
        self._drop_old()
        if (found := self._kept.get(journal)) is None:
            raise _not_kept()
        return found

    def _add(self, found: _Journal, pieces: Iterable[bytes]) -> None:
        bounds, owner, before = self._bounds, found.opening.owner, found.bytes
        found.pieces.extend(pieces)
        found.bytes += sum(len(piece) + PIECE_COST for piece in pieces)
        while found.bytes > bounds.each and found.pieces:
            found.drop_oldest()
        self._count(found, found.bytes - before)
        while self._bytes_of[owner] > bounds.share and (ended := self._ended_of[owner]):
            self._drop(next(iter(ended)))
        while self.bytes > bounds.all and self._ended:
            self._drop(next(iter(self._ended)))
        while found.pieces and (self._bytes_of[owner] > bounds.share or self.bytes > bounds.all):
            self._count(found, -found.drop_oldest())

    def _count(self, found: _Journal, size: int) -> None:
        self.bytes += size
        self._bytes_of[found.opening.owner] += size

    def _page(self, found: _Journal, after: int) -> Page:
        first = max(after + 1, found.oldest)
        taken: list[bytes] = []
        size = 0
        for piece in islice(found.pieces, first - found.oldest, None):
            if taken and size + len(piece) > PAGE:
                break
            taken.append(piece)
            size += len(piece)
        is_last = first + len(taken) >= found.next
        return Page(found.head, first, taken, found.oldest, found.outcome if is_last else None, self._silent(found))

    def _silent(self, found: _Journal) -> float:
        if found.outcome is not None:
            return 0.0
        return inf if found.is_left else self._clock() - found.written_at

    def _holder(self, claim: str) -> _Journal | None:
        found = self._kept.get(self._claims.get(claim, ""))
        return None if found is None or self._silent(found) > LEFT else found

    def _make_room(self, owner: str) -> None:
        if self._of_owner[owner] >= self._bounds.of_owner:
            self._drop_ended(lambda each: each.opening.owner == owner)
        if self._of_owner[owner] >= self._bounds.of_owner:
            raise TooManyStreams("Too many streams of this key run; try again soon.")
        if len(self._kept) >= self._bounds.count or self.bytes + JOURNAL_COST > self._bounds.all:
            self._drop_ended(lambda _: True)
        if len(self._kept) >= self._bounds.count or self.bytes + JOURNAL_COST > self._bounds.all:
            raise TooManyStreams("Too many streams run; try again soon.")

    def _drop_ended(self, meant: Callable[[_Journal], bool]) -> None:
        """Drop the one that ended first among those that are meant."""
        for journal in self._ended:
            if meant(self._kept[journal]):
                self._drop(journal)
                return

    def _drop_old(self) -> None:
        now = self._clock()
        while self._ended and next(iter(self._ended.values())) <= now:
            self._drop(next(iter(self._ended)))
        while self._kept:  # the oldest that runs is looked at, and so, in their turn, all
            oldest = next(iter(self._kept.values()))
            if oldest.outcome is None and now - oldest.written_at > max(LOST, self._bounds.ttl):
                self._drop(oldest.opening.id)
            else:
                return

    def _drop(self, journal: str) -> None:
        found = self._kept.pop(journal, None)
        if found is None:
            return
        owner = found.opening.owner
        self._ended.pop(journal, None)
        self._ended_of[owner].pop(journal, None)
        self._count(found, -found.bytes)
        self._of_owner[owner] -= 1
        if not self._of_owner[owner]:
            del self._of_owner[owner], self._bytes_of[owner], self._ended_of[owner]
        self._release(found.opening)
        found.outcome = found.outcome or "lost"
        found.tell()

    def _release(self, opening: Opening) -> None:
        if opening.claim is not None and self._claims.get(opening.claim.name) == opening.id:
            del self._claims[opening.claim.name]


def _not_kept() -> NotFound:
    return NotFound("There is no such stream, or its time has passed.")
