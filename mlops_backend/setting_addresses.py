"""How addresses are written in settings: what can be called, listened on, or sent by a browser."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_LONGEST_NAME: Final = 253
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+")
_OWN_PORTS: Final = {"http": ":80", "https": ":443"}
_MAPPED: Final = IPv6Network("::ffff:0:0/96")

Network = IPv4Network | IPv6Network


def is_host(text: str) -> bool:
    """Whether it is a host as URLs have it: a name, or an address, one of IPv6 in brackets.

    What is made of numbers is an address, or nothing: `1.2.3` and `8000` are read as quite another one.
    """
    if text.startswith("["):
        return text.endswith("]") and _is_address(text[1:-1])
    labels = text.removesuffix(".").split(".")
    if all(map(str.isdecimal, labels)):
        return _is_address(text)
    return len(text) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, labels))


def is_port(number: int) -> bool:
    """Whether something can be reached there."""
    return 0 < number < 65536


def is_authority(text: str) -> bool:
    """Whether it is a host, with a port or without."""
    match = _AUTHORITY.fullmatch(text)
    return match is not None and is_host(match[1]) and (match[2] is None or is_port(int(match[2])))


def backend_url(url: str) -> str:
    """A backend's address."""
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not is_authority(_in_ascii(parts)):
        raise ValueError("each backend must be an address such as http://localhost:11434")
    if not url.isprintable() or any(mark in url for mark in " ?#\\"):
        raise ValueError("a backend's address has neither white space nor a query")
    return url.rstrip("/")


def openai_url(url: str) -> str:
    """A backend's address, whose password is a key that travels in a header."""
    password = unquote(urlsplit(backend_url(url)).password or "")
    if not (password.isascii() and password.isprintable()):
        raise ValueError("a backend's key may hold printable ASCII characters only")
    return backend_url(url)


def host_header(value: str) -> str:
    """A name for the `Host` header."""
    if not is_authority(value):
        raise ValueError("must be a host name such as localhost:11434")
    return value


def listening_host(value: str) -> str:
    """Where to listen: the port is a setting of its own, and an address of IPv6 has no brackets."""
    if not _is_address(value) and (value.startswith("[") or not is_host(value)):
        raise ValueError("must be an address or a host name without a port, such as 0.0.0.0 or ::")
    return value


def allowed_origin(value: str) -> str:
    """An origin as browsers send it: in small letters, and without the port that its scheme has anyway."""
    origin = value.removesuffix("/")
    scheme, _, authority = origin.partition("://")
    usable = _ORIGIN.fullmatch(origin) and origin == origin.lower() and is_authority(authority)
    if origin != "*" and (not usable or authority.endswith(_OWN_PORTS.get(scheme, "/"))):
        raise ValueError(
            "each origin must be written as browsers send it, such as http://localhost:3000: scheme, host, and a port "
            "unless it is the scheme's own, in small letters, with nothing behind"
        )
    return origin


def network(value: Any) -> Any:
    """An address, or a network of them."""
    if not isinstance(value, str):
        return value
    try:
        meant = ip_network(value, strict=False)
    except ValueError:
        raise ValueError("each proxy must be an address or a network, such as 10.0.0.1 or 10.0.0.0/8") from None
    if not _is_exact(value):
        raise ValueError(f"{value} is one address, and not a network; the network would be {meant}")
    if isinstance(meant, IPv6Network) and meant.subnet_of(_MAPPED):
        raise ValueError(f"{value} must be written as an address of IPv4")
    if meant.prefixlen and meant.network_address.is_unspecified:
        raise ValueError(f"{value} is nobody's address; all addresses are {meant.network_address}/0")
    return meant


def _is_exact(value: str) -> bool:
    """Whether nothing is lost when it is taken for a network."""
    try:
        ip_network(value)
    except ValueError:
        return False
    return True


def _is_address(text: str) -> bool:
    """Whether it is one, without the name of an interface, which nobody here would read."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _in_ascii(parts: SplitResult) -> str:
    """Host and port, in the letters of the domain name system; empty for what cannot be written so."""
    authority = parts.netloc.rpartition("@")[2]
    if authority.isascii():
        return authority
    host, colon, port = authority.partition(":")
    try:
        return host.encode("idna").decode() + colon + port
    except UnicodeError:
        return ""
