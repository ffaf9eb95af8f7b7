"""Whom a request comes from, by the ways in which proxies write addresses."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from mlops_backend.middleware.client_address import client_address
from tests.service import settings_for

PROXY = "10.0.0.9"
TRUSTED = settings_for(trusted_proxies="10.0.0.0/8,fd00::/8").trusted_proxies
PORTS = st.integers(0, 65535)
CLIENTS = st.ip_addresses(network="128.0.0.0/1") | st.ip_addresses(network="2000::/3")
PROXIES = st.sampled_from(["10.0.0.1", "10.1.2.3", "fd00::1", "fd12:3456::a:b"]).map(ip_address)


def spelt(address: IPv4Address | IPv6Address, port: int | None) -> str:
    """An address as proxies write it: with the port that it came from, or without."""
    name = f"[{address}]" if address.version == 6 and port is not None else str(address)
    return name if port is None else f"{name}:{port}"


def hops(of: st.SearchStrategy[IPv4Address | IPv6Address]) -> st.SearchStrategy[tuple[str, str]]:
    """An address, and one way to write it; one of IPv6 may stand in brackets without a port, too."""

    def ways(address: IPv4Address | IPv6Address) -> st.SearchStrategy[tuple[str, str]]:
        written = (st.none() | PORTS).map(lambda port: spelt(address, port))
        if address.version == 6:
            written |= st.just(f"[{address}]") | st.just(address.exploded)
        return written.map(lambda text: (str(address), text))

    return of.flatmap(ways)


def from_headers(*values: str, peer: str = PROXY) -> str:
    """Who it is, when the peer passes these fields on."""
    return client_address(Headers([("X-Forwarded-For", value) for value in values]), peer, TRUSTED)


@given(client=hops(CLIENTS), between=st.lists(hops(PROXIES), max_size=3), said=st.lists(hops(CLIENTS), max_size=2))
def test_the_client_is_who_stands_before_the_proxies(
    client: tuple[str, str], between: list[tuple[str, str]], said: list[tuple[str, str]]
) -> None:
    """However each hop is written, the nearest that is no proxy is the client; what it says of itself is not heard."""
    texts = [text for _, text in (*said, client, *between)]
    for values in ([", ".join(texts)], texts, [f" {','.join(texts)} ,, "]):
        assert ip_address(from_headers(*values)) == ip_address(client[0])


@given(st.text(alphabet="0123456789abcdef.:[]%_ \"'", max_size=20) | st.text(max_size=20))
def test_the_client_is_always_an_address(said: str) -> None:
    """Whatever stands there, an address comes out of it: the peer's own where nothing can be read."""
    ip_address(from_headers(said.replace("\r", "").replace("\n", "")))


@pytest.mark.parametrize(
    "unreadable",
    ["unknown", "_hidden", "client.example", "1.2.3.4:", "1.2.3.4:http", "1.2.3.4:1:2", "[1.2.3.4]:80", "[::1", "[]:1"],
)
@pytest.mark.parametrize("rest", ["", ", 10.0.0.1"])
def test_what_cannot_be_read_is_nobody(unreadable: str, rest: str) -> None:
    """An entry that is no address ends the search, and what stands farther away is not believed."""
    assert from_headers(f"1.2.3.4, {unreadable}{rest}") == PROXY


def test_an_address_may_look_like_one_with_a_port() -> None:
    """Without brackets the last part of an IPv6 address is no port."""
    assert from_headers("2001:db8::1:443") == "2001:db8::1:443"


@pytest.mark.parametrize(
    "write",
    [lambda one: f"{one}:50123", lambda one: f"[2001:db8:{one.rpartition('.')[2]}::1]:443"],
    ids=["IPv4", "IPv6"],
)
def test_a_clients_port_does_not_hide_it(write: Callable[[str], str]) -> None:
    """Two clients of one proxy that writes ports stay two."""
    assert len({from_headers(write(one)) for one in ("203.0.113.7", "203.0.113.8")} - {PROXY}) == 2
