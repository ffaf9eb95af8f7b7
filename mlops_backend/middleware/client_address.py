"""Where a request comes from."""

from __future__ import annotations

import re
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
_WITH_PORT: Final = re.compile(r"(?:\[(?P<six>[^\[\]]*:[^\[\]]*)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?")
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def client_address(headers: Headers, peer: str, trusted: Sequence[Network]) -> str:
    """The peer's address, or the nearest untrusted one in `X-Forwarded-For` when the peer is a trusted proxy.

    What cannot be read there ends the search: who stands behind it is not known, and the peer is taken.
    """
    address = peer
    hops = [hop.strip() for value in headers.getlist("X-Forwarded-For") for hop in value.split(",")]
    hops = [hop for hop in hops if hop]
    while hops and _is_in(address, trusted):
        address = _without_port(hops.pop())
    return address or peer


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


def _without_port(hop: str) -> str:
    """A hop's address, however its proxy writes it: `1.2.3.4:5678`, `[2001:db8::1]`, `[2001:db8::1]:443`; else empty.

    What is an address as it stands has no port: `2001:db8::1:443` is one.
    """
    if _is_address(hop):
        return hop
    match = _WITH_PORT.fullmatch(hop)
    address = (match["six"] or match["four"]) if match else ""
    return address if _is_address(address) else ""


def _is_address(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
