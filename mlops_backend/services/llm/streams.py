"""Capability URLs: a stream that is described by POST and fetched, once, by an unguessable address.

A browser's `EventSource` can neither POST nor set a header; it can open such an address.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from mlops_backend.errors import NotFound, TooManyStreams
from mlops_backend.principal import Principal
from mlops_backend.shared import Hears, Shared

if TYPE_CHECKING:  # the parent of workers keeps tickets, and has no use for what asks a backend
    from mlops_backend.services.llm.backends import Operation

LIFE: Final = 60.0
MAX_WAITING: Final = 1000
MAX_WAITING_OF_KEY: Final = 100
MAX_BYTES: Final = 8 * 1024 * 1024
MAX_USED: Final = 10_000
CHECK: Final = "streams.check"
ISSUE: Final = "streams.issue"
REDEEM: Final = "streams.redeem"


class Room(Protocol):
    """Knows how much memory bodies may take; see `services.other.limits.ByteBudget`."""

    def take(self, who: str, size: int) -> None:
        """Take some for a principal; raises an `AppError` where there is none."""
        ...

    def give(self, who: str, size: int) -> None:
        """Give it back."""
        ...


@dataclass(frozen=True, slots=True)
class StreamTicket:
    """A stream waiting to be fetched; `expires_at` in seconds since the epoch.

    `end_user` is for whom the client said that it prepares it, as it is written.
    """

    id: str
    operation: Operation
    body: bytes
    principal: Principal
    expires_at: float
    end_user: str = ""


class StreamTickets:
    """The waiting streams and the ids of those already fetched; both bounded in number, bytes and age.

    Args:
        room: for the bodies that wait.
        clock: seconds since the epoch.
    """

    def __init__(self, room: Room, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._room = room
        self._waiting: OrderedDict[str, StreamTicket] = OrderedDict()
        self._of_key: Counter[str] = Counter()
        self._used: OrderedDict[str, None] = OrderedDict()

    def check(self, principal: Principal) -> None:
        """See whether there is room for one more.

        Raises:
            TooManyStreams: too many of this key, or of all, are waiting.
        """
        self._drop_expired()
        if self._of_key[principal.id] >= MAX_WAITING_OF_KEY:
            raise TooManyStreams("Too many streams of this key are waiting to be fetched; try again soon.")
        if len(self._waiting) >= MAX_WAITING:
            raise TooManyStreams("Too many streams are waiting to be fetched; try again soon.")

    def issue(self, operation: Operation, body: bytes, principal: Principal, end_user: str = "") -> StreamTicket:
        """Keep a body's JSON text for `LIFE` seconds: parsed it would take many times the room.

        Raises:
            TooManyStreams: too many of this key, or of all, are waiting.
            AppError: there is no room for its body.
        """
        self.check(principal)
        self._room.take(principal.id, len(body))
        ticket = StreamTicket(secrets.token_urlsafe(32), operation, body, principal, self._clock() + LIFE, end_user)
        self._waiting[ticket.id] = ticket
        self._of_key[principal.id] += 1
        return ticket

    def redeem(self, ticket_id: str) -> StreamTicket | None:
        """The stream, the first time; `None` later, which tells `EventSource` to stop.

        Raises:
            NotFound: no such stream, or its time has passed.
        """
        self._drop_expired()
        if ticket_id in self._used:
            return None
        if ticket_id not in self._waiting:
            raise NotFound("There is no such stream, or its time has passed.")
        self._used[ticket_id] = None
        while len(self._used) > MAX_USED:
            self._used.popitem(last=False)
        return self._forget(ticket_id)

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if oldest.expires_at > now:
                return
            self._forget(oldest.id)

    def _forget(self, ticket_id: str) -> StreamTicket:
        ticket = self._waiting.pop(ticket_id)
        self._room.give(ticket.principal.id, len(ticket.body))
        self._of_key[ticket.principal.id] -= 1
        if not self._of_key[ticket.principal.id]:
            del self._of_key[ticket.principal.id]
        return ticket


class StreamDesk:
    """Where streams are prepared and fetched; this one keeps them itself.

    Args:
        tickets: what waits.
    """

    def __init__(self, tickets: StreamTickets) -> None:
        self._tickets = tickets

    async def check(self, principal: Principal) -> None:
        """See whether there is room for one more; see `StreamTickets`."""
        self._tickets.check(principal)

    async def issue(self, operation: Operation, body: bytes, principal: Principal, end_user: str = "") -> StreamTicket:
        """Keep a body until it is fetched; see `StreamTickets`."""
        return self._tickets.issue(operation, body, principal, end_user)

    async def redeem(self, ticket_id: str) -> StreamTicket | None:
        """The stream, the first time; see `StreamTickets`."""
        return self._tickets.redeem(ticket_id)


class WorkersDesk(StreamDesk):
    """One of several workers: their parent keeps what waits, and whichever of them is asked fetches it there.

    Args:
        shared: leads to the parent.
    """

    def __init__(self, shared: Shared) -> None:
        self._parent = shared.parent

    async def check(self, principal: Principal) -> None:
        """See whether there is room for one more."""
        await self._parent.ask(CHECK, principal)

    async def issue(self, operation: Operation, body: bytes, principal: Principal, end_user: str = "") -> StreamTicket:
        """Have a body kept until it is fetched."""
        ticket_id, expires_at = await self._parent.ask(ISSUE, (operation, body, principal, end_user))
        return StreamTicket(ticket_id, operation, body, principal, expires_at, end_user)

    async def redeem(self, ticket_id: str) -> StreamTicket | None:
        """The stream, the first time."""
        found = await self._parent.ask(REDEEM, ticket_id)
        if found is None:
            return None
        operation, body, told, expires_at, end_user = found
        owner = msgspec.convert(told, Principal)
        owner = replace(owner, models=tuple(owner.models))
        return StreamTicket(ticket_id, operation, body, owner, expires_at, end_user)


def keep_for_workers(hears: Hears, tickets: StreamTickets) -> None:
    """The parent's side: keep what workers prepare, for any of them to fetch."""

    def issue(_: object, asked: tuple[Any, bytes, Principal, str]) -> tuple[str, float]:
        ticket = tickets.issue(*asked)
        return ticket.id, ticket.expires_at

    def redeem(_: object, ticket_id: str) -> tuple[Operation, bytes, Principal, float, str] | None:
        ticket = tickets.redeem(ticket_id)
        if ticket is None:
            return None
        return ticket.operation, ticket.body, ticket.principal, ticket.expires_at, ticket.end_user

    hears.on(CHECK, lambda _, principal: tickets.check(principal), Principal)
    hears.on(ISSUE, issue, tuple[str, bytes, Principal, str])
    hears.on(REDEEM, redeem, str)
