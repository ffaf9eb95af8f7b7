"""Capability URLs: a stream that is described by POST and fetched, once, by an unguessable address.

A browser's `EventSource` can neither POST nor set a header; it can open such an address.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Final

from mlops_backend.errors import NotFound, TooManyStreams
from mlops_backend.principal import Principal
from mlops_backend.services.llm.backends import Operation

LIFE: Final = 60.0
MAX_WAITING: Final = 1000
MAX_WAITING_BYTES: Final = 128 * 1024 * 1024
MAX_USED: Final = 10_000


@dataclass(frozen=True, slots=True)
class StreamTicket:
    """A stream waiting to be fetched; `expires_at` in seconds since the epoch."""

    id: str
    operation: Operation
    body: bytes
    principal: Principal
    expires_at: float


class StreamTickets:
    """The waiting streams and the ids of those already fetched; both bounded in number, bytes and age."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._waiting: OrderedDict[str, StreamTicket] = OrderedDict()
        self._used: OrderedDict[str, None] = OrderedDict()
        self._bytes = 0

    def issue(self, operation: Operation, body: bytes, principal: Principal) -> StreamTicket:
        """Keep a body's JSON text for `LIFE` seconds: parsed it would take many times the room.

        Raises:
            TooManyStreams: too many, or too large ones, are waiting.
        """
        self._drop_expired()
        if len(self._waiting) >= MAX_WAITING or self._bytes + len(body) > MAX_WAITING_BYTES:
            raise TooManyStreams("Too many streams are waiting to be fetched; try again soon.")
        ticket = StreamTicket(secrets.token_urlsafe(32), operation, body, principal, self._clock() + LIFE)
        self._waiting[ticket.id] = ticket
        self._bytes += len(body)
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
        self._bytes -= len(ticket.body)
        return ticket
