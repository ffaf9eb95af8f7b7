"""Every open connection of this process: how many there are, and which of them have nothing to say any more.

One look a second at all of them takes the place of a clock for each: what is idle, or stuck, is over soon enough, and a
request pays for no timer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from ipaddress import IPv6Address, ip_address
from operator import itemgetter
from time import monotonic
from typing import Final, Protocol

import structlog

from mlops_backend.setting_addresses import Network

_LOOK: Final = 1.0
_QUIET: Final = 60.0
_SITE: Final = 64
# Where there is hardly room left, who says nothing makes room for others.
_CROWDED: Final = 0.9
_IDLE_IN_A_CROWD: Final = 5.0
_FRESH: Final = 0.5
_SOME: Final = 8

log: Final = structlog.get_logger(__name__)


class Watched(Protocol):
    """A connection, as far as it is known here."""

    @property
    def address(self) -> str:
        """Of its other end."""

    @property
    def idle_since(self) -> float | None:
        """Since when its client could have asked something, `time.monotonic()` seconds; `None` while it is served."""

    def look(self, now: float, idle: float) -> None:
        """End it if it has been idle for longer than `idle` seconds, or stuck for too long."""


class Others(Protocol):
    """The other processes that serve the same address."""

    @property
    def open(self) -> int:
        """How many connections they have."""

    def note(self, connections: int) -> None:
        """This process has so many."""

    def patience(self) -> float:
        """How many seconds the next connection is left to others, of whom one has fewer."""

    def leave(self) -> None:
        """This process takes none any more, where another can."""


class Nobody:
    """There are no others."""

    open = 0

    def note(self, connections: int) -> None:
        """Nobody reads it."""

    def patience(self) -> float:
        """None."""
        return 0.0

    def leave(self) -> None:
        """Nobody could."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What connections may do.

    Args:
        most: how many there may be.
        per_address: how many of one address, or of one site of IPv6 (a /64).
        exempt: addresses that are counted in `most` alone: proxies, which speak for many.
        idle: seconds that one may be open without a whole request's head, or stop in the middle of a body.
        send: seconds that one may take nothing of what is sent to it.
    """

    most: int = 4000
    per_address: int = 2000
    exempt: Sequence[Network] = ()
    idle: float = 75.0
    send: float = 60.0


class Register:
    """The open connections.

    Args:
        rules: what they may do; `most` is for those of all processes together.
        others: the other processes.
        room: how many this process can hold, should that be less.
    """

    def __init__(self, rules: Rules, others: Others | None = None, room: int | None = None) -> None:
        self.rules = rules
        self.others: Others = others or Nobody()
        self._room = rules.most if room is None else room
        self._open: set[Watched] = set()
        self._of_address: Counter[str] = Counter()
        self._looking: asyncio.TimerHandle | None = None
        self._stopping = False
        self._quiet_until: dict[str, float] = {}
        self.refused = 0

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether there is no room for another."""
        return self._is_filled(1.0)

    def enter(self, connection: Watched) -> bool:
        """Count a connection; false when it is one too many, and must be closed."""
        site = _site(connection.address)
        if self.full:
            self.tell("connections are at their limit", limit=self.rules.most, setting="MAX_CONNECTIONS")
        elif self._of_address[site] >= self.rules.per_address and not self._is_exempt(connection.address):
            self.tell(
                "an address has too many connections",
                address=connection.address,
                limit=self.rules.per_address,
                setting="MAX_CONNECTIONS_PER_ADDRESS",
            )
        else:
            self._open.add(connection)
            self.others.note(len(self._open))
            self._of_address[site] += 1
            if self._looking is None:
                self._look_later()
            return True
        self.refused += 1
        return False

    def leave(self, connection: Watched) -> None:
        """A connection that was counted is over."""
        if connection in self._open:
            self._open.discard(connection)
            self.others.note(len(self._open))
            site = _site(connection.address)
            self._of_address[site] -= 1
            if not self._of_address[site]:
                del self._of_address[site]

    def make_room(self) -> None:
        """End some of those that have been idle for longest: others wait to be accepted."""
        now = monotonic()
        idle = [(since, each) for each in self._open if (since := each.idle_since) is not None and since < now - _FRESH]
        for _, connection in nsmallest(max(1, self.rules.most // _SOME), idle, key=itemgetter(0)):
            connection.look(now, 0.0)

    def stop(self) -> None:
        """End what is idle: the server stops."""
        self._stopping = True
        self._look_at_all()

    def tell(self, sentence: str, **facts: object) -> None:
        """Say something that may be true thousands of times a second: once a minute."""
        if monotonic() >= self._quiet_until.get(sentence, 0.0):
            self._quiet_until[sentence] = monotonic() + _QUIET
            log.warning(sentence, open=self.open, **facts)

    def _is_filled(self, share: float) -> bool:
        own = len(self._open)
        return own >= share * self._room or own + self.others.open >= share * self.rules.most

    def _is_exempt(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self.rules.exempt)

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _look(self) -> None:
        self._looking = None
        if self._open:
            self._look_later()
        self._look_at_all()

    def _look_at_all(self) -> None:
        now = monotonic()
        idle = min(_IDLE_IN_A_CROWD, self.rules.idle) if self._is_filled(_CROWDED) else self.rules.idle
        for connection in tuple(self._open):
            connection.look(now, 0.0 if self._stopping else idle)


def _site(address: str) -> str:
    """What is counted as one: an address of IPv4, a network of 64 bits of IPv6, since a site has at least one."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or int(parsed) >> (128 - _SITE))
