"""Tickets for streams: bounded in number, bytes and age."""

from __future__ import annotations

import pytest

from mlops_backend.errors import KeyBodiesFull, NotFound, TooManyStreams
from mlops_backend.principal import Principal
from mlops_backend.services.llm import streams
from mlops_backend.services.llm.streams import StreamTickets
from mlops_backend.services.other.limits import ByteBudget

TESTER = Principal("tester", "settings:tester")
FULL = bytes(1000)


def room() -> ByteBudget:
    """Room for one full body."""
    return ByteBudget(len(FULL), len(FULL))


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


def test_a_ticket_expires() -> None:
    """After `LIFE` seconds a stream is gone, and so is what it held."""
    clock = Clock()
    tickets = StreamTickets(room(), clock)
    ticket = tickets.issue("generate", FULL, TESTER)
    assert ticket.expires_at == clock.now + streams.LIFE
    clock.now = ticket.expires_at
    with pytest.raises(NotFound):
        tickets.redeem(ticket.id)
    tickets.issue("generate", FULL, TESTER)


def test_bytes_are_bounded() -> None:
    """Bodies that wait together hold no more than there is room for."""
    tickets = StreamTickets(room())
    tickets.issue("generate", FULL[:-1], TESTER)
    tickets.issue("generate", b"x", TESTER)
    with pytest.raises(KeyBodiesFull):
        tickets.issue("generate", b"x", TESTER)


def test_used_ids_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest used ids are forgotten; the newest answer `None`."""
    monkeypatch.setattr(streams, "MAX_USED", 2)
    tickets = StreamTickets(room())
    issued = [tickets.issue("generate", b"", TESTER) for _ in range(3)]
    assert [tickets.redeem(ticket.id) for ticket in issued] == issued
    with pytest.raises(NotFound):
        tickets.redeem(issued[0].id)
    assert tickets.redeem(issued[1].id) is None


def test_a_key_has_its_share() -> None:
    """However many streams a key prepares, another finds room; what was fetched is room again."""
    tickets = StreamTickets(room())
    issued = [tickets.issue("generate", b"", TESTER) for _ in range(streams.MAX_WAITING_OF_KEY)]
    with pytest.raises(TooManyStreams):
        tickets.issue("generate", b"", TESTER)
    tickets.issue("generate", b"", Principal("other", "settings:other"))
    tickets.redeem(issued[0].id)
    tickets.issue("generate", b"", TESTER)
