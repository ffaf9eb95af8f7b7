"""How often an address may come with a key that nobody knows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address
from time import monotonic_ns
from typing import Final

from mlops_backend.principal import Rate
from mlops_backend.services.other.limits.charge import cost_of, room_of
from mlops_backend.services.other.limits.windows import SECOND

MOST_ADDRESSES: Final = 10_000
# What one subscriber of IPv6 has at the least: all its addresses are the same guest.
_PREFIX: Final = 64


def _clock() -> int:
    return monotonic_ns() // 1000


class FailedKeys:
    """Failures by address, in memory and bounded: the address that has not failed for longest is forgotten first."""

    def __init__(self, rate: Rate, clock: Callable[[], int] = _clock) -> None:
        self._cost, self._room = cost_of(rate, 1), room_of(rate)
        self._clock = clock
        self._arrivals: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._arrivals)

    def blocked(self, address: str) -> float | None:
        """Seconds until this address may try again; `None`: it may now."""
        if not self._arrivals:
            return None
        wait = self._ahead(guest(address)) + self._cost - self._room
        return wait / SECOND if wait > 0 else None

    def failed(self, address: str) -> None:
        """Count a failure; those that come while the address is blocked change nothing."""
        name = guest(address)
        ahead = self._ahead(name) + self._cost
        if ahead > self._room:
            return
        self._keep(name, self._clock() + ahead)

    async def count(self, address: str) -> float | None:
        """Count a failure, unless the address is blocked: then the seconds until it may try again."""
        wait = self.blocked(address)
        if wait is None:
            self.failed(address)
        return wait

    def arrival(self, address: str) -> int:
        """The moment up to which its failures have taken its rate."""
        return self._arrivals.get(guest(address), 0)

    def learn(self, address: str, arrival: int) -> None:
        """Somebody else has counted for this address."""
        self._keep(guest(address), arrival)

    def _keep(self, name: str, arrival: int) -> None:
        self._arrivals[name] = arrival
        self._arrivals.move_to_end(name)
        while len(self._arrivals) > MOST_ADDRESSES:
            self._arrivals.popitem(last=False)

    def _ahead(self, name: str) -> int:
        return max(0, self._arrivals.get(name, 0) - self._clock())


def guest(address: str) -> str:
    """Who comes from an address: itself, or the network of an IPv6 address; an IPv4 address written as IPv6 is IPv4."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, _PREFIX), strict=False))
