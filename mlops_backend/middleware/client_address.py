"""Where a request comes from."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from werkzeug.datastructures import Headers

from mlops_backend.setting_addresses import Network

FORWARDING_HEADERS: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
)
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def client_address(headers: Headers, peer: str, trusted: Sequence[Network]) -> str:
    """The peer's address, or the nearest untrusted one in `X-Forwarded-For` when the peer is a trusted proxy."""
    address = peer
    hops = [hop.strip() for value in headers.getlist("X-Forwarded-For") for hop in value.split(",")]
    while hops and _is_in(address, trusted):
        address = hops.pop()
    return address if _is_address(address) else peer


def is_from_this_machine(headers: Headers, peer: str) -> bool:
    """Whether no other machine can have sent it: the peer, the `Host` and the absence of proxies say so."""
    if any(name in headers for name in FORWARDING_HEADERS):
        return False
    return _is_loopback(peer) and _host_name(headers.get("Host", "")) in _LOCAL_HOSTS


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in networks)


def _is_address(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
