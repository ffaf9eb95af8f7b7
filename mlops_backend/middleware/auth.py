"""Who gets in: decided here, by the matched route, and nowhere else."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, cast

from quart import g, request
from werkzeug.datastructures import Headers

from mlops_backend.config import PLACEHOLDER_KEY, Network
from mlops_backend.errors import Forbidden, MethodNotAllowed, NotFound, Unauthorized
from mlops_backend.middleware.access import TABLE, Access, Methods, may
from mlops_backend.middleware.asgi import Scope, path_of
from mlops_backend.middleware.request_context import record
from mlops_backend.services.other.api_keys import ANONYMOUS, KeyStore, Principal

FORWARDING_HEADERS: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
)
_NOT_IN_TABLE: Final = "This route is for nobody yet: it does not stand in the table of routes."
_REASONS: Final[Mapping[Access | None, str]] = {
    Access.MODELS_WRITE: "Models are managed with the administrator's key only.",
    Access.ACCOUNT: "This route acts as the owner of the Ollama server; ALLOW_ACCOUNT_ROUTES and the administrator's "
    "key open it.",
}
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Gate:
    """The policy: keys, the table of routes, and the switches that open parts of it."""

    keys: KeyStore
    auth_enabled: bool
    docs_enabled: bool
    account_routes: bool = False
    table: Mapping[str, Methods] = field(default_factory=lambda: TABLE)

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
            Forbidden: a key that may not do this; the placeholder key from anywhere but this machine.
            MethodNotAllowed: the route is not for this method.
        """
        methods = self.table.get(route, {}) if route is not None else {}
        access = methods.get(method)
        if self._is_open(method, route, access, headers):
            return None
        principal = self._identify(headers, peer)
        if route is None or (method == "OPTIONS" and methods):
            return principal
        if access is None and methods:
            raise MethodNotAllowed(*methods, "OPTIONS")
        if access is None or not may(principal, access, account_routes=self.account_routes):
            raise Forbidden(_REASONS.get(access, _NOT_IN_TABLE))
        return principal

    def _is_open(self, method: str, route: str | None, access: Access | None, headers: Headers) -> bool:
        if route is None:
            return False
        if access is Access.OPEN or (method == "OPTIONS" and _is_preflight(headers)):
            return True
        browser = (method, route) == ("GET", "/") and wants_html(headers)
        return self.docs_enabled and (access is Access.DOCS or browser)

    def _identify(self, headers: Headers, peer: str) -> Principal:
        presented = presented_keys(headers)
        if not presented and not self.auth_enabled:
            return ANONYMOUS
        if not presented:
            raise Unauthorized("An API key is needed, in X-API-Key or as Authorization: Bearer.")
        known = [{key: found for key in readings if (found := self.keys.find(key))} for readings in presented]
        if not all(known):
            raise Unauthorized("The API key is not known.")
        owners = {key: owner for found in known for key, owner in found.items()}
        if len(owners) > 1:
            raise Unauthorized("The request carries several keys that differ.")
        ((key, principal),) = owners.items()
        if key == PLACEHOLDER_KEY.encode() and not _from_this_machine(headers, peer):
            raise Forbidden(
                "The placeholder API key works from this machine only; the operator must set API_KEY to a secret."
            )
        return principal


def presented_keys(headers: Headers) -> list[frozenset[bytes]]:
    """Every key that the request carries, each with the ways in which it may be read.

    `X-API-Key` and `Authorization: Bearer` can be read in one way; of `Basic` either part may be the key. An
    `Authorization` of another scheme is not ours, and says nothing.
    """
    presented = [frozenset({_raw(key)}) for key in headers.getlist("X-API-Key") if key]
    for value in headers.getlist("Authorization"):
        scheme, _, credential = value.partition(" ")
        if scheme.lower() == "bearer" and credential.strip():
            presented.append(frozenset({_raw(credential.strip())}))
        elif scheme.lower() == "basic":
            presented.append(_basic_parts(credential))
    return presented


def _basic_parts(credential: str) -> frozenset[bytes]:
    try:
        pair = b64decode(credential.strip(), validate=True)
    except ValueError:
        return frozenset()
    user, _, password = pair.partition(b":")
    return frozenset(part for part in (user, password) if part)


def _raw(key: str) -> bytes:
    return key.encode("latin-1", "replace")


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
    named = request.url_rule if not path_of(cast(Scope, request.scope)).startswith("//") else None
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
