"""How addresses are written in settings: what can be called, listened on, or sent by a browser."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from mlops_backend.setting_values import split

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_LONGEST_NAME: Final = 253
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_OWN_PORTS: Final = {"http": 80, "https": 443}
# No page is shown from there, or none that names it: browsers say `null`.
_NO_ORIGINS: Final = frozenset({"about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"})
_ENDS_IN_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?(?::[0-9]+)?")
# The older rules for such letters, which Python knows, and those of browsers lead to different names.
_READ_IN_TWO_WAYS: Final = frozenset("\u00df\u03c2\u200c\u200d")
_BROADCAST: Final = IPv4Network("255.255.255.255")
_PATH: Final = re.compile(r"(?:/(?!\.+(?:/|$))[A-Za-z0-9._~-]+)+")
OWN_PATHS: Final = frozenset({"api", "console", "docs", "health", "k", "metrics", "openapi.json", "v1"})
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
    """A backend's address, written so that two spellings of one address are equal."""
    parts = _split(url)
    login, at, authority = parts.netloc.rpartition("@") if parts is not None else ("", "", "")
    server = _canonical(authority, parts.scheme) if parts is not None and parts.scheme in _OWN_PORTS else ""
    if parts is None or not server:
        raise ValueError("each backend must be an address such as http://localhost:11434")
    if not url.isprintable() or any(mark in url for mark in " ?#\\"):
        raise ValueError("a backend's address has neither white space nor a query")
    return f"{parts.scheme}://{login}{at}{server}{parts.path}".rstrip("/")


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
    """An origin as browsers send it, however it is written: in small letters, and without its scheme's own port."""
    scheme, separator, authority = value.removesuffix("/").partition("://")
    scheme = scheme.lower()
    server = _canonical(authority, scheme) if separator and _SCHEME.fullmatch(scheme) else ""
    never = scheme in _NO_ORIGINS or (scheme in _OWN_PORTS and _is_wrong_address(server))
    if value != "*" and (not server or never):
        raise ValueError(
            "each origin must be that of a page, such as http://localhost:3000: scheme, host, and a port unless it is "
            "the scheme's own, with nothing behind, and no wildcard but * alone, which allows all"
        )
    return value if value == "*" else f"{scheme}://{server}"


def root_path(value: str) -> str:
    """Where a proxy shows the service, without a slash at its end; none for its root."""
    path = value.rstrip("/")
    if path and not _PATH.fullmatch(path):
        raise ValueError("must be a path such as /llm: slashes, letters, digits, and the marks . _ ~ - within")
    if path.split("/")[1:2] and path.split("/")[1] in OWN_PATHS:
        raise ValueError(f"must not begin as the service's own paths do ({', '.join(sorted(OWN_PATHS))})")
    return path


def networks(value: Any) -> Any:
    """Networks with commas between them."""
    return tuple(map(network, split(value)))


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
    if meant.is_multicast or meant == _BROADCAST:
        raise ValueError(f"{value} is an address of many, which no proxy asks from")
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


def _is_wrong_address(server: str) -> bool:
    """Whether browsers take a name for an address of IPv4, which it is not."""
    return bool(_ENDS_IN_NUMBER.fullmatch(server)) and not _is_address(server.partition(":")[0])


def _canonical(authority: str, scheme: str) -> str:
    """Host and port in one spelling, as browsers have it; empty for what is none."""
    match = _AUTHORITY.fullmatch(authority)
    host = _host_in_ascii(match[1]) if match is not None else ""
    if match is None or not is_authority(host + (f":{match[2]}" if match[2] else "")):
        return ""
    port = int(match[2]) if match[2] else None
    return host if port in {None, _OWN_PORTS.get(scheme)} else f"{host}:{port}"


def _host_in_ascii(host: str) -> str:
    """A host in the letters of the domain name system; empty for what cannot be written so."""
    if host.startswith("[") and _is_address(host[1:-1]):
        address = IPv6Address(host[1:-1])
        mapped = int(address) & 0xFFFFFFFF
        return f"[::ffff:{mapped >> 16:x}:{mapped & 0xFFFF:x}]" if address.ipv4_mapped else f"[{address}]"
    if host.isascii():
        return host.lower()
    try:
        return "" if _READ_IN_TWO_WAYS & set(host) else host.encode("idna").decode().lower()
    except UnicodeError:
        return ""
