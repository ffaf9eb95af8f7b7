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
_STAYS_HERE: Final = frozenset(
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
_NOT_ANSWERED: Final = frozenset(
    {
        *("alt-svc", "date", "server", "set-cookie", "strict-transport-security", "via", "www-authenticate"),
        *("x-backend", "x-request-id", "x-route-reason"),
    }
)


def for_backend(headers: Iterable[tuple[str, str]]) -> Pairs:
    """A client's headers without what is between it and this service: credentials, cookies, origin, hops, framing."""
    given = tuple(headers)
    dropped = _HOP_BY_HOP | _STAYS_HERE | _named_by_connection(given)
    return tuple(
        (name, value)
        for name, value in given
        if (low := name.lower()) not in dropped and not low.startswith(_STAYS_HERE_PREFIXES)
    )


def for_client(headers: Iterable[tuple[str, str]]) -> Pairs:
    """A backend's headers without what is between it and this service; the CORS policy is this service's own."""
    given = tuple(headers)
    dropped = _HOP_BY_HOP | _NOT_ANSWERED | _named_by_connection(given)
    return tuple(
        (name, value)
        for name, value in given
        if (low := name.lower()) not in dropped and not low.startswith("access-control-")
    )


def _named_by_connection(headers: Pairs) -> frozenset[str]:
    """The headers that `Connection` declares to be of this hop only (RFC 9110, 7.6.1)."""
    values = [value for name, value in headers if name.lower() == "connection"]
    return frozenset(part.strip().lower() for value in values for part in value.split(","))
