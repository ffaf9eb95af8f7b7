"""Who is next: a weighted fair queue over keys, without a clock or a task of its own.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): a generation that comes gets a start tag, the larger one of the
queue's virtual time and the end of the same key's generation before it; the end is the start and what the generation
costs, over its key's weight. The smallest start tag is next, and is the virtual time from then on. So each key that
waits gets its share, however many of another one wait, and a key that comes back finds no debt and no credit.

Those of the class `batch` are next only while nobody else waits for the same slot, or once they have waited for
`aged_after` seconds; of two that are taken for a slot then, one at most is an aged one. It has to be its turn by its
tag, too: so a key that has many of that class has its share then, and no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

# Among so many dead ones in a line it is not worth while to look for them.
_FEW_GONE: Final = 64


@dataclass(eq=False, slots=True)
class Ticket:
    """A generation that waits.

    Args:
        key: whose it is.
        slots: names of those of which it needs one.
        cost: an estimate of its tokens, more than zero.
        since: when it came, in seconds.
        batch: whether it gives way to those that are not.
        weight: how much of a share its key has.
    """

    key: str
    slots: frozenset[str]
    cost: float
    since: float
    batch: bool = False
    weight: float = 1.0
    start: float = 0.0
    number: int = 0
    waits: bool = False

    @property
    def end(self) -> float:
        """Where its share ends."""
        return self.start + self.cost / self.weight

    def __lt__(self, other: Ticket) -> bool:
        """Whether it comes before another one of its class."""
        return (self.start, self.number) < (other.start, other.number)


@dataclass(slots=True)
class _Line:
    """Those who need one of the same slots, in one class; some may have gone."""

    waiting: list[Ticket] = field(default_factory=list)
    gone: int = 0

    def first(self) -> Ticket | None:
        """The first that still waits."""
        while self.waiting and not self.waiting[0].waits:
            heappop(self.waiting)
            self.gone -= 1
        return self.waiting[0] if self.waiting else None

    def lost_one(self) -> None:
        """One has gone, from wherever it stood."""
        self.gone += 1
        if self.gone > _FEW_GONE and self.gone * 2 > len(self.waiting):
            self.waiting = [ticket for ticket in self.waiting if ticket.waits]
            heapify(self.waiting)
            self.gone = 0


class FairQueue:
    """Tickets, and who of them is next for a slot.

    Args:
        aged_after: seconds after which one of the class `batch` does not give way any more.
    """

    def __init__(self, aged_after: float) -> None:
        self._aged_after = aged_after
        self._lines: dict[tuple[frozenset[str], bool], _Line] = {}
        self._ends: dict[tuple[str, bool], float] = {}
        self._of_key: Counter[str] = Counter()
        self._numbers = count()
        self._now = 0.0
        self._aged_was_last: set[str] = set()
        self._sweep_at = _FEW_GONE

    def __len__(self) -> int:
        """How many wait."""
        return self._of_key.total()

    def of_key(self, key: str) -> int:
        """How many of a key's wait."""
        return self._of_key[key]

    def put(self, ticket: Ticket) -> None:
        """Have a ticket wait."""
        flow = (ticket.key, ticket.batch)
        ticket.start = max(self._now, self._ends.get(flow, 0.0))
        ticket.number = next(self._numbers)
        ticket.waits = True
        self._ends[flow] = ticket.end
        self._of_key[ticket.key] += 1
        heappush(self._lines.setdefault((ticket.slots, ticket.batch), _Line()).waiting, ticket)

    def take(self, slot: str, now: float) -> Ticket | None:
        """Who is next for a slot, and waits no more; nobody, where nobody waits for it."""
        if not self._lines:
            return None
        people, batch = self._firsts(slot, now)
        aged = batch is not None and now - batch.since >= self._aged_after
        found = people or batch
        if people and batch and aged and slot not in self._aged_was_last and batch < people:
            found = batch
            self._aged_was_last.add(slot)
        else:
            self._aged_was_last.discard(slot)
        if found is None:
            return None
        self._now = max(self._now, found.start)
        heappop(self._lines[found.slots, found.batch].waiting)
        self._end_of(found)
        return found

    def drop(self, ticket: Ticket) -> None:
        """Have a ticket wait no more; one that does not wait is left alone.

        It costs its key nothing, unless others of its key have come behind it: those keep their tags.
        """
        if ticket.waits:
            self._lines[ticket.slots, ticket.batch].lost_one()
            flow = (ticket.key, ticket.batch)
            if self._ends.get(flow) == ticket.end:
                self._ends[flow] = ticket.start
            self._end_of(ticket)

    def in_order(self, slots: frozenset[str]) -> Iterator[Ticket]:
        """Those who wait for any of these slots, as they would be taken if nothing else came; ageing left aside."""
        for batch in (False, True):
            lines = [line for (needed, kind), line in self._lines.items() if kind is batch and needed & slots]
            yield from sorted(ticket for line in lines for ticket in line.waiting if ticket.waits)

    def waiting(self) -> Iterator[Ticket]:
        """Everybody who waits, in no order."""
        for line in self._lines.values():
            yield from (ticket for ticket in line.waiting if ticket.waits)

    def _firsts(self, slot: str, now: float) -> tuple[Ticket | None, Ticket | None]:
        """The first of each class that would take a slot."""
        found: list[Ticket | None] = [None, None]
        for (needed, batch), line in list(self._lines.items()):
            first = line.first()
            if first is None:
                del self._lines[needed, batch]
            elif slot in needed and ((best := found[batch]) is None or first < best):
                found[batch] = first
        return found[False], found[True]

    def _end_of(self, ticket: Ticket) -> None:
        ticket.waits = False
        self._of_key[ticket.key] -= 1
        if not self._of_key[ticket.key]:
            del self._of_key[ticket.key]
        if not self._of_key:  # nobody has to be remembered for: a key's past counts while others wait
            self._lines.clear()
            self._ends.clear()
            self._aged_was_last.clear()
            self._now, self._sweep_at = 0.0, _FEW_GONE
        elif len(self._ends) > self._sweep_at:
            self._ends = {flow: end for flow, end in self._ends.items() if end > self._now}
            self._sweep_at = max(_FEW_GONE, 2 * len(self._ends))
