"""Who gets in: decided here, by the matched route, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from quart import g, request
from werkzeug.datastructures import Headers

from mlops_backend.config import PLACEHOLDER_KEY, Network
from mlops_backend.errors import Forbidden, NotFound, Unauthorized
from mlops_backend.middleware.request_context import record
from mlops_backend.services.other.api_keys import ANONYMOUS, KeyStore, Principal

# (method, matched route) that nobody needs a key for; docs/decisions/0001 says why.
PUBLIC: Final = frozenset(
    {
        ("GET", "/health"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("HEAD", "/health"),
        ("HEAD", "/health/live"),
        ("HEAD", "/health/ready"),
        ("HEAD", "/"),
        ("GET", "/api/llm/streams/<ticket_id>"),
    }
)
PUBLIC_DOCS: Final = frozenset(
    (method, route)
    for method in ("GET", "HEAD")
    for route in ("/docs", "/docs/assets/<path:filename>", "/openapi.json")
)
FORWARDING_HEADERS: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
)
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Gate:
    """The policy: keys, and what is open without one."""

    keys: KeyStore
    auth_enabled: bool
    docs_enabled: bool

    def authorise(self, method: str, route: str | None, headers: Headers, peer: str) -> Principal | None:
        """Decide on one request.

        Args:
            method: the HTTP method.
            route: the matched rule as it was registered, `None` for an unknown path; never a URL.
            headers: the request's own.
            peer: address of the other end of the connection.

        Returns:
            The principal, or `None` where nobody is asked for a key.

        Raises:
            Unauthorized: no key, an unknown one, or two that differ.
            Forbidden: the placeholder key from anywhere but this machine.
        """
        if self._is_public(method, route, headers):
            return None
        presented = presented_keys(headers)
        if not presented and not self.auth_enabled:
            return ANONYMOUS
        if not presented:
            raise Unauthorized("An API key is needed, in X-API-Key or as Authorization: Bearer.")
        if len(presented) > 1:
            raise Unauthorized("The request carries several keys that differ.")
        (key,) = presented
        principal = self.keys.find(key)
        if principal is None:
            raise Unauthorized("The API key is not known.")
        if key == PLACEHOLDER_KEY.encode() and not _from_this_machine(headers, peer):
            raise Forbidden(
                "The placeholder API key works from this machine only; the operator must set API_KEY to a secret."
            )
        return principal

    def _is_public(self, method: str, route: str | None, headers: Headers) -> bool:
        if route is None:
            return False
        if (method, route) in PUBLIC or (method == "OPTIONS" and _is_preflight(headers)):
            return True
        if not self.docs_enabled:
            return False
        return (method, route) in PUBLIC_DOCS or ((method, route) == ("GET", "/") and wants_html(headers))


def presented_keys(headers: Headers) -> set[bytes]:
    """Every key that the request carries. An `Authorization` of another scheme is not ours, and says nothing."""
    keys = set(headers.getlist("X-API-Key"))
    for value in headers.getlist("Authorization"):
        scheme, _, credential = value.partition(" ")
        if scheme.lower() == "bearer":
            keys.add(credential.strip())
    return {key.encode("latin-1", "replace") for key in keys if key}


def wants_html(headers: Headers) -> bool:
    """Whether `Accept` names HTML, as browsers do."""
    return "text/html" in headers.get("Accept", "").lower()


def client_address(headers: Headers, peer: str, trusted: Sequence[Network]) -> str:
    """The peer's address, or the nearest untrusted one in `X-Forwarded-For` when the peer is a trusted proxy."""
    address = peer
    hops = [hop.strip() for value in headers.getlist("X-Forwarded-For") for hop in value.split(",")]
    while hops and _is_in(address, trusted):
        address = hops.pop()
    return address if _is_address(address) else peer


def authenticate_with(gate: Gate, trusted_proxies: Sequence[Network]) -> None:
    """Put the request at hand before the gate, and note who asks; called by the `before_request` hook."""
    # The router takes //health for /health; a route has one name here.
    named = request.url_rule if not _has_doubled_slash(request.scope["path"]) else None
    route = named.rule if named is not None else None
    peer = (request.scope.get("client") or ("", 0))[0]
    noted = record()
    noted.route = route or ""
    noted.client = client_address(request.headers, peer, trusted_proxies) if trusted_proxies else peer
    principal = gate.authorise(request.method, route, request.headers, peer)
    g.principal = principal
    if principal is not None:
        noted.principal = principal.name
    if route is None and request.url_rule is not None:
        raise NotFound("There is no such route.")


def _has_doubled_slash(target: str) -> bool:
    """Whether the request target's path begins with two slashes; the target may be a whole URL (RFC 9112, 3.2.2)."""
    return (target if target.startswith("/") else urlsplit(target).path).startswith("//")


def _is_preflight(headers: Headers) -> bool:
    return "Origin" in headers and "Access-Control-Request-Method" in headers


def _from_this_machine(headers: Headers, peer: str) -> bool:
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
