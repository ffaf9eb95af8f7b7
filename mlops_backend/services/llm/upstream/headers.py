"""Headers: which of a client's reach a backend, and which of a backend's reach the client."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

Pairs = tuple[tuple[str, str], ...]

_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# What names the client, lets it in here, or was meant for this service alone. `Origin` would make Ollama answer 403.
_NOT_ASKED: Final = _HOP_BY_HOP | frozenset(
    {
        "accept-encoding",
        "api-key",
        "authorization",
        "content-encoding",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "origin",
        "referer",
        "remote-addr",
        "true-client-ip",
        "via",
        "x-api-key",
        "x-cache",
        "x-csrf-token",
        "x-end-user",
        "x-envoy-original-path",
        "x-original-uri",
        "x-original-url",
        "x-priority",
        "x-progress",
        "x-real-ip",
        "x-rewrite-url",
    }
)
_STAYS_HERE_PREFIXES: Final = ("access-control-", "cf-", "sec-", "x-forwarded-", "x-openwebui-user-")
_NOT_ANSWERED: Final = _HOP_BY_HOP | frozenset(
    {
        *("alt-svc", "date", "server", "set-cookie", "strict-transport-security", "via", "www-authenticate"),
        *("x-backend", "x-cache", "x-request-id", "x-route-reason"),
    }
)


def for_backend(headers: Iterable[tuple[str, str]]) -> Pairs:
    """A client's headers without what is between it and this service: credentials, cookies, origin, hops, framing."""
    return _without(tuple(headers), _NOT_ASKED, _STAYS_HERE_PREFIXES)


def for_client(headers: Iterable[tuple[str, str]]) -> Pairs:
    """A backend's headers without what is between it and this service; the CORS policy is this service's own."""
    return _without(tuple(headers), _NOT_ANSWERED, ("access-control-",))


def _without(headers: Pairs, dropped: frozenset[str], prefixes: tuple[str, ...]) -> Pairs:
    """All others, without those that `Connection` declares to be of this hop only (RFC 9110, 7.6.1)."""
    named = [(name.lower(), name, value) for name, value in headers]
    if connection := [value for low, _, value in named if low == "connection"]:
        dropped = dropped.union(part.strip().lower() for value in connection for part in value.split(","))
    return tuple([(name, value) for low, name, value in named if not (low in dropped or low.startswith(prefixes))])
